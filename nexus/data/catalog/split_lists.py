"""The list files of UCF101 and HMDB51: labels and splits of videos that lie in class folders.

UCF101    classInd.txt                   1 ApplyEyeMakeup
          trainlist01.txt                ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1
          testlist01.txt                 ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
HMDB51    brush_hair_test_split1.txt     NAME.avi 1      (1: train, 2: test, 0: neither)

A class is what its folder (or list) is called: files are named after it only nearly.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nexus.errors import DataError

UCF_LIST = re.compile(r"(train|test)list(\d+)\.txt")
HMDB_LIST = re.compile(r"(.+)_test_split(\d+)\.txt")
CLASS_LIST = "classInd.txt"
HMDB_SPLITS = {"0": None, "1": "train", "2": "test"}
NAMED_ALIKE = re.compile("list|split|annotation|label", re.IGNORECASE)
"""What the names of folders with lists contain, where they lie beside or in that of the videos."""


@dataclass(frozen=True)
class Listed:
    """A video of a list: its file's name, its class, and train, test or (in neither) None."""

    name: str
    label: str
    split: str | None


@dataclass(frozen=True)
class SplitLists:
    """The lists of one of a data set's divisions into training and test."""

    folder: Path
    name: str
    """UCF101 or HMDB51, by the form."""
    number: int
    numbers: tuple[int, ...]
    """All of those that there are."""
    rows: tuple[Listed, ...]

    def of(self, keys: Sequence[str]) -> dict[str, Listed]:
        """What the lists say of videos, by their paths within their folder.

        A video is known by its class folder and its name without ending; where its folder is no
        class of the lists, by a name that is in them once.
        """
        exact = {(row.label, PurePosixPath(row.name).stem): row for row in self.rows}
        once: dict[str, Listed | None] = {}
        for (_, stem), row in exact.items():
            once[stem] = None if stem in once else row
        classes = {row.label for row in self.rows}
        found: dict[str, Listed] = {}
        for key in keys:
            path = PurePosixPath(key)
            folder = path.parent.name
            row = exact.get((folder, path.stem)) if folder in classes else once.get(path.stem)
            if row is not None:
                found[key] = row
        return found


def is_split_list(path: Path) -> bool:
    """Whether a file is called like one of these lists."""
    return bool(UCF_LIST.fullmatch(path.name) or HMDB_LIST.fullmatch(path.name))


def find_lists(videos: Path, number: int = 1) -> SplitLists | None:
    """The lists in a folder of videos, beside it, or in a folder of lists in or beside it.

    Raises:
        DataError: there are lists, but none of this number, or they cannot be understood.
    """
    for folder in _places(videos):
        names = _lists_in(folder)
        if names:
            return read_lists(folder, number, names)
    return None


def read_lists(folder: Path, number: int, names: Iterable[str] | None = None) -> SplitLists:
    """The lists of one number in a folder.

    Raises:
        DataError: there are none of this number, or they cannot be understood (named by line).
    """
    names = _lists_in(folder) if names is None else list(names)
    ucf = [match for name in names if (match := UCF_LIST.fullmatch(name))]
    hmdb = [match for name in names if (match := HMDB_LIST.fullmatch(name))]
    numbers = sorted({int(match[2]) for match in ucf or hmdb})
    chosen = [match for match in ucf or hmdb if int(match[2]) == number]
    if (ucf and {match[1] for match in chosen} != {"train", "test"}) or not chosen:
        raise DataError(
            f"{folder} lacks lists of the split {number}; it has "
            f"{', '.join(sorted(names)[:6]) or 'none'}. Expected trainlist{number:02d}.txt and "
            f"testlist{number:02d}.txt, or CLASS_test_split{number}.txt"
        )
    rows = _ucf_rows(folder, chosen) if ucf else _hmdb_rows(folder, chosen)
    return SplitLists(folder, "UCF101" if ucf else "HMDB51", number, tuple(numbers), tuple(rows))


def video_root(lists: SplitLists) -> Path:
    """The folder of the class folders that lists are about: beside the lists, or a level up.

    Raises:
        DataError: there is none.
    """
    classes = {row.label for row in lists.rows}
    here = lists.folder
    near = [here, *_folders(here), here.parent, *_folders(here.parent)]
    counts = {place: sum((place / one).is_dir() for one in classes) for place in near}
    best = max(counts, key=lambda place: counts[place])
    if not counts[best]:
        raise DataError(
            f"the videos of the lists in {lists.folder} are not there; expected class folders "
            f"such as {sorted(classes)[0]}/ in {lists.folder.parent} or in a folder in it"
        )
    return best


def _places(videos: Path) -> Iterator[Path]:
    yield videos
    yield from (one for one in _folders(videos) if NAMED_ALIKE.search(one.name))
    yield videos.parent
    yield from (one for one in _folders(videos.parent) if NAMED_ALIKE.search(one.name))


def _folders(folder: Path) -> list[Path]:
    try:
        inside = [one for one in folder.iterdir() if not one.name.startswith(".")]
        return sorted(one for one in inside if one.is_dir())
    except OSError:
        return []


def _lists_in(folder: Path) -> list[str]:
    try:
        return sorted(one.name for one in folder.iterdir() if is_split_list(one))
    except OSError:
        return []


def _ucf_rows(folder: Path, lists: Iterable[re.Match[str]]) -> Iterator[Listed]:
    numbers = dict(_numbered_classes(folder / CLASS_LIST))
    for match in lists:
        for where, line in _lines(folder / match[0]):
            name, number = _two_parts(line)
            path = PurePosixPath(name)
            if len(path.parts) < 2:
                raise DataError(f"{where}: expected CLASS/NAME, perhaps a number, got {line!r}")
            label = path.parts[-2]
            if number and numbers and numbers.get(number) != label:
                raise DataError(
                    f"{where}: class {number} is {numbers.get(number, 'none')!r} in {CLASS_LIST}, "
                    f"the video is in {label!r}"
                )
            yield Listed(path.name, label, match[1])


def _hmdb_rows(folder: Path, lists: Iterable[re.Match[str]]) -> Iterator[Listed]:
    for match in lists:
        for where, line in _lines(folder / match[0]):
            name, flag = _two_parts(line)
            if flag not in HMDB_SPLITS:
                raise DataError(
                    f"{where}: expected NAME and 0, 1 (train) or 2 (test), got {line!r}"
                )
            yield Listed(PurePosixPath(name).name, match[1], HMDB_SPLITS[flag])


def _numbered_classes(path: Path) -> Iterator[tuple[str, str]]:
    if not path.exists():
        return
    for where, line in _lines(path):
        number, _, name = line.partition(" ")
        if not number.isdigit() or not name.strip():
            raise DataError(f"{where}: expected a number and a class, got {line!r}")
        yield number, name.strip()


def _two_parts(line: str) -> tuple[str, str]:
    """The name of a file, which may hold spaces, and the number after it ("" if there is none)."""
    name, _, last = line.rpartition(" ")
    return (name.strip(), last) if name and last.isdigit() else (line, "")


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Where each line that is not empty stands, and the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{path}: line {number}", line.strip()
