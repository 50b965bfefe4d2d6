"""Picture files that hold several pictures, read as videos: animated PNG and WebP, TIFF stacks."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from nexus.data.pictures import PictureView, collect, none_of, of_one_size
from nexus.data.protocol import frame_numbers
from nexus.data.stills.deep import levels_of, shown
from nexus.data.stills.depth import Levels, Values, levels_for
from nexus.data.stills.pages import Pages, pages_of
from nexus.data.stills.values import is_deep, opened_picture, stated_bits, values_of
from nexus.data.videos.container import naming
from nexus.errors import DataError


class PictureStack:
    """Reads files of several pictures; answers the `Decoder` protocol.

    Each picture of an animation builds on those before it, so all of these are decoded with it.

    Args:
        fps: pictures a second of files that do not say when each is shown.
    """

    name = "stack"

    def __init__(self, fps: float = 10.0):
        self.fps = fps

    def timestamps(self, path: str | Path) -> np.ndarray:
        """float64 (frames,): by the file's own account, else picture `i` is shown at `i / fps`.

        Raises:
            DataError: the file cannot be read, or does not hold several pictures.
        """
        pages = _pages(Path(path))
        starts = pages.starts
        return np.arange(len(pages.numbers)) / self.fps if starts is None else starts

    def frames(
        self, path: str | Path, indices: np.ndarray, view: PictureView | None = None
    ) -> np.ndarray:
        """Pictures by number; see `Decoder.frames`.

        Raises:
            DataError: a picture cannot be read or has another size than the others, or there are
                not as many.
            ValueError: `indices` is not a list of whole numbers from 0 on.
        """
        path = Path(path)
        pages = _pages(path)
        with naming(path):
            numbers = frame_numbers(indices, len(pages.numbers))
            needed, place = np.unique(numbers if numbers.size else [0], return_inverse=True)
            pictures = pictures_in(path, [pages.numbers[number] for number in needed])
            eight = shown(pictures, lambda: levels_of(path, lambda: measured(path)[0]))
            if not numbers.size:
                height, width = next(eight).shape[:2]
                return none_of(height, width, view)
            return collect(of_one_size(eight, _changed), place, view)


def measured(path: Path) -> tuple[Levels, str | None]:
    """How a file's pictures are shown if they have more than eight bits, and a word on it.

    Raises:
        DataError: the file cannot be read.
    """
    with opened_picture(path) as image:
        stated = stated_bits(image)
    pictures = (one for one in pictures_in(path, _pages(path).numbers) if one.dtype != np.uint8)
    return levels_for(Values.of_all(pictures), stated)


def is_deep_stack(path: Path) -> bool:
    """Whether the first picture of a file has more than eight bits.

    Raises:
        DataError: the file cannot be read.
    """
    with opened_picture(path) as image:
        return is_deep(image)


def _pages(path: Path) -> Pages:
    try:
        pages = pages_of(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if pages is None:
        raise DataError(f"{path}: does not hold several pictures; has the file changed?")
    return pages


def pictures_in(path: Path, numbers: Iterable[int]) -> Iterator[np.ndarray]:
    """The values of the pictures of a file at these numbers of Pillow's `seek`: see `values_of`.

    Raises:
        DataError: one cannot be read.
    """
    with opened_picture(path) as image:
        for number in numbers:
            image.seek(number)
            yield values_of(image)


def _changed(_: int, other: str, first: str) -> str:
    return f"the pictures change their size from {first} to {other}; one size is needed"
