"""From what the user points at (folder, list file, paths) to single videos to look at."""

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nexus.data.frames import is_sequence, list_images
from nexus.errors import DataError

# fmt: off
VIDEO_EXTENSIONS = frozenset({
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".avi", ".divx",
    ".mpg", ".mpeg", ".mpe", ".mpv", ".m1v", ".m2v", ".ts", ".mts", ".m2ts", ".vob", ".wmv",
    ".asf", ".flv", ".ogv", ".ogm", ".gif", ".mjpg", ".mjpeg", ".mxf", ".dv", ".rm", ".rmvb",
    ".nut", ".y4m", ".ivf", ".h264", ".264", ".h265", ".265", ".hevc",
})
# fmt: on
LIST_EXTENSIONS = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})

_SPLITS = {
    **dict.fromkeys(["train", "training"], "train"),
    **dict.fromkeys(["validation", "val", "valid", "dev", "eval"], "validation"),
    **dict.fromkeys(["test", "testing"], "test"),
}
_SHOWN_ERRORS = 10


@dataclass(frozen=True)
class Entry:
    """One video to look at: an absolute path, its name within the source, what a list says."""

    path: Path
    key: str
    labels: dict[str, str] = field(default_factory=dict)
    split: str | None = None
    start: float | None = None
    end: float | None = None


def find_entries(source: str | Path | Sequence[str | Path]) -> list[Entry]:
    """All candidates of a source, in a fixed order, with unique keys; nothing is opened yet.

    Args:
        source: a folder (searched recursively; directories of numbered pictures count as videos),
            a .csv/.tsv/.jsonl list, a video file, a directory of pictures, or several of these.

    Raises:
        DataError: the source does not exist, cannot be read or names no video; a list has rows
            that cannot be understood (named with their line numbers).
    """
    if isinstance(source, (str, Path)):
        entries = _from_path(Path(source), "")
        what = str(source)
    else:
        what = f"the {len(source)} given paths"
        entries = [entry for path in source for entry in _from_path(Path(path), str(path))]
    if not entries:
        raise DataError(
            f"{what}: no videos found; expected files ending in .mp4, .mov, .mkv, .avi, .webm, ... "
            "or directories of pictures"
        )
    return _with_unique_keys(entries)


def _from_path(path: Path, prefix: str) -> list[Entry]:
    path = path.expanduser()
    absolute = path.absolute()
    if path.is_dir():
        found = _walk(absolute, absolute, set())
        return [replace(entry, key=f"{prefix}/{entry.key}") if prefix else entry for entry in found]
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.suffix.lower() in LIST_EXTENSIONS:
        return _from_list(absolute)
    return [Entry(absolute, prefix or path.name)]


def _walk(folder: Path, root: Path, seen: set[str]) -> Iterator[Entry]:
    """Sorted, hidden names left out, each real file and folder once however it is linked."""
    if not _first_time(folder, seen):
        return
    key = folder.relative_to(root).as_posix() if folder != root else root.name
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        if folder == root:
            raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
        yield Entry(folder, key)  # its check says why
        return
    folders = [path for path in paths if path.is_dir()]
    videos = [path for path in paths if path.suffix.lower() in VIDEO_EXTENSIONS]
    videos = [path for path in videos if path not in folders]
    for path in videos:
        if _first_time(path, seen):
            yield Entry(path, path.relative_to(root).as_posix())
    if not videos:  # pictures beside videos are covers or thumbnails
        images = list_images(folder)
        named = folder == root and not folders  # the user points at just this directory
        if is_sequence(images) or (named and images):
            yield Entry(folder, key)
    for path in folders:
        yield from _walk(path, root, seen)


def _first_time(path: Path, seen: set[str]) -> bool:
    real = os.path.realpath(path)
    if real in seen:
        return False
    seen.add(real)
    return True


