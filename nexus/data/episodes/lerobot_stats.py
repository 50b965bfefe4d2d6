"""How features spread, as LeRobot keeps it: for each episode, and merged for all of them.

Counts, means, spreads and extremes of the whole are exact. Its quantiles are means of the episodes'
quantiles, by their counts, as the format's own writer merges them; `Statistics.of` is exact.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from nexus.data.episodes.lerobot_layout import STATS
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.statistics import QUANTILES, EpisodeStatistics, Statistics, summary
from nexus.errors import DataError

FeatureStats = Mapping[str, np.ndarray]
"""`min`, `max`, `mean`, `std`, quantiles: float64 of the feature's shape; `count`: int64 (1,)."""
SAMPLED_FRAMES = 100
"""Frames of an episode that a camera's numbers are of, evenly spread."""


def of_numbers(values: np.ndarray) -> FeatureStats:
    """Of a column: (steps, dims), or (steps,) for one number a step."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    return {**summary(columns), "count": np.array([len(columns)])}


def of_pictures(frames: UInt8[np.ndarray, "frames height width 3"]) -> FeatureStats:
    """Of a camera: each colour from 0 to 1, shape (3, 1, 1); `count` is that of the frames."""
    sampled = np.unique(np.linspace(0, len(frames) - 1, SAMPLED_FRAMES).round().astype(int))
    some = frames[sampled]
    # Of bytes a histogram tells all, and costs much less than sorting them.
    counts = np.stack([np.bincount(some[..., c].ravel(), minlength=256) for c in range(3)])
    levels, total = np.arange(256) / 255, counts[0].sum()
    mean = counts @ levels / total
    square = counts @ levels**2 / total
    stats = {
        "min": levels[np.argmax(counts > 0, axis=1)],
        "max": levels[255 - np.argmax(counts[:, ::-1] > 0, axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(square - mean**2, 0)),
        **{name: _quantile(counts, share, levels) for name, share in QUANTILES.items()},
    }
    return {
        **{name: value.reshape(3, 1, 1) for name, value in stats.items()},
        "count": np.array([len(some)]),
    }


def merged(a: FeatureStats, b: FeatureStats) -> FeatureStats:
    """Of two sets of steps together."""
    total = a["count"] + b["count"]
    share = b["count"] / total
    mean = a["mean"] + (b["mean"] - a["mean"]) * share
    variance = (
        a["std"] ** 2 * (1 - share)
        + b["std"] ** 2 * share
        + (b["mean"] - a["mean"]) ** 2 * share * (1 - share)
    )
    return {
        "min": np.minimum(a["min"], b["min"]),
        "max": np.maximum(a["max"], b["max"]),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": total,
        **{name: a[name] * (1 - share) + b[name] * share for name in QUANTILES},
    }


def stored_statistics(
    folder: Path, action: Schema, action_key: str, state: Schema | None, state_key: str
) -> EpisodeStatistics | None:
    """What `meta/stats.json` says of actions and states; None if it does not say it all.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / STATS
    if not path.exists():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if action_key not in told or (state is not None and state_key not in told):
            return None
        return EpisodeStatistics(
            action=_as_statistics(action, told[action_key]),
            state=None if state is None else _as_statistics(state, told[state_key]),
        )
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read ({error}); delete it to go on without") from error
    except KeyError:
        return None  # as the format's writers of 2024 left it: without quantiles


def _as_statistics(schema: Schema, told: Mapping[str, list[float]]) -> Statistics:
    keys = ("mean", "std", "min", "max", *QUANTILES)
    return Statistics.from_mapping(
        {
            "names": schema.names,
            "count": int(told["count"][0]),
            **{key: tuple(map(float, told[key])) for key in keys},
        }
    )


def _quantile(counts: np.ndarray, share: float, levels: np.ndarray) -> np.ndarray:
    """Of each row of a histogram, between two values by proportion, as np.quantile."""
    last = counts.sum(axis=1) - 1
    place = share * last
    below = np.floor(place)
    ranks = np.cumsum(counts, axis=1)
    low, high = (
        levels[np.argmax(ranks > at[:, None], axis=1)]
        for at in (below, np.minimum(below + 1, last))
    )
    return low + (high - low) * (place - below)
