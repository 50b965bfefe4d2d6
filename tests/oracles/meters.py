"""Collapse meters from their definitions, in numpy."""

import math

import numpy as np


def effective_rank(samples: np.ndarray) -> float:
    """exp of the entropy of the normalised singular values (arXiv 2210.02885, equation 1)."""
    singular = np.linalg.svd(samples.astype(np.float64), compute_uv=False)
    share = singular / singular.sum()
    return math.exp(-sum(p * math.log(p) for p in share if p > 0))


def content(features: np.ndarray, index: np.ndarray) -> list[np.ndarray]:
    """Each feature minus the mean of those at its position, for positions seen twice or more.

    Scaled by sqrt(n / (n - 1)): then the mean square is the unbiased variance.
    """
    rows = []
    batch, tokens, _ = features.shape
    for b in range(batch):
        for t in range(tokens):
            same = [
                features[i, j]
                for i in range(batch)
                for j in range(tokens)
                if index[i, j] == index[b, t]
            ]
            if len(same) > 1:
                scale = math.sqrt(len(same) / (len(same) - 1))
                rows.append((features[b, t] - sum(same) / len(same)) * scale)
    return rows
