"""Scores and their uncertainty: R², chance, and 95 % intervals.

Which interval is used when:

- one encoder, one test set, an accuracy: Wilson's binomial interval (`wilson_interval`). It speaks
  of other test files from the same source, not of other training runs.
- one encoder, one test set, any other score: the percentile bootstrap over test files
  (`bootstrap_interval`).
- several pretraining seeds: Student's t over the seeds' values (`mean_interval`). It speaks of
  other training runs scored on the same test files; with two or three seeds it is wide, as it
  should be.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import stats
from sklearn.metrics import r2_score

LOW, HIGH = 0.025, 0.975
"""What lies below the ends of a 95 % interval."""
DRAWS = 1000


def r_squared(truth: Float[ndarray, "n *numbers"], guess: Float[ndarray, "n *numbers"]) -> float:
    """Share of the variance explained: 1 is perfect, 0 is no better than the mean, can be negative.

    Of vectors the mean over their numbers. Returns NaN when the truth does not vary.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        score = float(r2_score(truth, guess, force_finite=False))
    return score if math.isfinite(score) else math.nan  # -inf: a constant that is missed


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's score interval for a share (Wilson 1927; Brown, Cai and DasGupta 2001).

    `successes` may be fractional: the mean over several probe seeds on the same test files.

    Raises:
        ValueError: no trials, or successes outside 0 to `trials`.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"got {successes} successes in {trials} trials; expected 0 ≤ k ≤ n, n ≥ 1")
    # Not scipy.stats.binomtest: it takes whole successes only.
    z = float(stats.norm.ppf(HIGH))
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    half /= 1 + z * z / trials
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Mean over seeds with Student's t interval.

    Raises:
        ValueError: fewer than two values (one run says nothing about the spread between runs).
    """
    if len(values) < 2:
        raise ValueError(f"a t interval needs at least two values, got {len(values)}")
    mean = float(np.mean(values))
    # Not scipy.stats.t.interval: of equal values it gives NaN.
    half = float(stats.t.ppf(HIGH, len(values) - 1) * stats.sem(values))
    return mean, (mean - half, mean + half)


def bootstrap_interval(
    score: Callable[[Int[ndarray, " n"]], float], samples: int
) -> tuple[float, float]:
    """Percentile bootstrap: `score(rows)` over `DRAWS` resamples of the rows 0 to `samples - 1`.

    Resamples whose score is not a number (a resample without variance) are left out; if all are,
    the interval is (NaN, NaN).
    """
    # Not scipy.stats.bootstrap: a single resample without variance makes its interval NaN.
    generator = np.random.default_rng(0)
    scores = np.array([score(generator.integers(samples, size=samples)) for _ in range(DRAWS)])
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return math.nan, math.nan
    low, high = np.quantile(scores, [LOW, HIGH]).tolist()
    return low, high


def chance_rate(train: Int[ndarray, " n"], test: Int[ndarray, " m"], classes: int) -> float:
    """What knowing nothing scores: the better of a uniform guess and of always guessing the class
    that is the most frequent in training."""
    majority = np.bincount(train, minlength=classes).argmax()
    return max(1.0 / classes, float(np.mean(test == majority)))
