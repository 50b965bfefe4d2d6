"""Bad files counted and named; too many of them stop the run."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from nexus.data.catalog.catalog import Problem
from nexus.errors import DataError

Stage = Literal["check", "train"]
_SHOWN = 20


class FailureLedger:
    """Everything that went wrong with files: by file, kind and stage, and how often.

    **When a run stops.** Problems found by the scan (stage "check") are reported at the start and
    their files are left out from then on: they never stop a run. What counts is a file that passed
    the scan and then failed fatally while training; it counts once, however often it fails again.
    With F such files among `total_files` that passed the scan, `raise_if_too_many` raises when

        F == total_files,  or  F >= floor and F > limit * total_files.

    So one bad file among a handful stops nothing, and a folder of which nothing can be decoded
    does not train for ever on empty batches. Non-fatal problems are listed, never counted.

    Args:
        total_files: files that passed the scan.
        limit: the share of them that may fail, 0 to 1.
        floor: fewer failed files than this stop nothing (unless they are all there are).

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, total_files: int, limit: float = 0.05, floor: int = 3) -> None:
        if total_files < 1 or not 0 <= limit <= 1 or floor < 1:
            raise ValueError(
                f"got total_files={total_files}, limit={limit}, floor={floor}; expected at least "
                "one file, a share between 0 and 1, and a floor of at least 1"
            )
        self.total_files, self.limit, self.floor = total_files, limit, floor
        self._rows: dict[tuple[Stage, str, str], dict[str, Any]] = {}

    def add(self, problems: Iterable[Problem], stage: Stage = "train") -> None:
        """Count problems; a file's repeated problem of one kind keeps its first reason."""
        for problem in problems:
            key = (stage, problem.path, problem.kind)
            row = self._rows.setdefault(key, {**problem.to_mapping(), "stage": stage, "count": 0})
            row["fatal"] = row["fatal"] or problem.fatal
            row["count"] += 1

    @property
    def failed_files(self) -> tuple[str, ...]:
        """The distinct files that failed fatally while training, in order of appearance."""
        rows = self._rows.values()
        return tuple(dict.fromkeys(r["path"] for r in rows if r["stage"] == "train" and r["fatal"]))

    def raise_if_too_many(self) -> None:
        """Stop the run if the rule in the class description says so.

        Raises:
            DataError: naming the first 20 failed files, each with its reason, and their number.
        """
        failed = self.failed_files
        few = len(failed) < self.floor or len(failed) <= self.limit * self.total_files
        if few and len(failed) < self.total_files:
            return
        reasons = {
            row["path"]: f"{row['kind']}: {row['reason']}"
            for row in reversed(self._rows.values())
            if row["stage"] == "train" and row["fatal"]
        }
        lines = [f"  - {path}: {reasons[path]}" for path in failed[:_SHOWN]]
        if len(failed) > _SHOWN:
            lines.append(f"  ... and {len(failed) - _SHOWN} more")
        raise DataError(
            f"{len(failed)} of {self.total_files} files failed while training, "
            f"{len(failed) / self.total_files:.1%}; at most {self.limit:.1%} may. Repair or remove "
            "them, or raise the limit:\n" + "\n".join(lines)
        )

    def rows(self) -> list[dict[str, Any]]:
        """One JSON-ready row per file, kind and stage: path, kind, reason, fatal, stage, count."""
        return [dict(row) for row in self._rows.values()]

    def state_dict(self) -> dict[str, Any]:
        """The counts, for a checkpoint."""
        return {"rows": self.rows()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the counts by those of a checkpoint."""
        self._rows = {(row["stage"], row["path"], row["kind"]): dict(row) for row in state["rows"]}