def _with_unique_keys(entries: Sequence[Entry]) -> list[Entry]:
    """Add the segment, then a number, to keys that occur more than once."""
    counts = Counter(entry.key for entry in entries)
    named = [
        replace(entry, key=f"{entry.key}[{entry.start or 0:g}-{_until(entry)}]")
        if counts[entry.key] > 1 and (entry.start is not None or entry.end is not None)
        else entry
        for entry in entries
    ]
    taken = {entry.key for entry in named}
    used: set[str] = set()
    unique = []
    for entry in named:
        key, number = entry.key, 1
        while key in used or (number > 1 and key in taken):
            number += 1
            key = f"{entry.key}#{number}"
        used.add(key)
        unique.append(replace(entry, key=key))
    return unique


def _until(entry: Entry) -> str:
    return "" if entry.end is None else f"{entry.end:g}"


def _from_list(path: Path) -> list[Entry]:
    entries, errors = [], []
    rows = (
        _read_json_lines(path) if path.suffix.lower() in (".jsonl", ".ndjson") else _read_csv(path)
    )
    for line, row in rows:
        try:
            entries.append(_entry_of(row, path.parent))
        except ValueError as error:
            errors.append(f"line {line}: {error}")
    if errors:
        shown = errors[:_SHOWN_ERRORS]
        if len(errors) > len(shown):
            shown.append(f"... and {len(errors) - len(shown)} more")
        raise DataError("\n  ".join([f"{path}: the list cannot be used:", *shown]))
    return entries


def _read_csv(path: Path) -> list[tuple[int, Mapping[str, Any] | str]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with _reading(path) as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        rows: list[tuple[int, Mapping[str, Any] | str]] = []
        try:
            header = [name.strip() for name in next(reader, [])]
            if not {"path", "video"} & set(header):
                raise DataError(
                    f"{path}: line 1: no column `path` (or `video`); "
                    f"the columns are {', '.join(header) or 'missing'}"
                )
            twice = [name for name, count in Counter(header).items() if count > 1]
            if twice:
                raise DataError(f"{path}: line 1: column `{twice[0]}` appears more than once")
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) == len(header):
                    rows.append((reader.line_num, dict(zip(header, cells, strict=True))))
                else:
                    wrong = f"{len(cells)} columns, the first line has {len(header)}"
                    rows.append((reader.line_num, wrong))
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}: line {reader.line_num}: {error}") from error
    return rows


def _read_json_lines(path: Path) -> list[tuple[int, Mapping[str, Any] | str]]:
    rows: list[tuple[int, Mapping[str, Any] | str]] = []
    with _reading(path) as file:
        try:
            lines = list(file)
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error})") from error
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            row = f"not JSON ({error.msg} at column {error.colno})"
        else:
            if not isinstance(row, dict):
                row = f'expected an object like {{"path": ...}}, got {type(row).__name__}'
        rows.append((number, row))
    return rows


def _reading(path: Path):
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _entry_of(row: Mapping[str, Any] | str, folder: Path) -> Entry:
    if isinstance(row, str):
        raise ValueError(row)
    columns = {str(name): value for name, value in row.items()}
    column = "path" if "path" in columns else "video"
    if column not in columns:
        raise ValueError(f"no `path` (or `video`); it has {', '.join(columns) or 'nothing'}")
    written = columns.pop(column)
    if not isinstance(written, str) or not written.strip():
        raise ValueError(f"`{column}` is empty" if not written else f"`{column}` is not text")
    start, end = (_seconds(name, columns.pop(name, None)) for name in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"`end` ({end:g}) must be later than `start` ({start or 0:g})")
    return Entry(
        path=folder / Path(written.strip()).expanduser(),
        key=Path(written.strip()).as_posix(),
        split=_split(columns.pop("split", None)),
        labels={name: text for name, value in columns.items() if (text := _label(value))},
        start=start,
        end=end,
    )


def _seconds(name: str, value: Any) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"`{name}` is {value!r}; expected seconds >= 0")
    return seconds


def _split(value: Any) -> str | None:
    text = "" if value is None else str(value).strip().lower()
    if not text:
        return None
    if text not in _SPLITS:
        raise ValueError(f"`split` is {value!r}; expected train, validation or test")
    return _SPLITS[text]


def _label(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False)
