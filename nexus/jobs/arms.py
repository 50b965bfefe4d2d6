"""The runs of an adaptation sweep: what each one tries, and how it ended."""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from nexus.probes.suite import Measured
from nexus.reports.verdict import diagnosis
from nexus.runs.read import read_run
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
    """A run and its probes; or why it `failed`: it was not trained to its end, or its features are
    no numbers."""

    arm: Arm
    folder: Path
    measured: Measured
    failed: str = ""

    @property
    def validation(self) -> dict[str, float]:
        """The validation score of each task, the mean over the probe's seeds."""
        return {
            task: fmean(each.validation for each in found)
            for (task, _), found in self.measured.results.items()
        }

    @property
    def score(self) -> float:
        """What runs are compared by: the mean over the tasks."""
        return -math.inf if self.failed else fmean(self.validation.values())

    def row(self) -> AdaptationRow:
        """Its line in the table."""
        run = read_run(self.folder)
        last = run.journal.rows[-1] if run.journal.rows else {}
        return AdaptationRow(
            arm=self.arm.name,
            lr=self.arm.lr,
            ema_momentum=self.arm.momentum,
            validation=self.validation,
            score=None if self.failed else self.score,
            loss=last.get("loss"),
            health=diagnosis(run.journal)[0],
            train_seconds=run.info.train_seconds if last else None,
            failed=self.failed,
        )
