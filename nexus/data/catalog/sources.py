"""From what the user points at to single videos to look at, by a reader for each sort of data."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self

from nexus.data.catalog.file_kinds import VIDEO_EXTENSIONS, is_video
from nexus.data.catalog.labels import SPLIT_NAMES, Label, Segment
from nexus.data.catalog.split_lists import (
    HMDB_LIST,
    UCF_LIST,
    Listed,
    find_lists,
    is_split_list,
    read_lists,
    video_root,
)
from nexus.data.stills.files import is_series, is_there, list_images
from nexus.data.stills.pages import pages_of
from nexus.data.stills.series import Series, find_series
from nexus.errors import DataError
from nexus.registry import Choice, Registry

FOLDER_LABEL = "class"
"""The label column of videos that lie in folders named after their classes."""
LIST_EXTENSIONS = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})


@dataclass(frozen=True)
class Entry:
    """One video to look at, or one segment of a video, and what is known of it.

    `path`: absolute; `key`: its name within the source; `split`: train, validation or test;
    `start`, `end`: the part that is used, in seconds; `line`: where in a list it stands.

    Raises:
        ValueError: an unknown split, a label of another kind, or a part that does not end after
            its start.
    """

    path: Path
    key: str
    labels: Mapping[str, Label] = field(default_factory=dict)
    split: str | None = None
    start: float | None = None
    end: float | None = None
    segments: tuple[Segment, ...] = ()
    line: int | None = None

    def __post_init__(self) -> None:
        if self.split not in (None, "train", "validation", "test"):
            raise ValueError(f"`split` is {self.split!r}; expected train, validation or test")
        for name, label in self.labels.items():
            if not isinstance(label, str | int | float | tuple):
                raise ValueError(
                    f"label {name!r} is {label!r}; expected text, a number or a tuple of numbers"
                )
        if self.end is not None and self.end <= (self.start or 0.0):
            raise ValueError(
                f"`end` ({self.end:g}) must be later than `start` ({self.start or 0:g})"
            )


class Reader(Protocol):
    """Knows how a data set lies on the disk."""

    def entries(self, path: Path) -> Iterable[Entry]:
        """Its videos, in a fixed order; nothing is decoded yet.

        Args:
            path: absolute, and there.

        Raises:
            DataError: what lies there cannot be understood.
        """
        ...


READERS = Registry(
    "reader of a data set",
    {
        "folder": "nexus.data.catalog.sources:FolderReader",
        "plain_folder": "nexus.data.catalog.sources:FolderReader.plain",
        "list": "nexus.data.catalog.lists:ListReader",
        "split_lists": "nexus.data.catalog.sources:SplitListReader",
        "file": "nexus.data.catalog.sources:FileReader",
    },
)


def find_entries(
    source: str | Path | Sequence[str | Path], reader: Choice | None = None
) -> list[Entry]:
    """All candidates of a source, in a fixed order, with unique keys.

    Nothing is decoded yet; what a file's name does not tell, its first bytes do.

    Args:
        source: a folder (searched recursively; series of numbered pictures count as videos),
            a .csv/.tsv/.jsonl list, one of UCF101's or HMDB51's list files, a video file, a
            directory of pictures, or several of these.
        reader: a name of `READERS` or one of your own; None chooses by what the source is.

    Raises:
        ConfigError: there is no such reader.
        DataError: the source does not exist, cannot be read or names no video; a list has rows
            that cannot be understood (named with their line numbers).
    """
    if isinstance(source, (str, Path)):
        entries = _entries_of(Path(source), "", reader)
        what = str(source)
    else:
        what = f"the {len(source)} given paths"
        entries = [one for path in source for one in _entries_of(Path(path), str(path), reader)]
    if not entries:
        raise DataError(
            f"{what}: no videos found; expected files ending in .mp4, .mov, .mkv, .avi, .webm, ... "
            "or directories of pictures"
        )
    return _with_unique_keys(entries)


def _entries_of(path: Path, prefix: str, reader: Choice | None) -> list[Entry]:
    path = path.expanduser()
    if not is_there(path):
        raise DataError(f"{path}: no such file or folder")
    listed = path.suffix.lower() in LIST_EXTENSIONS and not path.is_dir()
    sort = "folder" if path.is_dir() else "list" if listed else "file"
    if sort == "file" and is_split_list(path):
        sort = "split_lists"
    found: Reader = READERS.build(sort if reader is None else reader)
    entries = list(found.entries(path.absolute()))
    if prefix and sort == "folder":
        return [replace(entry, key=f"{prefix}/{entry.key}") for entry in entries]
    if prefix and sort == "file" and reader is None:
        return [replace(entry, key=prefix) for entry in entries]
    return entries


class FileReader:
    """Reads a video file, whatever its name ends in."""

    def entries(self, path: Path) -> list[Entry]:
        """The file."""
        return [Entry(path, path.name)]


@dataclass(frozen=True)
class FolderReader:
    """Reads a folder: all video files in it, picture files that hold several, series of pictures.

    A series that has its folder to itself has the folder's path and key; of several, each has a
    path of its own, `FOLDER/img_#.jpg`, and such a key.

    Folders that are laid out as classes, or as splits, give their names to the videos:

        CLASS/a.mp4      train/CLASS/a.mp4      train/a.mp4

    Every video must lie so; the label is called `class`. There must be two classes of two videos
    at the least, and splits need a `train` beside a `val` (`validation`, ...) or a `test`.

    Where list files of UCF101's or HMDB51's kind lie in the folder or beside it, and name some of
    its videos, labels and splits are theirs (`nexus.data.catalog.split_lists`); other videos have
    none.

    Args:
        classes: False takes neither labels nor splits from the folders' names, nor from lists.
        split: the number of the lists.
    """

    classes: bool = True
    split: int = 1

    @classmethod
    def plain(cls) -> Self:
        """One that takes nothing from the folders' names."""
        return cls(classes=False)

    def entries(self, path: Path) -> list[Entry]:
        """What is found in it and in its folders, hidden ones left out.

        Raises:
            DataError: the folder cannot be read.
        """
        entries = list(_walk(path, path, set()))
        if not self.classes:
            return entries
        lists = find_lists(path, self.split)
        listed = lists.of([entry.key for entry in entries]) if lists else {}
        if not listed:
            return _as_laid_out(entries)
        return [_as_listed(entry, listed.get(entry.key)) for entry in entries]


