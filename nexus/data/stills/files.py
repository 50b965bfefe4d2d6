"""Which files the pictures of a video are: one file, a folder of them, or a series in a folder.

A series that has its folder not to itself is named by what its pictures' names have in common,
`FOLDER/img_#.jpg`. That is a path like any other: it can stand in a list, be compared and kept.
"""

import os
import time
from pathlib import Path

from nexus.data.stills.series import MARK, find_series, natural_order
from nexus.errors import DataError

# fmt: off
IMAGE_EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".png", ".apng", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm",
})
# fmt: on

Signature = tuple[int, int]

_SETTLED = 2_000_000_000  # nanoseconds
_MOST_KNOWN = 300_000  # pictures of folders that are remembered
_known: dict[Path, tuple[int, tuple[Path, ...]]] = {}


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, by its name; hidden ones are not."""
    return path.suffix.lower() in IMAGE_EXTENSIONS and not path.name.startswith(".")


def is_series(path: Path) -> bool:
    """Whether a path names a series of pictures within a folder, as `FOLDER/img_#.jpg` does."""
    return MARK in path.name and is_picture(path) and not path.exists() and path.parent.is_dir()


def list_images(place: str | Path) -> list[Path]:
    """The pictures directly in a folder in natural order, or those of a series in its order.

    A folder that has not changed for a while is not read again: each clip asks.

    Raises:
        DataError: the folder cannot be read, or has no such series.
    """
    place = Path(place)
    folder = place.parent if is_series(place) else place
    try:
        changed = folder.stat().st_mtime_ns
        then, images = _known.get(place, (None, ()))
        if then != changed:
            images = _listed(place, folder)
            # Within the clock's grain, a folder may change without a new time.
            if time.time_ns() - changed > _SETTLED:
                _remember(place, changed, images)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    return list(images)


def _listed(place: Path, folder: Path) -> tuple[Path, ...]:
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if is_picture(Path(e.name)) and e.is_file()]
    if place == folder:
        return tuple(folder / name for name in sorted(names, key=natural_order))
    series, _ = find_series(folder / name for name in names)
    images = next((one.images for one in series if one.pattern == place.name), None)
    if images is None:
        known = ", ".join(one.pattern for one in series) or "none"
        raise DataError(f"{place}: no such series of pictures; there are: {known}")
    return images


def _remember(place: Path, changed: int, images: tuple[Path, ...]) -> None:
    if sum(len(known) for _, known in _known.values()) + len(images) > _MOST_KNOWN:
        _known.clear()
    _known[place] = changed, images


def files_of(path: Path) -> list[Path]:
    """The files that are read for a video at this path: itself, or pictures.

    Raises:
        DataError: a folder of pictures cannot be read.
    """
    return list_images(path) if path.is_dir() or is_series(path) else [path]


def is_there(path: Path) -> bool:
    """Whether a file, a folder or a series of pictures exists."""
    return path.exists() or is_series(path)


def signature(path: Path) -> Signature | None:
    """Size and time of last change of a file (of a folder or series: of all its pictures).

    None if it cannot be read, and so cannot be remembered either.
    """
    try:
        if not (folder := path.is_dir()) and not is_series(path):
            status = path.stat()
            return status.st_size, status.st_mtime_ns
        parts = [image.stat() for image in list_images(path)]
        newest = [part.st_mtime_ns for part in parts] or [path.stat().st_mtime_ns if folder else 0]
    except (OSError, DataError):
        return None
    return sum(part.st_size for part in parts) + len(parts), max(newest)
