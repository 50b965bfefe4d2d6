"""Tables of probe results, checked and added to, and the list of bad files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from nexus.atomic import write_json
from nexus.errors import DataError, RunError
from nexus.runs.history import upgraded
from nexus.runs.schema import ProbeRow, ProbeTable, ProblemRow, reason_of

_PROBLEMS = pydantic.TypeAdapter(tuple[ProblemRow, ...])


def as_table(
    results: Mapping[str, Any] | Sequence[Any] | ProbeTable, *, own: str | None = None
) -> ProbeTable:
    """Rows, or a mapping with `rows` and `notes`, as a validated table.

    `own` names the arm that is the run itself, for rows that have no role.

    Raises:
        RunError: a row lacks what a table needs, or there is no row at all.
    """
    if isinstance(results, ProbeTable):
        table = results
    else:
        mapping = results if isinstance(results, Mapping) else {"rows": list(results)}
        try:
            table = ProbeTable.model_validate(upgraded(mapping, own=own))
        except pydantic.ValidationError as error:
            raise RunError(f"not a table of results: {reason_of(error)}") from None
    if not table.rows:
        raise RunError("the table of results holds no rows; expected at least one arm")
    return table


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
