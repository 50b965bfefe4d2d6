"""The account of a folder: so many files, so many used, so many left out and why."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nexus.data.catalog.catalog import Catalog
from nexus.data.catalog.file_kinds import is_video, kind_of
from nexus.data.stills.files import files_of, is_picture
from nexus.errors import DataError

_EXAMPLES = 2


@dataclass(frozen=True)
class LeftOut:
    """Files that are not used for one reason. `explained`: there is nothing to wonder about."""

    reason: str
    files: tuple[str, ...]
    explained: bool

    def __str__(self) -> str:
        named = ", ".join(self.files[:_EXAMPLES])
        more = ", ..." if len(self.files) > _EXAMPLES else ""
        return f"{self.reason}: {len(self.files)} ({named}{more})"


@dataclass(frozen=True)
class Account:
    """Of all files of a folder: `used` and those of `left_out` together are `files`."""

    files: int
    used: int
    left_out: tuple[LeftOut, ...]

    @property
    def wonders(self) -> bool:
        """Whether anything was left out that the catalog has no problem for, and that one might
        have expected to be used."""
        return any(not some.explained for some in self.left_out)

    def to_mapping(self) -> dict[str, Any]:
        """JSON-ready values."""
        left_out = [{"reason": one.reason, "files": list(one.files)} for one in self.left_out]
        return {"files": self.files, "used": self.used, "left_out": left_out}


def account_of(folder: Path, catalog: Catalog) -> Account:
    """What became of each file of a folder, hidden ones and those of its folders included.

    Raises:
        DataError: a folder of pictures cannot be read any more.
    """
    folder = folder.expanduser().absolute()
    used = _files([record.path for record in catalog.records])
    unusable = _files([Path(problem.path) for problem in catalog.problems if problem.fatal])
    beside = {path.parent for path in used | unusable if is_video(path)}
    targets = cache(lambda: {os.path.realpath(file) for file in used | unusable})
    reasons: dict[tuple[str, bool], list[str]] = defaultdict(list)
    total = 0
    for file in _walk(folder):
        total += 1
        if file not in used:
            name = file.relative_to(folder).as_posix()
            reasons[_reason(file, name, unusable, beside, targets)].append(name)
    left_out = [
        LeftOut(reason, tuple(files), explained)
        for (reason, explained), files in sorted(
            reasons.items(), key=lambda item: (item[0][1], -len(item[1]), item[0])
        )
    ]
    return Account(total, total - sum(len(one.files) for one in left_out), tuple(left_out))


def _reason(
    file: Path,
    name: str,
    unusable: set[Path],
    beside: set[Path],
    targets: Callable[[], set[str]],
) -> tuple[str, bool]:
    if file in unusable:
        return "files with problems, as said above", True
    if any(part.startswith(".") for part in Path(name).parts):
        return "hidden files", True
    picture, video = is_picture(file), is_video(file)
    if (picture or video) and os.path.realpath(file) in targets():
        return "links to files that are counted elsewhere, or their targets", True
    if picture:
        if file.parent in beside:
            return "pictures beside videos", True
        return "pictures of no series", False
    if video:
        return "videos that are not listed", False
    kind = kind_of(file)
    return kind.name if kind.explained else f"{kind.name}, not read", kind.explained


def _files(paths: list[Path]) -> set[Path]:
    files: set[Path] = set()
    for path in dict.fromkeys(paths):
        try:
            files.update(files_of(path))
        except DataError:
            files.add(path)
    return files


def _walk(folder: Path) -> Iterator[Path]:
    """All files; folders that are linked to are looked into once."""
    seen = set()
    folders = [folder]
    while folders:
        place = folders.pop()
        if (real := os.path.realpath(place)) in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:  # its problem is in the catalog
            continue
        yield from (Path(entry.path) for entry in entries if not entry.is_dir())
        folders += [Path(entry.path) for entry in reversed(entries) if entry.is_dir()]
