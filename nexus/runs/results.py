"""Tables of probe results, checked and added to, and the list of bad files."""

import json
from collections.abc import Sequence
from pathlib import Path

import pydantic

from nexus.atomic import write_json
from nexus.errors import DataError
from nexus.runs.schema import ProbeRow, ProbeTable, ProblemRow, reason_of

_PROBLEMS = pydantic.TypeAdapter(tuple[ProblemRow, ...])


def write_probe_rows(
    path: str | Path, rows: Sequence[ProbeRow], *, notes: Sequence[str] = ()
) -> list[ProbeRow]:
    """Write rows to probes.json, atomically, beside those that it already holds.

    A row that is already there under the same arm, task and probe is replaced in its place; notes
    are added once.

    Returns:
        The rows with other values that were replaced.

    Raises:
        DataError: the file exists but is not a table of results.
        RunError: a later version wrote it.
    """
    path, known = Path(path), ProbeTable(rows=())
    if path.exists():
        try:
            own = next((row.arm for row in rows if row.role == "trained"), None)
            known = ProbeTable.read(path, own=own)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} is not a probe table ({reason_of(error)}); expected rows with arm, task "
                "and probe. Move the file away and run the probes again."
            ) from error
    before, fresh = ({row.name: row for row in those} for those in (known.rows, rows))
    merged = tuple((before | fresh).values())
    ProbeTable(rows=merged, notes=tuple(dict.fromkeys([*known.notes, *notes]))).save(path)
    replaced = [before[name] for name in fresh if name in before]
    return [row for row in replaced if row.values != fresh[row.name].values]


def read_problems(path: str | Path) -> tuple[ProblemRow, ...]:
    """The content of problems.json.

    Raises:
        OSError, ValueError: it cannot be read, or holds something else.
    """
    return _PROBLEMS.validate_python(json.loads(Path(path).read_bytes()))


def save_problems(path: str | Path, rows: Sequence[ProblemRow]) -> None:
    """Write problems.json, atomically."""
    write_json(path, [row.model_dump() for row in rows])
