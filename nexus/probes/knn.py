"""Weighted k-nearest-neighbour classification of frozen features by cosine similarity.

Each of the k most similar training clips votes for its class with weight exp(cosine / temperature)
(arXiv 1805.01978, section 3.4). Features are centred on the training mean first, unless asked not
to: a large component that all clips share would press every cosine towards 1. k and temperature
are chosen on the validation split.
"""

import numpy as np
import pydantic
from jaxtyping import Float, Int
from numpy import ndarray

from nexus.config import Config
from nexus.features.table import FeatureTable
from nexus.probes.linear import class_result, vote_accuracy
from nexus.probes.results import ProbeResult
from nexus.probes.splits import SPLIT_SEED, class_task

CHUNK = 1024


class KNNConfig(Config):
    """Settings of the nearest-neighbour probe."""

    neighbours: tuple[pydantic.PositiveInt, ...] = (1, 5, 10, 20, 50, 100, 200)
    """Values of k to choose from; those above the number of training clips are left out (if all
    are, every training clip votes)."""
    temperatures: tuple[pydantic.PositiveFloat, ...] = (0.03, 0.07, 0.2, 1.0)
    centre: bool = True
    split_seed: int = SPLIT_SEED
    """Names the 60/20/20 division of data that brings no splits."""


def knn_probe(table: FeatureTable, column: str, config: KNNConfig | None = None) -> ProbeResult:
    """Classify each test sample by its nearest training clips; features `(N, D)`.

    Raises:
        DataError: the column is missing or cannot be learned from; see `splits.class_task`.
        ValueError: the table holds tokens.
    """
    config = config or KNNConfig()
    if table.features.ndim != 2:
        raise ValueError("kNN takes one vector a clip; pool the tokens first")
    task = class_task(table, column, split_seed=config.split_seed)
    parts, classes = task.parts, len(task.classes)
    train = table.features[parts.train.rows]
    labels = task.labels[parts.train.rows]
    mean = train.mean(axis=0, dtype=np.float64) if config.centre else np.zeros(train.shape[1])
    base = directions(train, mean)
    fitting = [k for k in sorted(set(config.neighbours)) if k <= len(train)] or [len(train)]

    near = nearest(directions(table.features[parts.validation.rows], mean), base, fitting[-1])
    best = (-1.0, 0, 0.0)
    for k in fitting:
        for temperature in config.temperatures:
            scores = knn_scores(*near, labels, k=k, temperature=temperature, classes=classes)
            score = vote_accuracy(task, parts.validation, scores)
            if score > best[0]:
                best = (score, k, temperature)
    validation, k, temperature = best

    near = nearest(directions(table.features[parts.test.rows], mean), base, k)
    return class_result(
        task,
        probe="knn",
        scores=knn_scores(*near, labels, k=k, temperature=temperature, classes=classes),
        validation=validation,
        chosen={"neighbours": k, "temperature": temperature},
        notes=parts.notes,
    )


def directions(
    features: Float[ndarray, "n dim"], mean: Float[ndarray, " dim"]
) -> Float[ndarray, "n dim"]:
    """Unit vectors of the centred features, float64; a feature at the mean stays zero."""
    centred = features.astype(np.float64) - mean
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(length > 0, length, 1.0)


def nearest(
    queries: Float[ndarray, "n dim"], base: Float[ndarray, "m dim"], k: int
) -> tuple[Float[ndarray, "n k"], Int[ndarray, "n k"]]:
    """Cosines and row numbers of the k most similar rows of `base`, most similar first.

    Of equally similar rows the one with the smaller number comes first.
    """
    cosines, rows = [], []
    for start in range(0, len(queries), CHUNK):
        similarity = queries[start : start + CHUNK] @ base.T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        rows.append(order)
        cosines.append(np.take_along_axis(similarity, order, axis=1))
    return np.concatenate(cosines), np.concatenate(rows)


def knn_scores(
    cosines: Float[ndarray, "n near"],
    rows: Int[ndarray, "n near"],
    labels: Int[ndarray, " m"],
    *,
    k: int,
    temperature: float,
    classes: int,
) -> Float[ndarray, "n classes"]:
    """Each class's share of the votes of the k nearest."""
    # Relative to the nearest, whose weight is 1: exp(1 / 0.003) would overflow.
    weights = np.exp((cosines[:, :k] - cosines[:, :1]) / temperature)
    votes = np.zeros((len(cosines), classes))
    np.add.at(votes, (np.arange(len(cosines))[:, None], labels[rows[:, :k]]), weights)
    return votes / votes.sum(axis=1, keepdims=True)
