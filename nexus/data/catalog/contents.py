"""What a catalog says twice, or against itself: the same file again, in two splits, two labels."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nexus.data.catalog.catalog import Problem, VideoRecord
from nexus.data.catalog.labels import label_text
from nexus.data.stills.files import files_of, is_series, signature
from nexus.errors import DataError

SHOWN = 3
"""Other files that a reason names."""


def content_problems(
    records: Sequence[VideoRecord], progress: Callable[[int, int], None] | None = None
) -> tuple[Problem, ...]:
    """Records that are of the same video though they look like several; none of them is fatal.

    Kinds: "duplicate" (the same content under another name, or a row twice), "in_two_splits" (a
    video in training and in a test), "contradictory_labels" (one video, one part of it, two labels
    of a column). Files are the same where size and SHA-256 are; only files of one size are read.

    Args:
        progress: called with (files compared, files to compare).
    """
    found: dict[Problem, None] = {}
    for same in _same_videos(records, progress):
        for problem in (*_again(same), *_in_splits(same), *_against(same)):
            found.setdefault(problem)
    return tuple(found)


def _same_videos(
    records: Sequence[VideoRecord], progress: Callable[[int, int], None] | None
) -> Iterator[list[VideoRecord]]:
    """The records of each video that has several, in the order of the catalog."""
    paths = list(dict.fromkeys(record.path for record in records))
    sizes: dict[tuple[bool, int], list[Path]] = defaultdict(list)
    for path in paths:
        if (known := signature(path)) is not None:
            sizes[path.is_dir() or is_series(path), known[0]].append(path)
    alike = [path for some in sizes.values() if len(some) > 1 for path in some]
    content: dict[Path, str] = {}
    for number, path in enumerate(alike):
        try:
            content[path] = _digest(path)
        except (OSError, DataError):  # gone meanwhile: it is nobody's twin
            continue
        finally:
            if progress is not None:
                progress(number + 1, len(alike))
    videos: dict[str, list[VideoRecord]] = defaultdict(list)
    for record in records:
        videos[content.get(record.path, str(record.path))].append(record)
    yield from (same for same in videos.values() if len(same) > 1)


def _digest(path: Path) -> str:
    """Of a file's bytes, or of a video's pictures in their order."""
    digests = []
    for part in files_of(path):
        with part.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return " ".join(digests)


def _again(same: Sequence[VideoRecord]) -> Iterator[Problem]:
    first: dict[tuple[float | None, float | None], VideoRecord] = {}
    for record in same:
        before = first.setdefault((record.start, record.end), record)
        if before is record:
            continue
        what = "the same part of it is" if record.start is not None else "it is"
        if before.path == record.path:
            reason = f"{what} listed more than once ({_named([before, record])})"
        else:
            reason = f"has the same content as {before.path}; it counts twice"
        yield Problem(str(record.path), "duplicate", reason, False)


def _in_splits(same: Sequence[VideoRecord]) -> Iterator[Problem]:
    splits = dict.fromkeys(record.split for record in same)
    if len(splits) < 2:
        return
    told: set[Path] = set()
    for record in same:
        if record.path in told:
            continue
        told.add(record.path)
        others = [one for one in same if one.split != record.split]
        if others:
            reason = (
                f"is in the split {record.split or '(none)'} and, the same video, in "
                f"{others[0].split or '(none)'} ({_named(others)}): a test of what was learned from"
            )
            yield Problem(str(record.path), "in_two_splits", reason, False)


def _against(same: Sequence[VideoRecord]) -> Iterator[Problem]:
    parts: dict[tuple[float | None, float | None], list[VideoRecord]] = defaultdict(list)
    for record in same:
        parts[record.start, record.end].append(record)
    for records in parts.values():
        for column in sorted({name for record in records for name in record.labels}):
            values = {
                label_text(one.labels[column]): one for one in records if column in one.labels
            }
            if len(values) > 1:
                told = ", ".join(f"{value!r} as {one.key}" for value, one in values.items())
                reason = f"has {len(values)} labels {column!r}: {told}"
                yield Problem(str(records[0].path), "contradictory_labels", reason, False)


def _named(records: Sequence[VideoRecord]) -> str:
    keys = list(dict.fromkeys(record.key for record in records))
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more
