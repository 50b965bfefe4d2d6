"""Pictures read as a video with a given frame rate: a directory of them, or a single one."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from nexus.data.container import naming
from nexus.data.pictures import PictureView, collect, none_of
from nexus.data.protocol import frame_numbers
from nexus.errors import DataError

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key under which `frame_2` comes before `frame_10`."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts] + [(-2, name)]


def list_images(folder: str | Path) -> list[Path]:
    """The pictures directly in `folder`, in natural order; hidden files are not pictures.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if not entry.name.startswith(".")
                and Path(entry.name).suffix.lower() in IMAGE_EXTENSIONS
                and entry.is_file()
            ]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    return [Path(folder) / name for name in sorted(names, key=natural_order)]


def is_sequence(images: Sequence[Path]) -> bool:
    """Whether at least two pictures are named alike but for a number, as frames of a video are."""
    patterns = {re.sub(r"\d+(?=\D*$)", "#", image.stem) for image in images}
    return len(images) > 1 and len(patterns) == 1 and "#" in patterns.pop()


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of one picture as it is shown (after EXIF rotation); reads its header only.

    Raises:
        DataError: the file is not a readable picture.
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable picture ({error})") from error


def read_picture(path: Path) -> np.ndarray:
    """One picture, upright, as uint8 (height, width, 3) RGB; 16-bit grey is reduced to 8 bits.

    Raises:
        DataError: the file is not a readable picture.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode == "I" or image.mode.startswith("I;16"):
                grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
                return np.repeat(grey[:, :, None], 3, axis=2)
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable picture ({error})") from error


class FrameFolder:
    """Reads directories of pictures, and single ones; answers the `Decoder` protocol.

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
        """Pictures by number; see `Decoder.frames`.

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
        return collect(_of_one_size([images[number] for number in needed]), place, view)

    def _images(self, path: str | Path) -> list[Path]:
        images = [Path(path)] if Path(path).is_file() else list_images(path)
        if not images:
            raise DataError(f"{path}: holds no pictures ({', '.join(sorted(IMAGE_EXTENSIONS))})")
        return images


def _of_one_size(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    size: tuple[int, int] | None = None
    for path in paths:
        picture = read_picture(path)
        height, width = picture.shape[:2]
        size = size or (height, width)
        if (height, width) != size:
            raise DataError(
                f"{path}: {width}x{height}, but {paths[0].name} is {size[1]}x{size[0]}; "
                "the pictures of one folder must have one size"
            )
        yield picture
