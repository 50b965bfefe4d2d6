"""The values of one picture as its file keeps them, upright."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from PIL import Image, ImageOps, UnidentifiedImageError

from nexus.errors import DataError

_MAX_SAMPLE_VALUE, _BITS_PER_SAMPLE = 281, 258  # tags of TIFF


@contextmanager
def opened_picture(path: Path) -> Iterator[Image.Image]:
    """A picture file, open.

    Raises:
        DataError: the file is not a readable picture; whatever goes wrong meanwhile is said so.
    """
    try:
        with Image.open(path) as image:
            yield image
    except DataError:
        raise
    except (
        OSError,
        UnidentifiedImageError,
        ValueError,
        SyntaxError,
        EOFError,
        FFmpegError,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"{path}: not a readable picture ({error})") from error


def values_of(image: Image.Image, path: Path | None = None) -> np.ndarray:
    """uint8 (height, width, 3), or what the file has more of, upright.

    Deep grey is (height, width), deep colour (height, width, 3); transparency is dropped.

    Args:
        path: its file, where it is the only picture in it: Pillow keeps 8 bits of deep colours.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(ImageOps.exif_transpose(image))
        return values.astype(np.uint16) if image.format == "PPM" else values
    if path is not None and _is_deep_colour(image):
        planes = np.moveaxis(_colours(path), 2, 0)
        orientation = image.getexif().get(0x0112, 1)
        return np.stack([_turned(plane, orientation) for plane in planes], axis=2)
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def is_deep(image: Image.Image) -> bool:
    """Whether a picture has more than eight bits; reads nothing more of it."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16") or _is_deep_colour(image)


def stated_bits(image: Image.Image) -> int | None:
    """How many bits its values have by the file's own account, if it gives one.

    TIFF states it by the largest possible value or packs 12 bits; that of PPM is always respected.
    That a file of 16 bits says 16 is no statement: all of them do.
    """
    if image.format == "PPM":
        return 16
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS_PER_SAMPLE, (16,)))
    largest = tags.get(_MAX_SAMPLE_VALUE)
    most = max(largest) if isinstance(largest, tuple) else largest
    if image.mode != "F" and most:
        bits = min(bits, max(8, math.ceil(math.log2(most + 1))))
    return bits if 8 <= bits < 16 else None


def _is_deep_colour(image: Image.Image) -> bool:
    if image.format not in ("PNG", "TIFF") or image.mode not in ("RGB", "RGBA", "LA"):
        return False
    tile = getattr(image, "tile", None)
    mode = tile[0].args if tile else ""
    return ";16" in str(mode if isinstance(mode, str) else mode[0])


def _colours(path: Path) -> np.ndarray:
    """uint16 (height, width, 3), as they lie in the file."""
    with av.open(
        str(path.absolute()), container_options={"protocol_whitelist": "file"}
    ) as container:
        frame = next(container.decode(video=0))
        return frame.reformat(format="rgb48le").to_ndarray()


def _turned(plane: np.ndarray, orientation: int) -> np.ndarray:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(plane))
    image.info["exif"] = exif.tobytes()
    return np.asarray(ImageOps.exif_transpose(image))
