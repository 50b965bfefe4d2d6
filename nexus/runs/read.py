"""Reads a run directory: whatever is there, whole or not, becomes values; the rest becomes notes.

A run may be young (no probes yet), interrupted, or killed in the middle of a line. None of that is
an error here: a part that is missing is `None`, a part that is damaged is `None` with a note.
"""

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydantic

from nexus.errors import RunError
from nexus.runs.colours import PatchColours
from nexus.runs.schema import Adaptation, Horizon, ProbeTable, ProblemRow, RunInfo, reason_of

T = TypeVar("T")


@dataclass(frozen=True)
class Journal:
    """The logged steps in order, each step once."""

    rows: tuple[Mapping[str, Any], ...] = ()

    @property
    def steps(self) -> np.ndarray:
        """Step numbers, float64 (rows,)."""
        return self.column("step")

    def column(self, name: str) -> np.ndarray:
        """One quantity, float64 (rows,); NaN where a row has no number for it."""
        return np.array([_number(row.get(name)) for row in self.rows], dtype=np.float64)

    def has(self, name: str) -> bool:
        """Whether at least one row holds a finite value of `name`."""
        return bool(np.isfinite(self.column(name)).any())

    def text(self, name: str) -> list[str]:
        """One word or sentence per row, empty where a row has none."""
        return [str(row.get(name) or "") for row in self.rows]


@dataclass(frozen=True)
class RunFiles:
    """All that a run directory holds for a reader."""

    folder: Path
    info: RunInfo = field(default_factory=RunInfo)
    recipe: str | None = None
    journal: Journal = field(default_factory=Journal)
    problems: tuple[ProblemRow, ...] | None = None
    probes: ProbeTable | None = None
    horizon: Horizon | None = None
    adaptation: Adaptation | None = None
    colours: PatchColours | None = None
    notes: tuple[str, ...] = ()


def read_run(folder: str | Path) -> RunFiles:
    """Read a run directory.

    Raises:
        RunError: the folder does not exist, or holds neither `run.json` nor `journal.jsonl`.
    """
    folder = Path(folder)
    if not (folder / "run.json").exists() and not (folder / "journal.jsonl").exists():
        what = "holds no run.json and no journal.jsonl" if folder.is_dir() else "is not a folder"
        raise RunError(
            f"{folder} {what}; expected a run directory, the folder that was given to "
            "`nexus pretrain --out`"
        )
    notes: list[str] = []
    journal = _attempt(folder / "journal.jsonl", lambda path: _journal(path, notes), notes)
    return RunFiles(
        folder=folder,
        info=_attempt(folder / "run.json", RunInfo.read, notes) or RunInfo(),
        recipe=_attempt(folder / "recipe.yaml", _text, notes),
        journal=journal or Journal(),
        problems=_attempt(folder / "problems.json", _problems, notes),
        probes=_attempt(folder / "results/probes.json", ProbeTable.read, notes),
        horizon=_attempt(folder / "results/horizon.json", Horizon.read, notes),
        adaptation=_attempt(folder / "results/adaptation.json", Adaptation.read, notes),
        colours=_attempt(folder / "results/pca.npz", PatchColours.read, notes),
        notes=tuple(notes),
    )


def _attempt(path: Path, read: Callable[[Path], T], notes: list[str]) -> T | None:
    """The part at `path`; None when it is missing, None and a note when it is damaged."""
    if not path.exists():
        return None
    try:
        return read(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        notes.append(f"{path.name} could not be read and is left out: {reason_of(error)}")
        return None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _problems(path: Path) -> tuple[ProblemRow, ...]:
    return pydantic.TypeAdapter(tuple[ProblemRow, ...]).validate_python(
        json.loads(path.read_bytes())
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _journal(path: Path, notes: list[str]) -> Journal:
    rows: dict[float, Mapping[str, Any]] = {}
    lines = path.read_bytes().split(b"\n")
    last = max((number for number, line in enumerate(lines) if line.strip()), default=-1)
    for number, line in enumerate(lines[: last + 1]):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:  # also what UnicodeDecodeError is
            row = None
        if isinstance(row, dict) and np.isfinite(_number(row.get("step"))):
            # A run that went on from a checkpoint logs some steps again: the later line counts.
            rows[float(row["step"])] = row
        elif number == last:
            notes.append(
                f"The journal breaks off in line {number + 1}, as it does when a run is killed "
                "while writing; the curves end with the line before it."
            )
        else:
            notes.append(f"Line {number + 1} of the journal is not a logged step; left out.")
    return Journal(tuple(rows[step] for step in sorted(rows)))
