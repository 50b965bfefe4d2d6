"""Where things are, read from latents: from real ones, and from foretold ones.

Real latents: what the encoder sees. Foretold ones: what the predictor makes of it.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from nexus.control.trust.excerpts import Excerpts
from nexus.control.trust.reading import explained, ridge_reader
from nexus.control.trust.seen import SeenEpisode
from nexus.data.episodes.schema import Schema
from nexus.runs.world import WorldPlaceRow

STILL = 1e-6
"""A number that spreads less than this share of its size stands still."""


def place_rows(
    fitted: Sequence[SeenEpisode],
    judged: Sequence[SeenEpisode],
    excerpts: Excerpts,
    foretold: Tensor,
    schema: Schema,
) -> tuple[WorldPlaceRow, ...]:
    """A row for each number of the truth that changes in both sets of episodes.

    Args:
        excerpts: of the judged episodes.
        foretold: their foretold latents (excerpts, steps, tokens, dim).
        schema: names and units of the numbers.
    """
    training, truth = _numbers(fitted), _numbers(judged)
    moving = [
        place
        for place in range(schema.width)
        if min(_spread(training[:, place]), _spread(truth[:, place])) > STILL
    ]
    if not moving:
        return ()
    read = ridge_reader(_rows(fitted), training[:, moving])
    seen = read(_rows(judged))
    r2 = explained(seen, truth[:, moving])
    perceived = _root(seen - truth[:, moving])
    assert excerpts.truth is not None
    last = read(_flat(excerpts.latents[:, excerpts.context - 1]))
    after, copied = [], []
    for step in range(foretold.shape[1]):
        true = excerpts.truth[:, excerpts.context + step][:, moving]
        after.append(_root(read(_flat(foretold[:, step])) - true))
        copied.append(_root(last - true))
    return tuple(
        WorldPlaceRow(
            name=schema.names[place],
            unit=schema.dimensions[place].unit,
            spread=float(truth[:, place].std()),
            perception=float(perceived[column]),
            r2=float(r2[column]),
            dynamics=tuple(float(each[column]) for each in after),
            copied=tuple(float(each[column]) for each in copied),
        )
        for column, place in enumerate(moving)
    )


def _numbers(episodes: Sequence[SeenEpisode]) -> np.ndarray:
    return np.concatenate([one.truth for one in episodes if one.truth is not None])


def _rows(episodes: Sequence[SeenEpisode]) -> np.ndarray:
    return np.concatenate([_flat(one.latents) for one in episodes])


def _flat(latents: Tensor) -> np.ndarray:
    return latents.flatten(1).numpy()


def _spread(values: np.ndarray) -> float:
    return float(values.std() / max(np.abs(values).max(), 1e-12))


def _root(misses: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(misses).mean(axis=0))
