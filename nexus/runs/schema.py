"""What the files of a run hold, as checked values, each file with its reading and writing.

A report reads runs of other versions too: nearly everything may be absent, and entries that are
unknown are passed over. What earlier versions wrote is brought up to date by `history`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import pydantic

from nexus.atomic import write_json
from nexus.runs.history import FORMAT, upgraded

Status = Literal["unknown", "running", "interrupted", "finished", "failed"]
"""How a run stands; `unknown` where nothing says it."""

Role = Literal["trained", "untrained", "start", "lookup", "baseline", "ceiling"]
"""What an arm is to the others of its table, whatever it is called.

trained     what the table is about: the run's own encoder, or the weights that were given
untrained   the same encoder before any training
start       the weights that training started from, as they were
lookup      an answer that is looked up in the inputs themselves: nearest neighbours on pixels
baseline    anything else that it has to be better than
ceiling     what it cannot be expected to reach; it is shown and never compared with
"""


class Row(pydantic.BaseModel):
    """A part of a file."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    def with_changes(self, **changes: Any) -> Self:
        """The same with other entries.

        Raises:
            ValueError: an unknown entry, or a value that is none for it.
        """
        if unknown := sorted(changes.keys() - type(self).model_fields.keys()):
            raise ValueError(f"{type(self).__name__} has no entry {', '.join(unknown)}")
        return self.model_validate({**dict(self), **changes})


class Record(Row):
    """A file of JSON."""

    format: int = FORMAT

    @classmethod
    def read(cls, path: str | Path, *, own: str | None = None) -> Self:
        """The file's content; `own` names the arm that is the run itself, for old rows of probes.

        Raises:
            OSError, ValueError: it cannot be read, or holds something else.
            RunError: a later version wrote it.
        """
        content = json.loads(Path(path).read_bytes())
        return cls.model_validate(upgraded(content, own=own, place=path))

    def save(self, path: str | Path) -> None:
        """Write the file, atomically."""
        write_json(path, self.model_dump())


class DataInfo(Row):
    """What the run was trained on: files, seconds in all, videos per value of each label.

    Equal fingerprints: the same videos, however the source is written.
    """

    source: str | tuple[str, ...] | None = None
    videos: int | None = None
    seconds: float | None = None
    clips: str | None = None
    """In words: frames, rate, size and length in seconds."""
    labels: Mapping[str, Mapping[str, int]] = {}
    fingerprint: str | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The source as a list of one or more; empty where the run does not say."""
        return (self.source,) if isinstance(self.source, str) else self.source or ()


class ModelInfo(Row):
    """The kind of model and its size."""

    kind: str | None = None
    parameters: int | None = None
    encoder_parameters: int | None = None


class InitInfo(Row):
    """The weights that a run started from: as they were named, and what was found there.

    `place` is their absolute path unless they are the hub's, `path` the file, `sha256` of their
    tensors, `report` what fitted.
    """

    source: str
    place: str | None = None
    layout: str | None = None
    path: str | None = None
    revision: str | None = None
    sha256: str | None = None
    report: str | None = None
    notes: tuple[str, ...] = ()


class PlanInfo(Row):
    """Why a run is as it is, where it was chosen; `objections`: why it will hardly learn."""

    lines: tuple[str, ...] = ()
    objections: str = ""

    def __str__(self) -> str:
        return "\n".join(filter(None, (*self.lines, self.objections)))


class RunInfo(Record):
    """`run.json`: what was run, on what, and how far it came."""

    status: Status = "unknown"
    command: str | None = None
    recipe: str | None = None
    seed: int | None = None
    started: str | None = None
    ended: str | None = None
    steps_done: int | None = None
    steps_total: int | None = None
    train_seconds: float | None = None
    clips_seen: int | None = None
    threads: int | None = None
    device: str | None = None
    precision: str | None = None
    error: str | None = None
    resumed: tuple[str, ...] = ()
    health_thresholds: Mapping[str, float] = {}
    environment: Mapping[str, str | int | None] = {}
    data: DataInfo = DataInfo()
    model: ModelInfo = ModelInfo()
    init: InitInfo | None = None
    plan: PlanInfo | None = None


class ProblemRow(Row):
    """A file that could not be used, or was used with a remark (`fatal` false)."""

    path: str
    kind: str
    reason: str = ""
    fatal: bool = True
    stage: str = "check"
    count: int = 1


class ProbeRow(Row):
    """One arm on one task with one probe, a value for each pretraining seed.

    Accuracies are shares in [0, 1].
    """

    arm: str
    role: Role
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
    n_test_seen: int | None = None
    """Test samples whose videos the encoder was trained on, without labels; None: not known."""
    train_seconds: float | None = None

    @property
    def name(self) -> tuple[str, str, str]:
        """What a row is known by: arm, task, probe."""
        return self.arm, self.task, self.probe


class ProbeTable(Record):
    """`results/probes.json`, or the table of a study."""

    rows: tuple[ProbeRow, ...]
    notes: tuple[str, ...] = ()


class HorizonRow(Row):
    """Prediction error so many token time steps ahead, beside the two trivial predictors."""

    steps_ahead: int
    seconds_ahead: float | None = None
    error: float
    copy_error: float | None = None
    mean_error: float | None = None


class Horizon(Record):
    """`results/horizon.json`."""

    rows: tuple[HorizonRow, ...]
    unit: str = ""


class AdaptationRow(Row):
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


class Adaptation(Record):
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


def reason_of(error: Exception) -> str:
    """Why something could not be read, in a line; of wrong entries the first."""
    if not isinstance(error, pydantic.ValidationError):
        return str(error) or type(error).__name__
    item = error.errors()[0]
    where = ".".join(str(part) for part in item["loc"])
    return f"{where}: got {str(item['input'])[:80]!r}; {item['msg']}"
