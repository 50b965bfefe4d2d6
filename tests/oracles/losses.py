"""Losses and anti-collapse terms as loops written from their formulas."""

import math

import numpy as np


def prediction_error(predicted: np.ndarray, target: np.ndarray, loss: str) -> float:
    """The mean over clips, tokens and dimensions of the squared or absolute difference."""
    total, count = 0.0, 0
    for mine, theirs in zip(predicted.reshape(-1), target.reshape(-1), strict=True):
        total += (mine - theirs) ** 2 if loss == "mse" else abs(mine - theirs)
        count += 1
    return total / count


def layer_normed(vector: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    return (vector - vector.mean()) / math.sqrt(vector.var() + eps)


def unit_length(vector: np.ndarray) -> np.ndarray:
    return vector / math.sqrt(sum(value * value for value in vector))


def variance_covariance(samples: np.ndarray) -> float:
    """VICReg, arXiv 2105.04906, equations 1 to 4 with gamma 1 and epsilon 1e-4."""
    count, dim = samples.shape
    mean = [sum(samples[i, j] for i in range(count)) / count for j in range(dim)]
    hinge = off_diagonal = 0.0
    for j in range(dim):
        for k in range(dim):
            covariance = sum(
                (samples[i, j] - mean[j]) * (samples[i, k] - mean[k]) for i in range(count)
            ) / (count - 1)
            if j == k:
                hinge += max(0.0, 1.0 - math.sqrt(covariance + 1e-4))
            else:
                off_diagonal += covariance**2
    return hinge / dim + off_diagonal / dim


def epps_pulley(values: np.ndarray) -> float:
    """The weighted distance between characteristic functions, in closed form.

    The integral over all t of |phi_n(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2), where phi_n is the
    values' empirical characteristic function: expand the square and integrate each Gaussian.
    """
    pairs = singles = 0.0
    for a in values:
        singles += math.exp(-(a**2) / 4)
        for b in values:
            pairs += math.exp(-((a - b) ** 2) / 2)
    n = len(values)
    return math.sqrt(2 * math.pi) * (
        pairs / n**2 - 2 / math.sqrt(2) * singles / n + 1 / math.sqrt(3)
    )
