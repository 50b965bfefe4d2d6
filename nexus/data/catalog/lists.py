"""Lists of videos: CSV, TSV and JSON lines, a row a video or a segment of one."""

import csv
import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus.data.catalog.labels import SPLIT_NAMES, Label, Segment
from nexus.data.catalog.sources import Entry
from nexus.errors import DataError

_SHOWN_ERRORS = 10


class ListReader:
    """Reads a list: column `path` or `video`, relative to the list; optional `split`, `start` and
    `end` (seconds); every other column is a label.

    In JSON lines an array of numbers is a vector, and `segments` (a list of `{"start": 0.5, "end":
    2, "label": "open"}`, a `score` besides) says what happens when.
    """

    def entries(self, path: Path) -> list[Entry]:
        """Its rows.

        Raises:
            DataError: the file cannot be read, or rows cannot be understood (named by line).
        """
        json_lines = path.suffix.lower() in (".jsonl", ".ndjson")
        entries, errors = [], []
        for line, row in (_read_json_lines if json_lines else _read_csv)(path):
            try:
                entries.append(_entry_of(row, path.parent, line, json_lines))
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


def _entry_of(row: Mapping[str, Any] | str, folder: Path, line: int, json_lines: bool) -> Entry:
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
    segments = _segments(columns.pop("segments", None)) if json_lines else ()
    labels = {name: _label(value) for name, value in columns.items() if name != "split"}
    return Entry(
        path=folder / Path(written.strip()).expanduser(),
        key=Path(written.strip()).as_posix(),
        split=_split(columns.get("split")),
        labels={name: label for name, label in labels.items() if label != ""},
        start=start,
        end=end,
        segments=segments,
        line=line,
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
    if text not in SPLIT_NAMES:
        raise ValueError(f"`split` is {value!r}; expected train, validation or test")
    return SPLIT_NAMES[text]


def _segments(value: Any) -> tuple[Segment, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise ValueError(
            '`segments` is not a list of objects like {"start": 0.5, "end": 2, "label": "open"}'
        )
    segments = []
    for part in value:
        if not {"start", "end", "label"} <= part.keys() <= {"start", "end", "label", "score"}:
            raise ValueError(
                f"`segments`: got the keys {', '.join(part) or '(none)'}; expected start, end and "
                "label, perhaps score"
            )
        start, end, score = (_seconds(name, part.get(name)) for name in ("start", "end", "score"))
        label = _label(part["label"])
        if start is None or end is None or not isinstance(label, str) or not label:
            raise ValueError(f"`segments`: {part} lacks a start, an end or a label")
        segments.append(Segment(start, end, label, score))
    return tuple(segments)


def _label(value: Any) -> Label:
    if value is None:
        return ""
    if isinstance(value, list) and value and all(type(one) in (int, float) for one in value):
        return tuple(float(one) for one in value)
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False)
