"""Two watchdogs of a run: representations that collapse, and steps that give no finite numbers."""

from collections.abc import Mapping
from typing import Any, Literal

from nexus.errors import TrainingError
from nexus.models.ssl.collapse import Diagnosis, diagnose

OnCollapse = Literal["warn", "stop"]
RECENT_LOSSES = 10


class HealthWatch:
    """Turns readings of the collapse meters into a verdict that one odd batch cannot change.

    Args:
        patience: readings in a row that must agree before the verdict changes.
        on_collapse: `warn` only says so; `stop` ends the run once `collapsed` is the verdict.
    """

    def __init__(self, *, patience: int = 3, on_collapse: OnCollapse = "warn") -> None:
        self.patience = patience
        self.on_collapse = on_collapse
        self.verdict = Diagnosis("unknown", "no reading of the collapse meters yet")
        self._latest = "unknown"
        self._in_a_row = 0

    def read(self, step: int, metrics: Mapping[str, float]) -> str | None:
        """Take one reading; returns a line for the log when the verdict changes.

        The first healthy reading counts at once: there is nothing to take back.
        """
        reading = diagnose(metrics)
        self._in_a_row = self._in_a_row + 1 if reading.status == self._latest else 1
        self._latest = reading.status
        first = self.verdict.status == "unknown" and reading.status == "healthy"
        if reading.status == self.verdict.status or first:
            self.verdict = reading
            return None
        if self._in_a_row < self.patience or reading.status == "unknown":
            return None
        before, self.verdict = self.verdict.status, reading
        if reading.status == "healthy":
            return f"step {step}: health is back from {before} to healthy: {reading.reason}"
        return f"step {step}: the representation is {reading.status}: {reading.reason}"

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
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.verdict = Diagnosis(*state["verdict"])
        self._latest, self._in_a_row = state["latest"], state["in_a_row"]


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
