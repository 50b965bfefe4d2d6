"""Tables of probe results: checked, written, and added to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from nexus.errors import DataError, RunError
from nexus.runs.schema import ProbeRow, ProbeTable, reason_of


def as_table(results: Mapping[str, Any] | Sequence[Any] | ProbeTable) -> ProbeTable:
    """Rows, or a mapping with `rows` and `notes`, as a validated table.

    Raises:
        RunError: a row lacks what a table needs, or there is no row at all.
    """
    if isinstance(results, ProbeTable):
        table = results
    else:
        mapping = results if isinstance(results, Mapping) else {"rows": list(results)}
        try:
            table = ProbeTable.model_validate(mapping)
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
    """
    path, known = Path(path), ProbeTable(rows=())
    if path.exists():
        try:
            known = ProbeTable.read(path)
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
