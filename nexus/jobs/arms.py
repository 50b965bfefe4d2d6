"""The runs of an adaptation sweep: what each one tries, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus.probes.suite import Measured
from nexus.runs.read import read_run

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

    def row(self) -> dict[str, Any]:
        """Its line in the table, see `nexus.runs.schema.AdaptationRow`."""
        told = {"validation": self.validation, "score": self.score}
        return {**_facts(self.arm, self.folder), **told}


@dataclass(frozen=True)
class Failure:
    """A run that could not be trained to its end, or whose features are no numbers."""

    arm: Arm
    folder: Path
    reason: str

    def row(self) -> dict[str, Any]:
        """Its line in the table."""
        return {**_facts(self.arm, self.folder), "failed": self.reason}


def last_row(folder: Path) -> Mapping[str, Any]:
    """The last line of a run's journal; empty where there is none."""
    rows = read_run(folder).journal.rows
    return rows[-1] if rows else {}


def _facts(arm: Arm, folder: Path) -> dict[str, Any]:
    last = last_row(folder)
    return {
        "arm": arm.name,
        "lr": arm.lr,
        "ema_momentum": arm.momentum,
        "loss": last.get("loss"),
        "health": str(last.get("health", "")),
        "train_seconds": read_run(folder).info.train_seconds if last else None,
    }
