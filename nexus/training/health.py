"""Two watchdogs of a run: features that collapse or learn nothing, and numbers that are not finite.

"Healthy" is a claim about learning. Features that do not collapse may be those of an untrained
network; so a run is healthy only if its predictor also beats predictors that need no learning,
after enough steps, on enough videos in which something moves, with features that use their width.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from nexus.errors import TrainingError
from nexus.models.ssl.collapse import Diagnosis, DoctorConfig, diagnose

OnCollapse = Literal["warn", "stop"]
RECENT_LOSSES = 10
TRIVIAL = {
    "error_vs_copy": "repeating the last frame",
    "error_vs_mean": "the average of other clips",
}
"""Readings that compare the prediction's error with that of predictors that learn nothing."""
MOTION = "motion"
"""The reading of `nexus.training.motion`."""


@dataclass(frozen=True)
class Evidence:
    """What it takes to call a run healthy.

    The limits are of runs of recipe `small` on drawn and on real footage: there an untrained
    predictor takes some hundred steps to beat a copy, and fewer than some twenty videos are learned
    by heart.
    """

    steps: int = 200
    """Optimizer steps; before them nothing can be said."""
    videos: int = 20
    rank_share: float = 0.05
    """Effective rank of the features, as a share of what width and sample count allow."""
    motion: float = 0.02
    """Share of a clip's contrast that changes within it. Of clips of real footage the stillest, a
    tenth of a second of a fixed camera, have 0.07; coded stills have less than 0.01."""
    readings: int = 5
    """The median of so many of the last ones counts: one batch says little."""


def thresholds(evidence: Evidence | None = None) -> dict[str, float]:
    """All that a run is judged by, for its record: the doctor's limits, and the evidence."""
    evidence = evidence or Evidence()
    needed = {f"healthy_{name}": value for name, value in vars(evidence).items()}
    return {**DoctorConfig().to_mapping(), **needed}


def learning(
    step: int,
    ratios: Mapping[str, float],
    rank_share: float,
    videos: int,
    evidence: Evidence | None = None,
    *,
    motion: float | None = None,
) -> Diagnosis | None:
    """What speaks against calling features that have not collapsed healthy; None: nothing.

    Args:
        step: optimizer steps so far.
        ratios: error of the prediction over that of trivial predictors, by the keys of `TRIVIAL`.
        rank_share: effective rank as a share of the largest possible.
        videos: that are trained on.
        motion: share of the clips' contrast that changes within a clip, where that is known.
    """
    evidence = evidence or Evidence()
    if step < evidence.steps:
        return Diagnosis(
            "unproven",
            f"not collapsed, but after {step} step{'s' * (step != 1)} of training nobody can tell "
            f"whether it learns (from {evidence.steps} on)",
        )
    if motion is not None and motion < evidence.motion:
        return Diagnosis(
            "not learning",
            f"not collapsed, but not learning: next to nothing moves in these clips ({motion:.1%} "
            f"of their contrast changes within a clip, below {evidence.motion:.0%}), so they teach "
            "nothing about motion; take other videos, or clips that span more time (a lower "
            "data.clip.fps, or a larger data.clip.stride)",
        )
    lost = {name: ratio for name, ratio in ratios.items() if not ratio < 1.0}
    if lost:
        name = max(lost, key=lambda name: lost[name])
        return Diagnosis(
            "not learning",
            f"not collapsed, but not learning: after {step} steps the prediction is no better than "
            f"{TRIVIAL[name]} ({lost[name]:.3g} times its error); try clips that span more time "
            "(a lower data.clip.fps, or a larger data.clip.stride), more videos or more steps",
        )
    if videos < evidence.videos:
        return Diagnosis(
            "unproven",
            f"not collapsed, but trained on {videos} video{'s' * (videos != 1)}: that is learnt "
            f"by heart; take {evidence.videos} or more",
        )
    if rank_share < evidence.rank_share:
        return Diagnosis(
            "unproven",
            f"not collapsed, but the features use {rank_share:.1%} of the directions that they "
            f"have (below {evidence.rank_share:.0%}): try a small "
            "model.regularizer=variance_covariance, or more steps",
        )
    return None


