"""The check of pictures that are read as a video: a folder or series of them, or one file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float64

from nexus.data.stills import frames, stack
from nexus.data.stills.depth import Levels
from nexus.data.stills.files import list_images
from nexus.data.stills.pages import pages_of
from nexus.data.stills.series import Series, find_series
from nexus.data.stills.values import is_deep, opened_picture
from nexus.data.videos.container import NoVideoError
from nexus.errors import DataError

T = TypeVar("T")


class UnequalError(DataError):
    """Pictures that are no video together."""


@dataclass(frozen=True)
class Look:
    """What pictures hold. `size`: height and width, upright; `times`: when each is shown, where the
    file says it; `levels`: how deep ones are shown; `remarks`: what is unusual, in words."""

    count: int
    size: tuple[int, int]
    codec: str
    times: Float64[np.ndarray, " pictures"] | None = None
    levels: Levels | None = None
    remarks: tuple[str, ...] = ()


def look_at_series(path: Path, full: bool = False) -> Look:
    """A folder or a series of pictures: the sizes of all, the first and the last one decoded.

    Args:
        full: decode all of them.

    Raises:
        NoVideoError: it holds no pictures.
        UnequalError: they differ in size, or are of several series.
        DataError: a picture cannot be read; it is named.
    """
    images = list_images(path)
    if not images:
        raise NoVideoError(f"{path}: the directory holds no pictures")
    series, alone = find_series(images)
    if len(series) > 1:
        names = ", ".join(one.pattern for one in series)
        raise UnequalError(
            f"{path}: holds {len(series)} series of pictures ({names}); "
            f"name one of them, such as {path / series[0].pattern}"
        )
    sizes = [_named(path, image, frames.picture_size) for image in images]
    for image, size in zip(images, sizes, strict=True):
        if size != sizes[0]:
            raise UnequalError(
                f"{path}: {image.name} is {size[1]}x{size[0]}, but {images[0].name} is "
                f"{sizes[0][1]}x{sizes[0][0]}; the pictures of one folder must have one size"
            )
    for image in images if full else (images[0], images[-1]):
        _named(path, image, frames.read_picture)
    levels, remarks = None, []
    if any(_named(path, image, _is_deep) for image in {images[0], images[-1]}):
        levels, remark = frames.measured(images)
        remarks = [remark] if remark else []
    if series:
        remarks += _about(series[0], path, alone)
    if several := [image.name for image in images if pages_of(image) is not None]:
        remarks.append(
            f"{len(several)} of the files hold several pictures, of which the first is used "
            f"({several[0]})"
        )
    codec = images[0].suffix.lower().lstrip(".")
    return Look(len(images), sizes[0], codec, None, levels, tuple(remarks))


def look_at_stack(path: Path, full: bool = False) -> Look:
    """A file of several pictures: the sizes of all, the first and the last one decoded.

    Args:
        full: decode all of them.

    Raises:
        DataError: a picture cannot be read, or they differ in size.
    """
    pages = pages_of(path)
    if pages is None:
        raise DataError(f"{path}: does not hold several pictures")
    first: tuple[int, int] | None = None
    with opened_picture(path) as image:
        for place, number in enumerate(pages.numbers if image.format == "TIFF" else ()):
            image.seek(number)
            first = first or image.size
            if sorted(image.size) != sorted(first):
                sizes = [f"{width}x{height}" for width, height in (image.size, first)]
                raise DataError(
                    f"{path}: picture {place + 1} is {sizes[0]}, the first one {sizes[1]}; "
                    "one size is needed"
                )
    count = len(pages.numbers)
    numbers = pages.numbers if full else (pages.numbers[0], pages.numbers[-1])
    shapes = [picture.shape for picture in stack.pictures_in(path, numbers)]
    deep = stack.is_deep_stack(path)
    levels, remark = stack.measured(path) if deep else (None, None)
    codec = path.suffix.lower().lstrip(".")
    return Look(count, shapes[0][:2], codec, pages.starts, levels, (remark,) if remark else ())


def _about(series: Series, path: Path, alone: list[Path]) -> list[str]:
    remarks = []
    if series.computed:
        remarks.append(
            f"by its name ({series.computed}) not what a camera saw; used as a video of its own"
        )
    if gaps := series.gaps():
        before, after = gaps[0]
        several = f", and {len(gaps) - 1} more gaps" if len(gaps) > 1 else ""
        remarks.append(
            f"the numbers jump from {before} to {after}{several}; "
            "the pictures are shown as if none were missing"
        )
    if alone:
        remarks.append(
            f"{len(alone)} of its pictures are named otherwise ({alone[0].name}); "
            f"{path / series.pattern} is the series without them"
        )
    return remarks


def _is_deep(image: Path) -> bool:
    with opened_picture(image) as picture:
        return is_deep(picture)


def _named(folder: Path, image: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(image)
    except DataError as error:
        reason = str(error).removeprefix(f"{image}: ")
        raise DataError(f"{folder}: {image.name}: {reason}") from error