def _as_listed(entry: Entry, row: Listed | None) -> Entry:
    """With the label and the split of a list; a video in neither split has no label to learn."""
    if row is None or row.split is None:
        return entry
    return replace(entry, labels={FOLDER_LABEL: row.label}, split=row.split)


class SplitListReader:
    """Reads one of UCF101's or HMDB51's list files: with it the others of the same number.

    The class folders lie beside it, or in a folder beside its own.
    """

    def entries(self, path: Path) -> list[Entry]:
        """All videos of the lists, those of neither split without a label.

        Raises:
            DataError: lists are missing or cannot be understood, or the videos are not there.
        """
        match = UCF_LIST.fullmatch(path.name) or HMDB_LIST.fullmatch(path.name)
        if match is None:
            raise DataError(
                f"{path} is no list of UCF101's or HMDB51's; expected trainlist01.txt or "
                "CLASS_test_split1.txt"
            )
        lists = read_lists(path.parent, int(match[2]))
        root = video_root(lists)
        there = {
            (label, Path(file.name).stem): file
            for label in dict.fromkeys(row.label for row in lists.rows)
            if (root / label).is_dir()
            for file in sorted((root / label).iterdir())
            if file.suffix.lower() in VIDEO_EXTENSIONS
        }
        entries = []
        for row in lists.rows:
            file = there.get((row.label, Path(row.name).stem), root / row.label / row.name)
            entries.append(_as_listed(Entry(file, f"{row.label}/{file.name}"), row))
        return entries


def _as_laid_out(entries: list[Entry]) -> list[Entry]:
    """The same, with the splits and classes that their folders are named after, if they are."""
    places = [_place(entry) for entry in entries]
    depths = {len(place) for place in places}
    tops = {SPLIT_NAMES.get(place[0].lower(), "") for place in places if place}
    has_splits = len(tops) > 1 and "train" in tops and "" not in tops
    if len(depths) != 1 or not depths <= ({1, 2} if has_splits else {1}):
        return entries
    if has_splits:
        splits = [SPLIT_NAMES[place[0].lower()] for place in places]
        entries = [replace(one, split=split) for one, split in zip(entries, splits, strict=True)]
        if depths == {1}:
            return entries
    videos = Counter(place[-1] for place in places)
    if len(videos) < 2 or min(videos.values()) < 2:
        return entries
    return [
        replace(entry, labels={FOLDER_LABEL: place[-1]})
        for entry, place in zip(entries, places, strict=True)
    ]


def _place(entry: Entry) -> tuple[str, ...]:
    """The folders that a video lies in; those of a folder with several series are one video."""
    parts = Path(entry.key).parts
    return parts[:-2] if parts[-1] == entry.path.name and is_series(entry.path) else parts[:-1]


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
    videos = [path for path in paths if path not in folders and is_video(path)]
    images = list_images(folder)
    series, alone = find_series(images)
    stacks = _stacks(series, alone)
    for path in sorted([*videos, *stacks]):
        if _first_time(path, seen):
            yield Entry(path, path.relative_to(root).as_posix())
    if not videos:  # pictures beside videos are covers or thumbnails
        if stacks:
            series, _ = find_series(sorted({*images} - {*stacks}))
        if len(series) == 1:
            own = list(series[0].images) == images
            yield Entry(folder if own else folder / series[0].pattern, key)
        elif series or stacks:
            for one in series:
                yield Entry(folder / one.pattern, f"{key}/{one.pattern}")
        elif images and folder == root and not folders:  # the user points at just this directory
            yield Entry(folder, key)
    for path in folders:
        yield from _walk(path, root, seen)


def _stacks(series: Iterable[Series], alone: Sequence[Path]) -> list[Path]:
    """The picture files of a folder that hold several pictures: each is a video, as a GIF is.

    Of a series, only the first, the middle and the last one are opened, unless one of these is such
    a file: there may be a hundred thousand. The check of a series opens all.
    """
    suspects = [*alone]
    for one in series:
        some = one.images
        if any(map(_holds_several, {some[0], some[len(some) // 2], some[-1]})):
            suspects += some
    return [image for image in suspects if _holds_several(image)]


def _holds_several(image: Path) -> bool:
    try:
        return pages_of(image) is not None
    except OSError:
        return False


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