class HealthWatch:
    """Turns readings of the collapse meters into a verdict that one odd batch cannot change.

    Args:
        videos: that are trained on.
        patience: readings in a row that must agree before the verdict changes.
        on_collapse: `warn` only says so; `stop` ends the run once `collapsed` is the verdict.
    """

    def __init__(self, *, videos: int, patience: int = 3, on_collapse: OnCollapse = "warn") -> None:
        self.videos, self.patience = videos, patience
        self.on_collapse, self.evidence = on_collapse, Evidence()
        self.verdict = Diagnosis("unknown", "no reading of the collapse meters yet")
        self._latest = "unknown"
        self._in_a_row = 0
        self._recent: dict[str, list[float]] = {}

    def read(self, step: int, metrics: Mapping[str, float]) -> str | None:
        """Take one reading; returns a line for the log when the verdict changes.

        The first reading that raises no alarm counts at once: there is nothing to take back.
        """
        reading = self._judged(step, metrics)
        self._in_a_row = self._in_a_row + 1 if reading.status == self._latest else 1
        self._latest = reading.status
        calm = reading.status in ("healthy", "unproven")
        first = self.verdict.status in ("unknown", "unproven") and calm
        if reading.status == self.verdict.status or first:
            self.verdict = reading
            return None
        if self._in_a_row < self.patience or reading.status == "unknown":
            return None
        before, self.verdict = self.verdict.status, reading
        if reading.status in ("collapsing", "collapsed"):
            return f"step {step}: the representation is {reading.status}: {reading.reason}"
        back = f"health is back from {before} to healthy: " if reading.status == "healthy" else ""
        return f"step {step}: {back}{reading.reason}"

    def _judged(self, step: int, metrics: Mapping[str, float]) -> Diagnosis:
        for name in (*TRIVIAL, MOTION):
            if name in metrics:
                kept = [*self._recent.get(name, []), metrics[name]]
                self._recent[name] = kept[-self.evidence.readings :]
        reading = diagnose(metrics)
        if reading.status != "healthy":
            return reading
        recent = {name: statistics.median(values) for name, values in self._recent.items()}
        ratios = {name: value for name, value in recent.items() if name in TRIVIAL}
        share, motion = metrics["rank_share"], recent.get(MOTION)
        doubt = learning(step, ratios, share, self.videos, self.evidence, motion=motion)
        return doubt or replace(reading, reason=f"{reading.reason}{_beaten(ratios)}")

    @property
    def stops(self) -> bool:
        """Whether the run must end."""
        return self.on_collapse == "stop" and self.verdict.status == "collapsed"

    def raise_if_stopped(self, step: int) -> None:
        """End the run under the `stop` policy.

        Raises:
            TrainingError: the verdict is `collapsed` and the policy is `stop`.
        """
        if self.stops:
            raise TrainingError(
                f"stopped at step {step}: the representation has collapsed: {self.verdict.reason}. "
                "Try a small model.regularizer=variance_covariance, a slower target "
                "(model.ema_momentum nearer to 1) or a lower optim.lr; "
                "training.on_collapse=warn goes on regardless"
            )

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "verdict": [self.verdict.status, self.verdict.reason],
            "latest": self._latest,
            "in_a_row": self._in_a_row,
            "ratios": self._recent,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.verdict = Diagnosis(*state["verdict"])
        self._latest, self._in_a_row = state["latest"], state["in_a_row"]
        self._recent = dict(state.get("ratios", {}))  # 0.1.0 kept none


def _beaten(ratios: Mapping[str, float]) -> str:
    """The errors of the trivial predictors that the prediction's is smaller than, in words."""
    told = [f"{ratio:.2g} times that of {TRIVIAL[name]}" for name, ratio in ratios.items()]
    return f"; the prediction's error is {' and '.join(told)}" if told else ""


class SkipWatch:
    """Counts steps that were skipped because they gave no finite loss or gradient.

    Args:
        limit: how many in a row are tolerated.
    """

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        self.total = 0
        self.in_a_row = 0
        self.recent: list[float] = []

    def count(self, step: int, *, loss: float, skipped: bool) -> None:
        """Take note of a step.

        Raises:
            TrainingError: more than `limit` steps in a row were skipped.
        """
        self.recent = [*self.recent, loss][-RECENT_LOSSES:]
        self.total += skipped
        self.in_a_row = self.in_a_row + 1 if skipped else 0
        if self.in_a_row > self.limit:
            losses = ", ".join(f"{value:.4g}" for value in self.recent)
            raise TrainingError(
                f"step {step}: loss or gradient was not finite {self.in_a_row} times in a row "
                f"(training.max_skipped_steps={self.limit}); the last losses were {losses}. The "
                "weights were left as they were. Try a lower optim.lr, a longer "
                "optim.warmup_steps, or training.precision=bf16 or fp32 instead of fp16"
            )

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"total": self.total, "in_a_row": self.in_a_row, "recent": self.recent}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.total, self.in_a_row = state["total"], state["in_a_row"]
        self.recent = list(state["recent"])
