"""The journal of a run: one JSON object a logged step, and the same numbers for TensorBoard."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


@dataclass(frozen=True)
class Journal:
    """The logged steps in order, each step once; `notes` tell of lines that are none."""

    rows: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The whole lines of a journal.

        Raises:
            OSError: the file cannot be read.
        """
        rows: dict[float, Mapping[str, Any]] = {}
        notes = []
        lines = Path(path).read_bytes().split(b"\n")
        last = max((number for number, line in enumerate(lines) if line.strip()), default=-1)
        for number, line in enumerate(lines[: last + 1]):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:  # also what UnicodeDecodeError is
                row = None
            if isinstance(row, dict) and math.isfinite(_number(row.get("step"))):
                # A run that went on from a checkpoint logs some steps again: the later line counts.
                rows[float(row["step"])] = row
            elif number == last:
                notes.append(
                    f"The journal breaks off in line {number + 1}, as it does when a run is killed "
                    "while writing; the curves end with the line before it."
                )
            else:
                notes.append(f"Line {number + 1} of the journal is not a logged step; left out.")
        return cls(tuple(rows[step] for step in sorted(rows)), tuple(notes))

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


class JournalWriter:
    """Appends to `journal.jsonl` and, if asked, to a TensorBoard event file."""

    def __init__(self, path: str | Path, *, tensorboard: Path | None = None) -> None:
        """Open a journal at its end.

        Args:
            path: the JSONL file.
            tensorboard: folder for event files; none: no TensorBoard.
        """
        self._file = Path(path).open("ab")  # noqa: SIM115 - closed by `close`
        self._tensorboard = tensorboard
        self._writer: SummaryWriter | None = None

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def rewind(self, size: int) -> bool:
        """Cut the file back to `size` bytes: what follows a checkpoint will be written again.

        Returns:
            Whether the file was at least that long.
        """
        there = self._file.seek(0, os.SEEK_END)
        self._file.truncate(min(size, there))
        self._file.seek(0, os.SEEK_END)
        return there >= size

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one logged step; a number that is not finite becomes null."""
        self._file.write(json.dumps({k: _plain(v) for k, v in row.items()}).encode() + b"\n")
        self._file.flush()
        if self._tensorboard is not None:
            self._write_scalars(self._tensorboard, row)

    def sync(self) -> None:
        """Make sure that what was written survives a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()

    def _write_scalars(self, folder: Path, row: Mapping[str, Any]) -> None:
        if self._writer is None:
            # Imported only when asked for: it costs a second of start-up.
            from torch.utils.tensorboard.writer import SummaryWriter

            # What an interrupted run wrote after its last checkpoint is hidden from here on.
            self._writer = SummaryWriter(str(folder), purge_step=row["step"])
        for name, value in row.items():
            if name != "step" and isinstance(_plain(value), int | float):
                self._writer.add_scalar(name, value, row["step"])


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
