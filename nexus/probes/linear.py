"""Linear probes: logistic regression for classes, ridge regression for numbers.

Protocol: features are standardised with the training split's mean and deviation; the strength of
the L2 penalty is the grid's best on the validation split (the stronger of equals); the model that
is scored on the test split was fitted on the training split alone; the test split is read once.
"""

import warnings
from typing import Annotated

import numpy as np
import pydantic
from jaxtyping import Float
from numpy import ndarray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from nexus.features.table import FeatureTable
from nexus.probes.columns import class_task, number_task
from nexus.probes.metrics import bootstrap_interval, r_squared
from nexus.probes.pooled import PooledProbe, choose
from nexus.probes.results import ProbeResult, class_result, vote_accuracy
from nexus.probes.splits import Part, Parts

Strengths = Annotated[tuple[float, ...], pydantic.Field(min_length=1)]
STRENGTHS = tuple(10.0**power for power in range(-5, 4))


class LinearProbe(PooledProbe):
    """Multinomial logistic regression on frozen features `(N, D)`."""

    strengths: Strengths = STRENGTHS
    """Penalties to choose from: the L2 weight on a mean loss over the training clips."""
    max_iterations: int = 1000

    def learn(self, features: FeatureTable, column: str) -> ProbeResult:
        """Learn a column of classes."""
        task = class_task(features.rows, column, split_seed=self.split_seed)
        parts = task.parts
        train, validation, test = standardised(features, parts)
        labels = task.labels[parts.train.rows]
        notes = list(parts.notes)

        def fit(strength: float) -> LogisticRegression:
            model = LogisticRegression(
                C=1.0 / (strength * len(labels)), max_iter=self.max_iterations, tol=1e-5
            )
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                model.fit(train, labels)
            if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
                notes.append(
                    f"penalty {strength:g}: stopped after {self.max_iterations} iterations before "
                    "it had converged"
                )
            return model

        def validate(model: LogisticRegression) -> float:
            return vote_accuracy(task, parts.validation, model.predict_proba(validation))

        strength, score, model = choose(sorted(self.strengths, reverse=True), fit, validate)
        return class_result(
            task,
            probe="linear",
            scores=model.predict_proba(test),
            validation=score,
            chosen={"strength": strength},
            notes=notes,
        )


class RidgeProbe(PooledProbe):
    """Ridge regression of a column of numbers, or of vectors; the metric is R² (chance 0)."""

    strengths: Strengths = STRENGTHS
    """Penalties to choose from: the L2 weight on a mean loss over the training clips."""

    def learn(self, features: FeatureTable, column: str) -> ProbeResult:
        """Learn a column of numbers."""
        task = number_task(features.rows, column, split_seed=self.split_seed)
        parts = task.parts
        train, validation, test = standardised(features, parts)
        targets = task.targets[parts.train.rows]
        offset, scale = targets.mean(axis=0), targets.std(axis=0)

        def fit(strength: float) -> Ridge:
            model = Ridge(alpha=strength * len(targets), fit_intercept=False, solver="svd")
            return model.fit(train, (targets - offset) / scale)

        def predict(model: Ridge, x: ndarray, part: Part) -> ndarray:
            return part.vote(model.predict(x).reshape(len(x), -1)) * scale + offset

        def validate(model: Ridge) -> float:
            truth = parts.validation.per_sample(task.targets)
            return r_squared(truth, predict(model, validation, parts.validation))

        strength, score, model = choose(sorted(self.strengths, reverse=True), fit, validate)
        truth = parts.test.per_sample(task.targets)
        guess = predict(model, test, parts.test)
        return ProbeResult(
            task=column,
            probe="ridge",
            metric="r2",
            value=r_squared(truth, guess),
            validation=score,
            ci95=bootstrap_interval(lambda rows: r_squared(truth[rows], guess[rows]), len(truth)),
            chosen={"strength": strength},
            chance=0.0,
            n_train=parts.train.count,
            n_validation=parts.validation.count,
            n_test=parts.test.count,
            seed=self.split_seed,
            notes=parts.notes,
        )


def standardised(table: FeatureTable, parts: Parts) -> list[Float[ndarray, "clips dim"]]:
    """Features of the three splits, float64, standardised with the training clips' statistics.

    With more features than training clips they are rotated into the training clips' row space: an
    L2-penalised fit has no weight outside of it, so nothing changes but the time it takes.
    """
    base = table.features[parts.train.rows].astype(np.float64)
    mean, deviation = base.mean(axis=0), base.std(axis=0)
    # A feature that is constant in training carries nothing, and dividing by rounding noise would
    # blow it up on the other splits.
    constant = deviation <= 1e-7 * np.abs(mean) + 1e-12
    scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation))
    every = (parts.train, parts.validation, parts.test)
    out = [(table.features[part.rows].astype(np.float64) - mean) * scale for part in every]
    if base.shape[1] > base.shape[0]:
        basis = np.linalg.svd(out[0], full_matrices=False)[2]
        out = [features @ basis.T for features in out]
    return out
