"""Reads numbers from latents: a ridge regression, its strength chosen by leaving one out."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

STRENGTHS = np.logspace(-2, 6, 9)
SMOOTH = 1e-9
HIDDEN, MOST_FEATURES = 128, 64
"""Of the small network: its width, and the principal components that it is given of a latent."""

Rows = Float[np.ndarray, "rows features"]
Numbers = Float[np.ndarray, "rows numbers"]
Reader = Callable[[Rows], Numbers]


def ridge_reader(features: Rows, numbers: Numbers) -> Reader:
    """A linear reading, fitted; each number has a strength of its own."""
    scale = StandardScaler().fit(numbers)
    model = make_pipeline(StandardScaler(), RidgeCV(STRENGTHS, alpha_per_target=True))
    model.fit(features, scale.transform(numbers))

    def read(rows: Rows) -> Numbers:
        told = np.asarray(model.predict(rows)).reshape(len(rows), numbers.shape[1])
        return scale.inverse_transform(told)

    return read


def pair_reader(before: Rows, after: Rows, numbers: Numbers, seed: int) -> Callable:
    """A small network's reading of numbers from pairs of latents, fitted.

    What an action does to a latent depends on where one is, which no linear reading can say. It is
    given the principal components of both latents, and of their difference.
    """
    mean = before.mean(axis=0)
    count = min(MOST_FEATURES, *before.shape)
    # Few of them carry all there is, and a network on thousands of inputs learns them by heart.
    _, sizes, axes = np.linalg.svd(before - mean, full_matrices=False)
    widths = np.maximum(sizes[:count] / np.sqrt(len(before)), SMOOTH)
    kept = sizes[:count] > sizes[0] * 1e-4
    axes, widths = axes[:count][kept], widths[kept]

    def features(first: Rows, second: Rows) -> Rows:
        one, two = ((each - mean) @ axes.T / widths for each in (first, second))
        return np.concatenate([one, two, two - one], axis=1)

    scale, rows = StandardScaler().fit(numbers), features(before, after)
    inputs = StandardScaler().fit(rows)
    model = MLPRegressor(hidden_layer_sizes=(HIDDEN,), early_stopping=True, max_iter=300, random_state=seed)
    targets = scale.transform(numbers)
    model.fit(inputs.transform(rows), targets[:, 0] if targets.shape[1] == 1 else targets)

    def read(first: Rows, second: Rows) -> Numbers:
        told = np.asarray(model.predict(inputs.transform(features(first, second))))
        return scale.inverse_transform(told.reshape(len(first), -1))

    return read


def explained(told: Numbers, true: Numbers) -> Float[np.ndarray, " numbers"]:
    """R² of each number: 1 is right, 0 as good as its mean, below 0 worse."""
    missed = np.square(told - true).sum(axis=0)
    spread = np.square(true - true.mean(axis=0)).sum(axis=0)
    return 1 - missed / np.maximum(spread, SMOOTH**2)
