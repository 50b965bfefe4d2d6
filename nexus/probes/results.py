"""What a probe reports, and how results become rows of a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.metrics import accuracy_score, confusion_matrix

from nexus.checkpoints.probe_folder import SweepRow
from nexus.models.heads import Head
from nexus.probes.columns import ClassTask
from nexus.probes.metrics import chance_rate, mean_interval, wilson_interval
from nexus.probes.splits import Part
from nexus.runs.predictions import Answers
from nexus.runs.schema import ProbeRow, Role

RANDOM_ARM = "random init"
"""What the same encoder, untrained, is called in tables."""


@dataclass(frozen=True)
class ProbeResult:
    """How well a frozen feature tells a label, measured once on the test split.

    `value` is on the test split, `validation` is the score by which `chosen` (the hyper-parameters)
    was picked; `ci95` is the interval over test files (see `metrics`); `chance` is what knowing
    nothing scores. `n_train`, `n_validation` and `n_test` count samples (videos, or annotated
    segments of them), not clips. `classes`,
    `recall` and `confusion` (true by guessed) are empty for regression, as are the `answers`: what
    was said of each test sample. `seed` is the probe's own.
    """

    task: str
    probe: str
    metric: str
    value: float
    validation: float
    ci95: tuple[float, float]
    chosen: Mapping[str, float]
    chance: float
    n_train: int
    n_validation: int
    n_test: int
    seed: int
    classes: tuple[str, ...] = ()
    recall: tuple[float, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    notes: tuple[str, ...] = ()
    answers: Answers | None = None


@dataclass(frozen=True)
class FittedProbe:
    """The head that the validation split chose, its test result, and the sweep, if it had one."""

    head: Head
    result: ProbeResult
    sweep: tuple[SweepRow, ...] = ()


Results = Mapping[tuple[str, str], Sequence[ProbeResult]]
"""The results of one arm by (task, probe), one for each probe seed."""


def probe_rows(
    arm: str, role: Role, measured: Mapping[int, Results], *, train_seconds: float | None = None
) -> list[ProbeRow]:
    """A row for each task and probe of an arm that was measured for some pretraining seeds."""
    return [
        probe_row(
            arm,
            role,
            {seed: results[key] for seed, results in measured.items()},
            train_seconds=train_seconds,
        )
        for key in next(iter(measured.values()))
    ]


def vote_accuracy(task: ClassTask, part: Part, scores: Float[ndarray, "clips classes"]) -> float:
    """Accuracy over samples, the scores averaged over each sample's clips."""
    guess = part.vote(scores).argmax(axis=1)
    return float(accuracy_score(part.per_sample(task.labels), guess))


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
    parts, numbers = task.parts, np.arange(len(task.classes))
    votes = parts.test.vote(scores)
    truth, guess = parts.test.per_sample(task.labels), votes.argmax(axis=1)
    confusion = confusion_matrix(truth, guess, labels=numbers)
    with np.errstate(invalid="ignore"):
        recall = confusion.diagonal() / confusion.sum(axis=1)  # NaN for a class without samples
    return ProbeResult(
        task=task.column,
        probe=probe,
        metric="accuracy",
        value=vote_accuracy(task, parts.test, scores),
        validation=validation,
        ci95=wilson_interval(int((truth == guess).sum()), len(truth)),
        chosen=chosen,
        chance=chance_rate(parts.train.per_sample(task.labels), truth, len(task.classes)),
        n_train=parts.train.count,
        n_validation=parts.validation.count,
        n_test=parts.test.count,
        seed=seed,
        classes=task.classes,
        recall=tuple(recall.tolist()),
        confusion=tuple(map(tuple, confusion.tolist())),
        notes=tuple(notes),
        answers=Answers(
            classes=task.classes,
            samples=parts.test.per_sample(task.keys).tolist(),
            truth=truth.tolist(),
            guess=guess.tolist(),
            confidence=votes.max(axis=1).round(4).tolist(),
        ),
    )


def probe_row(
    arm: str,
    role: Role,
    results: Mapping[int, Sequence[ProbeResult]],
    *,
    train_seconds: float | None = None,
) -> ProbeRow:
    """Sum up one arm on one task with one probe: `results` by pretraining seed.

    Several results for one pretraining seed (probe seeds) are averaged into one value first. With
    two or more pretraining seeds the interval is Student's t over them (accuracies clipped to
    0..1); with one it is the test set's own: Wilson for an accuracy, bootstrap otherwise.

    Raises:
        ValueError: no results, or results of different tasks, probes or metrics.
    """
    every = [result for group in results.values() for result in group]
    if not every or not all(results.values()):
        raise ValueError("a probe row needs at least one result for each pretraining seed")
    kinds = {(result.task, result.probe, result.metric) for result in every}
    if len(kinds) > 1:
        raise ValueError(f"one row holds one task, probe and metric, got {sorted(kinds)}")
    first = every[0]
    values = [sum(r.value for r in group) / len(group) for group in results.values()]
    if len(values) > 1:
        mean, (low, high) = mean_interval(values)
        if first.metric == "accuracy":
            low, high = max(0.0, low), min(1.0, high)
    else:
        mean = values[0]
        low, high = np.mean([result.ci95 for result in every], axis=0).tolist()
        if first.metric == "accuracy":
            low, high = wilson_interval(mean * first.n_test, first.n_test)
    return ProbeRow(
        arm=arm,
        role=role,
        task=first.task,
        probe=first.probe,
        metric=first.metric,
        values=tuple(values),
        seeds=tuple(results),
        mean=mean,
        ci95=(low, high),
        chance=first.chance,
        n_train=first.n_train,
        n_validation=first.n_validation,
        n_test=first.n_test,
        train_seconds=train_seconds,
    )
