"""Linear probes: logistic regression for classes, ridge regression for numbers.

Protocol: features are standardised with the training split's mean and deviation; the strength of
the L2 penalty is the grid's best on the validation split (the stronger of equals); the model that
is scored on the test split was fitted on the training split alone; the test split is read once.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from nexus.config import Config
from nexus.errors import DataError
from nexus.features.table import FeatureTable
from nexus.probes import metrics
from nexus.probes.results import ProbeResult
from nexus.probes.splits import (
    SPLIT_SEED,
    ClassTask,
    Part,
    assign_splits,
    class_task,
    label_column,
)

Model = TypeVar("Model")
STRENGTHS = tuple(10.0**power for power in range(-5, 4))


class LinearProbeConfig(Config):
    """Settings of a linear probe."""

    strengths: tuple[float, ...] = STRENGTHS
    """Penalties to choose from: the L2 weight on a mean loss over the training clips."""
    max_iterations: int = 1000
    split_seed: int = SPLIT_SEED
    """Names the 60/20/20 division of data that brings no splits."""


def linear_probe(
    table: FeatureTable, column: str, config: LinearProbeConfig | None = None
) -> ProbeResult:
    """Multinomial logistic regression on frozen features `(N, D)`.

    Raises:
        DataError: the column is missing or cannot be learned from; see `splits.class_task`.
        ValueError: the table holds tokens.
    """
    config = config or LinearProbeConfig()
    task = class_task(table, column, split_seed=config.split_seed)
    parts = task.parts
    x = standardised(table, parts.train, (parts.train, parts.validation, parts.test))
    train = task.labels[parts.train.rows]
    notes = list(parts.notes)

    def fit(strength: float) -> LogisticRegression:
        model = LogisticRegression(
            C=1.0 / (strength * len(train)), max_iter=config.max_iterations, tol=1e-5
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(x[0], train)
        if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
            notes.append(
                f"penalty {strength:g}: stopped after {config.max_iterations} iterations before it "
                "had converged"
            )
        return model

    def validate(model: LogisticRegression) -> float:
        return vote_accuracy(task, parts.validation, model.predict_proba(x[1]))

    strength, validation, model = choose(config.strengths, fit, validate)
    return class_result(
        task,
        probe="linear",
        scores=model.predict_proba(x[2]),
        validation=validation,
        chosen={"strength": strength},
        notes=notes,
    )


def ridge_probe(
    table: FeatureTable, column: str, config: LinearProbeConfig | None = None
) -> ProbeResult:
    """Ridge regression of a numeric label column; the metric is R² (chance 0).

    Raises:
        DataError: the column is missing, not numeric, or does not vary.
        ValueError: the table holds tokens.
    """
    config = config or LinearProbeConfig()
    names = label_column(table, column)
    target = numbers(column, names)
    parts = assign_splits(
        table, ["all" if name else "" for name in names], split_seed=config.split_seed
    )
    for name, part in (
        ("training", parts.train),
        ("validation", parts.validation),
        ("test", parts.test),
    ):
        if not np.ptp(target[part.rows]) if part.count else True:
            raise DataError(
                f"label column {column!r} does not vary in the {name} split ({part.count} "
                "samples); a regression needs different values"
            )
    x = standardised(table, parts.train, (parts.train, parts.validation, parts.test))
    offset, scale = target[parts.train.rows].mean(), target[parts.train.rows].std()
    y = (target[parts.train.rows] - offset) / scale
    left, singular, right = np.linalg.svd(x[0], full_matrices=False)

    def fit(strength: float) -> Float[ndarray, " dim"]:
        shrunk = singular / (singular**2 + strength * len(y))
        return right.T @ (shrunk * (left.T @ y))

    def predict(weights: Float[ndarray, " dim"], features: ndarray, part: Part) -> ndarray:
        return part.vote(features @ weights) * scale + offset

    def validate(weights: Float[ndarray, " dim"]) -> float:
        truth = parts.validation.per_sample(target)
        return metrics.r_squared(truth, predict(weights, x[1], parts.validation))

    strength, validation, weights = choose(config.strengths, fit, validate)
    truth = parts.test.per_sample(target)
    guess = predict(weights, x[2], parts.test)
    return ProbeResult(
        task=column,
        probe="ridge",
        metric="r2",
        value=metrics.r_squared(truth, guess),
        validation=validation,
        ci95=metrics.bootstrap_interval(
            lambda rows: metrics.r_squared(truth[rows], guess[rows]), len(truth)
        ),
        chosen={"strength": strength},
        chance=0.0,
        n_train=parts.train.count,
        n_validation=parts.validation.count,
        n_test=parts.test.count,
        seed=config.split_seed,
        notes=parts.notes,
    )


def choose(
    strengths: Sequence[float],
    fit: Callable[[float], Model],
    validate: Callable[[Model], float],
) -> tuple[float, float, Model]:
    """The strength with the best validation score (of equals the largest), its score, its model."""
    best: tuple[float, float, Model] | None = None
    for strength in sorted(strengths, reverse=True):
        model = fit(strength)
        score = validate(model)
        if best is None or score > best[1]:
            best = strength, score, model
    if best is None:
        raise ValueError("there is no penalty to choose from")
    return best


def standardised(
    table: FeatureTable, train: Part, parts: Sequence[Part]
) -> list[Float[ndarray, "clips dim"]]:
    """Features of each part, float64, standardised with the training clips' statistics.

    With more features than training clips they are rotated into the training clips' row space: an
    L2-penalised fit has no weight outside of it, so nothing changes but the time it takes.
    """
    if table.features.ndim != 2:
        raise ValueError("a linear probe takes one vector a clip; pool the tokens first")
    base = table.features[train.rows].astype(np.float64)
    mean, deviation = base.mean(axis=0), base.std(axis=0)
    # A feature that is constant in training carries nothing, and dividing by rounding noise would
    # blow it up on the other splits.
    constant = deviation <= 1e-7 * np.abs(mean) + 1e-12
    scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation))
    out = [(table.features[part.rows].astype(np.float64) - mean) * scale for part in parts]
    if base.shape[1] > base.shape[0]:
        basis = np.linalg.svd((base - mean) * scale, full_matrices=False)[2]
        out = [features @ basis.T for features in out]
    return out


def numbers(column: str, names: Sequence[str]) -> Float[ndarray, " rows"]:
    """A label column as numbers, NaN where a row has no label.

    Raises:
        DataError: a label is not a finite number.
    """
    try:
        values = np.array([float(name) if name else np.nan for name in names])
    except ValueError as error:
        raise DataError(f"label column {column!r} is not numeric: {error}") from None
    if not np.isfinite(values[[bool(name) for name in names]]).all():
        raise DataError(f"label column {column!r} holds values that are not finite numbers")
    return values


def vote_accuracy(task: ClassTask, part: Part, scores: Float[ndarray, "clips classes"]) -> float:
    """Accuracy over samples, the scores averaged over each sample's clips."""
    return metrics.accuracy(part.per_sample(task.labels), part.vote(scores).argmax(axis=1))


def class_result(
    task: ClassTask,
    *,
    probe: str,
    scores: Float[ndarray, "clips classes"],
    validation: float,
    chosen: dict[str, float],
    seed: int = 0,
    notes: Sequence[str] = (),
) -> ProbeResult:
    """Score a classifier's test-split probabilities and put the result on record."""
    parts = task.parts
    truth: Int[ndarray, " samples"] = parts.test.per_sample(task.labels)
    guess = parts.test.vote(scores).argmax(axis=1)
    confusion = metrics.confusion_matrix(truth, guess, len(task.classes))
    return ProbeResult(
        task=task.column,
        probe=probe,
        metric="accuracy",
        value=metrics.accuracy(truth, guess),
        validation=validation,
        ci95=metrics.accuracy_interval(truth == guess),
        chosen=chosen,
        chance=metrics.chance_rate(parts.train.per_sample(task.labels), truth, len(task.classes)),
        n_train=parts.train.count,
        n_validation=parts.validation.count,
        n_test=parts.test.count,
        seed=seed,
        classes=task.classes,
        recall=tuple(float(share) for share in metrics.per_class_recall(confusion)),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        notes=tuple(notes),
    )
