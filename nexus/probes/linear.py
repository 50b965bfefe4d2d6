"""Linear probes: logistic regression for classes, ridge regression for numbers.

Protocol: features are standardised with the training split's mean and deviation; the strength of
the L2 penalty is the grid's best on the validation split (the stronger of equals); the model that
is scored on the test split was fitted on the training split alone; the test split is read once.
"""

import warnings
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import pydantic
import torch
from jaxtyping import Float
from numpy import ndarray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from nexus.features.table import FeatureTable
from nexus.models.heads import LinearHead, LinearHeadConfig
from nexus.probes.columns import ClassTask, number_task
from nexus.probes.metrics import bootstrap_interval, r_squared
from nexus.probes.pooled import MakeHead, PooledClassProbe, PooledProbe, choose
from nexus.probes.results import ProbeResult, class_result, vote_accuracy
from nexus.probes.splits import Part, Parts

Strengths = Annotated[tuple[float, ...], pydantic.Field(min_length=1)]
STRENGTHS = tuple(10.0**power for power in range(-5, 4))


class LinearProbe(PooledClassProbe):
    """Multinomial logistic regression on frozen features `(N, D)`."""

    strengths: Strengths = STRENGTHS
    """Penalties to choose from: the L2 weight on a mean loss over the training clips."""
    max_iterations: int = 1000

    def solve(self, features: FeatureTable, task: ClassTask) -> tuple[ProbeResult, MakeHead]:
        """Fit a model for each strength, and score the one that validates best."""
        parts = task.parts
        scaling, (train, validation, test) = standardised(features, parts)
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
                    f"{task.column}: a linear probe, that with penalty {strength:g}, was stopped "
                    f"after {self.max_iterations} iterations, before it had converged"
                )
            return model

        def validate(model: LogisticRegression) -> float:
            return vote_accuracy(task, parts.validation, model.predict_proba(validation))

        strength, score, model = choose(sorted(self.strengths, reverse=True), fit, validate)
        result = class_result(
            task,
            probe="linear",
            scores=model.predict_proba(test),
            validation=score,
            chosen={"strength": strength},
            notes=notes,
        )
        return result, lambda sizes: _head(scaling, model, LinearHeadConfig.from_mapping(sizes))


class RidgeProbe(PooledProbe):
    """Ridge regression of a column of numbers, or of vectors; the metric is R² (chance 0)."""

    strengths: Strengths = STRENGTHS
    """Penalties to choose from: the L2 weight on a mean loss over the training clips."""

    def learn(self, features: FeatureTable, column: str) -> ProbeResult:
        """Learn a column of numbers."""
        task = number_task(features.rows, column, split_seed=self.split_seed)
        parts = task.parts
        _, (train, validation, test) = standardised(features, parts)
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


@dataclass(frozen=True)
class Scaling:
    """What makes features standardised with the training clips' statistics, in float64.

    `scale` is one over the deviation, 0 where a feature is constant. With more features than
    training clips, `basis` spans the training clips' row space, into which they are rotated: an
    L2-penalised fit has no weight outside of it, so nothing changes but the time it takes.
    """

    mean: Float[ndarray, " dim"]
    scale: Float[ndarray, " dim"]
    basis: Float[ndarray, "rank dim"] | None = None

    @classmethod
    def of(cls, train: Float[ndarray, "clips dim"]) -> Self:
        """Of the training clips' features."""
        base = train.astype(np.float64)
        mean, deviation = base.mean(axis=0), base.std(axis=0)
        # A feature that is constant in training carries nothing, and dividing by rounding noise
        # would blow it up on the other splits.
        constant = deviation <= 1e-7 * np.abs(mean) + 1e-12
        scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation))
        if base.shape[1] <= base.shape[0]:
            return cls(mean, scale)
        return cls(mean, scale, np.linalg.svd((base - mean) * scale, full_matrices=False)[2])

    def __call__(self, features: Float[ndarray, "clips dim"]) -> Float[ndarray, "clips rank"]:
        """Standardised, and rotated if need be."""
        shown = (features.astype(np.float64) - self.mean) * self.scale
        return shown if self.basis is None else shown @ self.basis.T


def standardised(
    features: FeatureTable, parts: Parts
) -> tuple[Scaling, list[Float[ndarray, "_ rank"]]]:
    """The training split's scaling, and with it the features of each split in their order."""
    scaling = Scaling.of(features.features[parts.train.rows])
    splits = (parts.train, parts.validation, parts.test)
    return scaling, [scaling(features.features[part.rows]) for part in splits]


def _head(scaling: Scaling, model: LogisticRegression, config: LinearHeadConfig) -> LinearHead:
    """The same model in float32; two classes have one row of weights in scikit-learn."""
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
    if scaling.basis is not None:
        weight = weight @ scaling.basis
    mean = scaling.mean.astype(np.float32)
    # What rounding takes from the means would count for much where a feature hardly varies.
    bias = bias + ((mean - scaling.mean) * scaling.scale) @ weight.T
    head = LinearHead(config)
    parts = {"mean": mean, "scale": scaling.scale, "weight": weight, "bias": bias}
    head.load_state_dict({name: torch.from_numpy(part).float() for name, part in parts.items()})
    return head.eval()
