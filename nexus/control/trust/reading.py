"""Reads numbers from latents: ridge regressions, their strength chosen by leaving one out."""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

STRENGTHS = np.logspace(-2, 6, 9)
SMOOTH, FAINT = 1e-9, 1e-4
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
        said = np.asarray(model.predict(rows)).reshape(len(rows), numbers.shape[1])
        return scale.inverse_transform(said)

    return read


def pair_reader(before: Rows, after: Rows, numbers: Numbers, seed: int) -> Callable:
    """A reading of numbers from pairs of latents, fitted: a ridge, or a small network if better.

    What an action does to a latent may depend on where one is, which no linear reading can say; of
    few pairs a network learns nothing. The last fifth of the pairs decides.
    """
    mean = before.mean(axis=0)
    # Few components carry all there is, and a network on thousands of inputs learns by heart.
    _, sizes, axes = np.linalg.svd(before - mean, full_matrices=False)
    kept = np.flatnonzero(sizes > sizes[0] * FAINT)[:MOST_FEATURES]
    turn = axes[kept].T / np.maximum(sizes[kept] / np.sqrt(len(before)), SMOOTH)

    def features(first: Rows, second: Rows) -> Rows:
        one, two = (first - mean) @ turn, (second - mean) @ turn
        return np.concatenate([one, two, two - one], axis=1)

    rows, fitted = features(before, after), len(before) - len(before) // 5
    readers = [
        fit(rows[:fitted], numbers[:fitted])
        for fit in (ridge_reader, partial(network_reader, seed=seed))
    ]
    scores = [explained(read(rows[fitted:]), numbers[fitted:]).mean() for read in readers]
    best = readers[int(np.argmax(scores))]
    return lambda first, second: best(features(first, second))


def network_reader(features: Rows, numbers: Numbers, seed: int) -> Reader:
    """A small network's reading, fitted."""
    scale, inputs = StandardScaler().fit(numbers), StandardScaler().fit(features)
    model = MLPRegressor(
        hidden_layer_sizes=(HIDDEN,), early_stopping=True, max_iter=300, random_state=seed
    )
    targets = np.asarray(scale.transform(numbers))
    model.fit(inputs.transform(features), targets[:, 0] if targets.shape[1] == 1 else targets)

    def read(rows: Rows) -> Numbers:
        said = np.asarray(model.predict(inputs.transform(rows)))
        return scale.inverse_transform(said.reshape(len(rows), -1))

    return read


def explained(told: Numbers, true: Numbers) -> Float[np.ndarray, " numbers"]:
    """R² of each number: 1 is right, 0 as good as its mean, below 0 worse."""
    missed = np.square(told - true).sum(axis=0)
    spread = np.square(true - true.mean(axis=0)).sum(axis=0)
    return 1 - missed / np.maximum(spread, SMOOTH**2)
