"""What earlier versions wrote into a run's folder, as this version writes it.

Format 1 (nexus 0.1.0) names no format, and the rows of its tables of probes have no role: what an
arm is has to be read out of its name. Here alone that is done.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nexus.errors import RunError
from nexus.version import nexus_version

FORMAT = 2
"""What this version writes: a format in each file, a role in each row of probes."""

_OWN = ("this run", "run", "this model", "encoder", "pretrained", "trained")
_RAW, _STARTS = "raw pixels", {"random": "untrained", "no adaptation": "start"}


def upgraded(content: Any, *, own: str | None = None, place: object = "this table") -> Any:
    """The content of a file of any known format in today's.

    Args:
        content: a mapping; anything else is left for the schema to refuse.
        own: which arm is the run itself, where that is known.
        place: where the content is from, for the error.

    Raises:
        RunError: a later version wrote it.
    """
    if not isinstance(content, Mapping):
        return content
    written = content.get("format", 1)
    if not isinstance(written, int) or written > FORMAT:
        raise RunError(
            f"{place} is written in format {written!r}, and nexus {nexus_version()} reads formats "
            f"up to {FORMAT}; use a later version of nexus"
        )
    rows = content.get("rows")
    if isinstance(rows, list | tuple):
        content = {**content, "rows": _with_roles(rows, own)}
    return {**content, "format": FORMAT}


def _with_roles(rows: Sequence[Any], own: str | None) -> list[Any]:
    """The rows, those of probes with a role."""

    def is_old(row: Any) -> bool:
        return isinstance(row, Mapping) and "probe" in row and "role" not in row

    main = _main_arm([str(row.get("arm")) for row in rows if is_old(row)], own)
    return [
        {**row, "role": _role(str(row.get("arm")), row["probe"], main)} if is_old(row) else row
        for row in rows
    ]


def _main_arm(arms: Sequence[str], own: str | None) -> str | None:
    """The arm that is the run itself: by its name, else the first that is no baseline's."""
    names, words = ((own or "").lower(), *_OWN), (*_STARTS, "pixel")
    named = (arm for name in names for arm in arms if arm.lower() == name)
    others = (arm for arm in arms if not any(word in arm.lower() for word in words))
    return next(named, next(others, None))


def _role(arm: str, probe: Any, main: str | None) -> str:
    if arm == main:
        return "trained"
    for word, role in _STARTS.items():
        if word in arm.lower():
            return role
    return "lookup" if _RAW in arm.lower() and probe == "knn" else "baseline"
