"""The runs of an adaptation sweep: what each one tries, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus.probes.suite import Measured
from nexus.runs.folder import RunDirectory
from nexus.runs.journal import Journal
from nexus.runs.schema import AdaptationRow

BASELINE = "no adaptation"


@dataclass(frozen=True)
class Arm:
    """One run of the sweep; the baseline has neither rate nor momentum."""

    lr: float | None = None
    momentum: float | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether these are the weights as they are."""
        return self.lr is None

    @property
    def name(self) -> str:
        """How it is called in tables."""
        return BASELINE if self.lr is None else f"lr {self.lr:g}, EMA {self.momentum:g}"

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return "no-adaptation" if self.lr is None else f"lr{self.lr:g}-ema{self.momentum:g}"


@dataclass(frozen=True)
class Outcome:
    """A finished run and its probes."""

    arm: Arm
    folder: Path
    measured: Measured

    @property
    def validation(self) -> dict[str, float]:
        """The validation score of each task, the mean over the probe's seeds."""
        return {
            task: sum(each.validation for each in found) / len(found)
            for (task, _), found in self.measured.results.items()
        }

    @property
    def score(self) -> float:
        """What runs are compared by: the mean over the tasks."""
        return sum(self.validation.values()) / len(self.validation)

    def row(self) -> AdaptationRow:
        """Its line in the table."""
        return _row(self.arm, self.folder, validation=self.validation, score=self.score)


@dataclass(frozen=True)
class Failure:
    """A run that could not be trained to its end, or whose features are no numbers."""

    arm: Arm
    folder: Path
    reason: str

    def row(self) -> AdaptationRow:
        """Its line in the table."""
        return _row(self.arm, self.folder, failed=self.reason)


def last_row(folder: Path) -> Mapping[str, Any]:
    """The last line of a run's journal; empty where there is none."""
    run = RunDirectory(folder)
    rows = Journal.read(run.journal_file).rows if run.journal_file.exists() else ()
    return rows[-1] if rows else {}


def _row(
    arm: Arm,
    folder: Path,
    *,
    validation: Mapping[str, float] | None = None,
    score: float | None = None,
    failed: str = "",
) -> AdaptationRow:
    last = last_row(folder)
    return AdaptationRow(
        arm=arm.name,
        lr=arm.lr,
        ema_momentum=arm.momentum,
        validation=validation or {},
        score=score,
        loss=last.get("loss"),
        health=str(last.get("health", "")),
        train_seconds=RunDirectory(folder).read_info().train_seconds if last else None,
        failed=failed,
    )
