"""Weighted k-nearest-neighbour classification of frozen features by cosine similarity.

Each of the k most similar training clips votes for its class with weight exp(cosine / temperature)
(arXiv 1805.01978, section 3.4). Features are centred on the training mean first, unless asked not
to: a large component that all clips share would press every cosine towards 1. k and temperature
are chosen on the validation split. Of training clips that are exactly as similar as the k-th, which
one votes is scikit-learn's choice (the same at every call).
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pydantic
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional as F

from nexus.features.table import FeatureTable
from nexus.models.heads import NeighbourHead, NeighbourHeadConfig
from nexus.probes.columns import ClassTask
from nexus.probes.pooled import MakeHead, PooledClassProbe, choose
from nexus.probes.results import ProbeResult, class_result, vote_accuracy
from nexus.probes.splits import Part


class KNNProbe(PooledClassProbe):
    """The nearest-neighbour probe, on features `(N, D)`."""

    neighbours: tuple[pydantic.PositiveInt, ...] = (1, 5, 10, 20, 50, 100, 200)
    """Values of k to choose from; those above the number of training clips are left out (if all
    are, every training clip votes)."""
    temperatures: tuple[pydantic.PositiveFloat, ...] = (0.03, 0.07, 0.2, 1.0)
    centre: bool = True

    def solve(self, features: FeatureTable, task: ClassTask) -> tuple[ProbeResult, MakeHead]:
        """Choose k and the temperature, and score the pair that validates best."""
        parts, classes = task.parts, len(task.classes)
        train = features.features[parts.train.rows].astype(np.float64)
        labels = task.labels[parts.train.rows]
        mean = train.mean(axis=0) if self.centre else np.zeros(train.shape[1])
        fitting = [k for k in sorted(set(self.neighbours)) if k <= len(train)] or [len(train)]
        model = NearestNeighbors(algorithm="brute", metric="cosine").fit(train - mean)

        def nearest(part: Part, k: int) -> tuple[ndarray, ndarray]:
            queries = features.features[part.rows].astype(np.float64) - mean
            return model.kneighbors(queries, k)

        near = nearest(parts.validation, fitting[-1])
        (k, temperature), validation, _ = choose(
            product(fitting, self.temperatures),
            lambda pair: knn_scores(*near, labels, *pair, classes=classes),
            lambda scores: vote_accuracy(task, parts.validation, scores),
        )
        near = nearest(parts.test, k)
        result = class_result(
            task,
            probe="knn",
            scores=knn_scores(*near, labels, k, temperature, classes=classes),
            validation=validation,
            chosen={"neighbours": k, "temperature": temperature},
            notes=parts.notes,
        )

        def head(sizes: Mapping[str, int]) -> NeighbourHead:
            vote = {"num_clips": len(train), "neighbours": k, "temperature": temperature}
            config = NeighbourHeadConfig.from_mapping({**sizes, **vote})
            made, clips = NeighbourHead(config), torch.from_numpy(train - mean)
            tensors = {"mean": torch.from_numpy(mean), "clips": F.normalize(clips, dim=-1)}
            made.load_state_dict({**tensors, "labels": torch.from_numpy(labels)})
            return made.eval()

        return result, head


def knn_scores(
    distances: Float[ndarray, "n near"],
    rows: Int[ndarray, "n near"],
    labels: Int[ndarray, " m"],
    k: int,
    temperature: float,
    *,
    classes: int,
) -> Float[ndarray, "n classes"]:
    """Each class's share of the votes of the k nearest; distances are 1 - cosine, rising."""
    # Relative to the nearest, whose weight is 1: exp(1 / 0.003) would overflow.
    weights = np.exp((distances[:, :1] - distances[:, :k]) / temperature)
    votes = np.zeros((len(distances), classes))
    np.add.at(votes, (np.arange(len(distances))[:, None], labels[rows[:, :k]]), weights)
    return votes / votes.sum(axis=1, keepdims=True)
