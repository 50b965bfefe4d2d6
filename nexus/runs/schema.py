"""What the files of a run hold, as checked values; unknown entries are passed over.

A report reads runs of other versions too, so nearly everything may be absent.
"""

from collections.abc import Mapping
from typing import Any, Self

import pydantic

from nexus.errors import NexusError


class ReportError(NexusError):
    """There is nothing to report on, or what was handed over is not a table of results."""


class _Row(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")


class DataInfo(_Row):
    """What the run was trained on: files, seconds in all, videos per value of each label."""

    source: str | tuple[str, ...] | None = None
    videos: int | None = None
    seconds: float | None = None
    labels: Mapping[str, Any] = {}


class ModelInfo(_Row):
    """The kind of model and its size."""

    kind: str | None = None
    parameters: int | None = None
    encoder_parameters: int | None = None


class InitInfo(_Row):
    """The weights that a run started from; `sha256` is of their tensors."""

    source: str
    sha256: str | None = None
    notes: tuple[str, ...] = ()


class RunInfo(_Row):
    """`run.json`: what was run, on what, and how far it came."""

    status: str = "unknown"
    command: str | None = None
    recipe: str | Mapping[str, Any] | None = None
    seed: int | None = None
    started: str | float | None = None
    ended: str | float | None = None
    steps_done: int | None = None
    steps_total: int | None = None
    train_seconds: float | None = None
    clips_seen: int | None = None
    threads: int | None = None
    device: str | None = None
    precision: str | None = None
    error: str | None = None
    health_thresholds: Mapping[str, float] = {}
    environment: Mapping[str, Any] = {}
    data: DataInfo = DataInfo()
    model: ModelInfo = ModelInfo()
    init: InitInfo | None = None


class ProblemRow(_Row):
    """A file that could not be used, or was used with a remark (`fatal` false)."""

    path: str
    kind: str
    reason: str = ""
    fatal: bool = True
    stage: str = "check"
    count: int = 1


class ProbeRow(_Row):
    """One arm on one task with one probe; accuracies are shares in [0, 1]."""

    arm: str
    task: str
    probe: str
    metric: str = "accuracy"
    values: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    mean: float | None = None
    ci95: tuple[float, float] | None = None
    chance: float | None = None
    n_train: int | None = None
    n_validation: int | None = None
    n_test: int | None = None
    train_seconds: float | None = None


class HorizonRow(_Row):
    """Prediction error so many token time steps ahead, beside the two trivial predictors."""

    steps_ahead: int
    seconds_ahead: float | None = None
    error: float
    copy_error: float | None = None
    mean_error: float | None = None


class ProbeTable(_Row):
    """`results/probes.json`, or the table of a study."""

    rows: tuple[ProbeRow, ...]
    notes: tuple[str, ...] = ()


class AdaptationRow(_Row):
    """One run of an adaptation sweep: validation scores by task, `score` is what is compared.

    A run that `failed` (with this reason) has no scores.
    """

    arm: str
    lr: float | None = None
    ema_momentum: float | None = None
    validation: Mapping[str, float] = {}
    score: float | None = None
    loss: float | None = None
    health: str = ""
    train_seconds: float | None = None
    failed: str = ""

    @pydantic.model_validator(mode="after")
    def _has_a_score_or_failed(self) -> Self:
        if (self.score is None) != bool(self.failed):
            raise ValueError(f"{self.arm!r} needs either a score or a reason why it failed")
        return self


class Adaptation(_Row):
    """`results/adaptation.json`: a sweep of continued pretraining, and which run was picked.

    `problems` are those of the files that runs were trained on or judged by.
    """

    init: InitInfo
    probe: str
    metrics: Mapping[str, str]
    rows: tuple[AdaptationRow, ...]
    chosen: str
    notes: tuple[str, ...] = ()
    problems: tuple[ProblemRow, ...] = ()

    @pydantic.model_validator(mode="after")
    def _holds_the_chosen(self) -> Self:
        if self.chosen not in {row.arm for row in self.rows if not row.failed}:
            raise ValueError(f"chosen is {self.chosen!r}, which is none of the rows with a score")
        return self

    @property
    def lowest_loss(self) -> str | None:
        """The arm that the loss would have picked."""
        known = [row for row in self.rows if row.loss is not None and not row.failed]
        return min(known, key=lambda row: row.loss or 0.0).arm if known else None


class Horizon(_Row):
    """`results/horizon.json`."""

    rows: tuple[HorizonRow, ...]
    unit: str = ""
