"""Reads a run directory: whatever is there, whole or not, becomes values; the rest becomes notes.

A run may be young (no probes yet), interrupted, or killed in the middle of a line. None of that is
an error here: a part that is missing is `None`, a part that is damaged is `None` with a note.
"""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydantic

from nexus.runs.schema import (
    Adaptation,
    Horizon,
    ProbeTable,
    ProblemRow,
    ReportError,
    RunInfo,
)

T = TypeVar("T")
M = TypeVar("M", bound=pydantic.BaseModel)


@dataclass(frozen=True)
class PatchColours:
    """`results/pca.npz`, uint8: frames (clips, T, H, W, 3) and colours (clips, T', h, w, 3)."""

    frames: np.ndarray
    colours: np.ndarray
    explained: tuple[float, ...] = ()
    names: tuple[str, ...] = ()


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
        ReportError: the folder does not exist, or holds neither `run.json` nor `journal.jsonl`.
    """
    folder = Path(folder)
    if not (folder / "run.json").exists() and not (folder / "journal.jsonl").exists():
        what = "holds no run.json and no journal.jsonl" if folder.is_dir() else "is not a folder"
        raise ReportError(
            f"{folder} {what}; expected a run directory, the folder that was given to "
            "`nexus pretrain --out`"
        )
    notes: list[str] = []
    journal = _attempt(folder / "journal.jsonl", lambda path: _journal(path, notes), notes)
    return RunFiles(
        folder=folder,
        info=_attempt(folder / "run.json", _model(RunInfo), notes) or RunInfo(),
        recipe=_attempt(folder / "recipe.yaml", _text, notes),
        journal=journal or Journal(),
        problems=_attempt(folder / "problems.json", _problems, notes),
        probes=_attempt(folder / "results/probes.json", _model(ProbeTable), notes),
        horizon=_attempt(folder / "results/horizon.json", _model(Horizon), notes),
        adaptation=_attempt(folder / "results/adaptation.json", _model(Adaptation), notes),
        colours=_attempt(folder / "results/pca.npz", _colours, notes),
        notes=tuple(notes),
    )


def as_table(results: Mapping[str, Any] | Sequence[Any] | ProbeTable) -> ProbeTable:
    """Rows, or a mapping with `rows` and `notes`, as a validated table.

    Raises:
        ReportError: a row lacks what a table needs, or there is no row at all.
    """
    if isinstance(results, ProbeTable):
        table = results
    else:
        mapping = results if isinstance(results, Mapping) else {"rows": list(results)}
        try:
            table = ProbeTable.model_validate(mapping)
        except pydantic.ValidationError as error:
            raise ReportError(f"not a table of results: {_first(error)}") from None
    if not table.rows:
        raise ReportError("the table of results holds no rows; expected at least one arm")
    return table


def _attempt(path: Path, read: Callable[[Path], T], notes: list[str]) -> T | None:
    """The part at `path`; None when it is missing, None and a note when it is damaged."""
    if not path.exists():
        return None
    try:
        return read(path)
    except pydantic.ValidationError as error:
        reason = _first(error)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error) or type(error).__name__
    notes.append(f"{path.name} could not be read and is left out: {reason}")
    return None


def _first(error: pydantic.ValidationError) -> str:
    item = error.errors()[0]
    where = ".".join(str(part) for part in item["loc"])
    return f"{where}: got {str(item['input'])[:80]!r}; {item['msg']}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _json(path: Path) -> bytes:
    """The file's JSON, a file name that is no Unicode made readable (`?` for what is not)."""
    value = json.loads(path.read_bytes())
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _model(kind: type[M]) -> Callable[[Path], M]:
    return lambda path: kind.model_validate_json(_json(path))


def _problems(path: Path) -> tuple[ProblemRow, ...]:
    return pydantic.TypeAdapter(tuple[ProblemRow, ...]).validate_json(_json(path))


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


def _colours(path: Path) -> PatchColours:
    with np.load(path, allow_pickle=False) as file:
        frames, colours = file["frames"], file["pca"]
        explained = tuple(float(v) for v in file["explained"]) if "explained" in file else ()
        names = tuple(str(v) for v in file["names"]) if "names" in file else ()
    for name, array in (("frames", frames), ("pca", colours)):
        if array.ndim != 5 or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
            raise ValueError(
                f"{name} is {array.dtype} {array.shape}; expected uint8 (clips, time, h, w, 3)"
            )
    if len(frames) != len(colours):
        raise ValueError(f"{len(frames)} clips of frames but {len(colours)} of colours")
    return PatchColours(frames, colours, explained, names)
