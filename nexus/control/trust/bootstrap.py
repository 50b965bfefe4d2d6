"""Intervals over episodes: excerpts of one episode are alike, so whole episodes are drawn again."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int64

from nexus.runs.world import Measured

DRAWS = 1000
SMALLEST = 1e-12


def ratio(
    upper: np.ndarray, lower: np.ndarray | None, episode: Int64[np.ndarray, " excerpts"], seed: int
) -> Measured:
    """The sum of some numbers in parts of the sum of others, an excerpt each.

    Args:
        lower: None: 1 each, so that it is the mean of `upper`.
    """
    below = np.ones(len(upper)) if lower is None else lower
    return bootstrapped(
        np.stack([upper, below], axis=1),
        lambda sums: sums[..., 0] / np.maximum(sums[..., 1], SMALLEST),
        episode,
        seed,
    )


def correlation(
    product: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    episode: Int64[np.ndarray, " excerpts"],
    seed: int,
) -> Measured:
    """From products of two vectors, and squares of each, an excerpt each; not centred."""
    return bootstrapped(
        np.stack([product, first, second], axis=1),
        lambda sums: sums[..., 0] / np.sqrt(np.maximum(sums[..., 1] * sums[..., 2], SMALLEST**2)),
        episode,
        seed,
    )


def bootstrapped(
    numbers: Float64[np.ndarray, "excerpts columns"],
    statistic: Callable[[np.ndarray], np.ndarray],
    episode: Int64[np.ndarray, " excerpts"],
    seed: int,
) -> Measured:
    """A statistic of sums over excerpts, and its percentile interval over episodes.

    Args:
        statistic: of sums (..., columns).
    """
    names, place = np.unique(episode, return_inverse=True)
    sums = np.zeros((len(names), numbers.shape[1]))
    np.add.at(sums, place, numbers)
    shares = np.full(len(names), 1 / len(names))
    counts = np.random.default_rng(seed).multinomial(len(names), shares, size=DRAWS)
    low, high = np.quantile(statistic(counts @ sums), (0.025, 0.975))
    return Measured(value=float(statistic(sums.sum(axis=0))), ci95=(float(low), float(high)))
