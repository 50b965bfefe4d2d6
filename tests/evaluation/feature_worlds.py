"""Feature tables whose best possible accuracy is known."""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from nexus.evaluation.table import FeatureTable


def make_table(
    features: ndarray,
    labels: Sequence[str],
    splits: Sequence[str] | None = None,
    *,
    keys: Sequence[str] | None = None,
    paths: Sequence[str] | None = None,
    column: str = "class",
) -> FeatureTable:
    """A table around given features; an empty label means that the clip has none."""
    count = len(features)
    keys = keys or [f"clip{number:05d}.mp4" for number in range(count)]
    return FeatureTable(
        features=features,
        keys=tuple(keys),
        paths=tuple(paths or keys),
        labels=tuple({column: label} if label else {} for label in labels),
        splits=tuple(splits or [""] * count),
        starts=np.zeros(count),
        ends=np.ones(count),
        pooling="tokens" if features.ndim == 3 else "mean",
        grid=(1, 1, features.shape[1]) if features.ndim == 3 else (1, 1, 1),
    )


def three_splits(train: int, validation: int, test: int) -> list[str]:
    """Split names in blocks."""
    return ["train"] * train + ["validation"] * validation + ["test"] * test


def two_gaussians(
    count: int, dim: int, distance: float, seed: int = 0
) -> tuple[ndarray, list[str]]:
    """Two unit Gaussians, means `distance` apart: Bayes accuracy is Phi(distance / 2)."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = generator.normal(size=(count, dim))
    axis = generator.normal(size=dim)
    features += np.outer(labels - 0.5, distance * axis / np.linalg.norm(axis))
    return features.astype(np.float32), [f"c{label}" for label in labels]
