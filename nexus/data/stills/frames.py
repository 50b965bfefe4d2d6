"""Pictures read as a video with a given frame rate: a folder or series of them, or a single one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nexus.data.pictures import PictureView, collect, none_of, of_one_size
from nexus.data.protocol import frame_numbers
from nexus.data.stills.deep import levels_of, shown
from nexus.data.stills.depth import Levels, Values, levels_for
from nexus.data.stills.files import IMAGE_EXTENSIONS, list_images
from nexus.data.stills.values import is_deep, opened_picture, stated_bits, values_of
from nexus.data.videos.container import naming
from nexus.errors import DataError


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of one picture as it is shown (after EXIF rotation); reads its header only.

    Raises:
        DataError: the file is not a readable picture.
    """
    with opened_picture(path) as image:
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def read_picture(path: Path) -> np.ndarray:
    """The values of one picture, upright: see `values_of`.

    Raises:
        DataError: the file is not a readable picture.
    """
    with opened_picture(path) as image:
        return values_of(image, path)


def measured(images: Sequence[Path]) -> tuple[Levels, str | None]:
    """How the pictures among these that have more than eight bits are shown, and a word on it.

    Reads all of them; those that cannot be read do not count: whoever asks for one is told.
    """
    stated: list[int | None] = []

    def deep() -> Iterator[np.ndarray]:
        for image in images:
            try:
                with opened_picture(image) as picture:
                    if is_deep(picture):
                        bits = stated_bits(picture)
                        yield values_of(picture, image)
                        stated.append(bits)
            except DataError:
                continue

    values = Values.of_all(deep())
    known = [bits for bits in stated if bits is not None]
    return levels_for(values, max(known) if known and len(known) == len(stated) else None)


class FrameFolder:
    """Reads folders and series of pictures, and single ones; answers the `Decoder` protocol.

    Args:
        fps: frames a second at which the pictures are meant to be shown.

    Raises:
        ValueError: `fps` is not positive.
    """

    name = "frames"

    def __init__(self, fps: float = 10.0):
        if not fps > 0:
            raise ValueError(f"fps: expected a positive number, got {fps!r}")
        self.fps = fps

    def timestamps(self, path: str | Path) -> np.ndarray:
        """float64 (frames,): picture `i` is shown at `i / fps` seconds.

        Raises:
            DataError: the folder cannot be read or holds no picture.
        """
        return np.arange(len(self._images(path)), dtype=np.float64) / self.fps

    def frames(
        self, path: str | Path, indices: np.ndarray, view: PictureView | None = None
    ) -> np.ndarray:
        """Pictures by number; see `Decoder.frames`. Deep ones as `nexus.data.stills.depth` has it.

        Raises:
            DataError: a picture cannot be read or has another size than the others (both named),
                or there are not as many.
            ValueError: `indices` is not a list of whole numbers from 0 on.
        """
        images = self._images(path)
        with naming(path):
            numbers = frame_numbers(indices, len(images))
        if not numbers.size:
            return none_of(*picture_size(images[0]), view)
        needed, place = np.unique(numbers, return_inverse=True)
        paths = [images[number] for number in needed]
        pictures = map(read_picture, paths)
        eight = shown(pictures, lambda: levels_of(Path(path), lambda: measured(images)[0]))

        def unlike(number: int, other: str, first: str) -> str:
            return (
                f"{paths[number]}: {other}, but {paths[0].name} is {first}; "
                "the pictures of one folder must have one size"
            )

        return collect(of_one_size(eight, unlike), place, view)

    def _images(self, path: str | Path) -> list[Path]:
        images = [Path(path)] if Path(path).is_file() else list_images(path)
        if not images:
            raise DataError(f"{path}: holds no pictures ({', '.join(sorted(IMAGE_EXTENSIONS))})")
        return images
