"""How many pictures a picture file holds, and when each is shown: animations and TIFF stacks.

Only headers are read: chunks of PNG and WebP, directories of TIFF.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float64

DEFAULT_SECONDS = 0.1
"""How long a picture is shown whose file says "no time at all", as browsers have it."""
_MOST_PAGES = 1_000_000  # a TIFF whose directories go round in circles ends somewhere
_REDUCED = 1  # the bit of TIFF's NewSubfileType: a preview of another page


@dataclass(frozen=True)
class Pages:
    """The pictures of one file. `numbers`: where Pillow's `seek` finds each; `seconds`: how long
    each is shown (None: the file does not say)."""

    numbers: tuple[int, ...]
    seconds: tuple[float, ...] | None = None

    @property
    def starts(self) -> Float64[np.ndarray, " pictures"] | None:
        """When each comes on screen, seconds after the first, if the file says so."""
        if self.seconds is None:
            return None
        return np.concatenate([[0.0], np.cumsum(self.seconds)[:-1]])


def pages_of(path: Path) -> Pages | None:
    """The pictures of a file that holds several; None for one with a single picture, or no picture.

    Raises:
        OSError: the file cannot be read.
    """
    if path.suffix.lower() not in (".png", ".apng", ".webp", ".tif", ".tiff"):
        return None
    with path.open("rb") as file:
        head = file.read(32)
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            pages = _animated_png(file)
        elif head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X":
            pages = _animated_webp(file) if head[20] & 2 else None
        elif head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            pages = _stacked_tiff(file, head)
        else:
            return None
    return pages if pages is not None and len(pages.numbers) > 1 else None


def _animated_png(file: BinaryIO) -> Pages | None:
    """The pictures before the first IDAT are no part of it where no fcTL comes before."""
    seconds: list[float] = []
    first, animated = 0, False
    for kind, size in _chunks(file, 8, ">I4s", size_first=True, trailer=4):
        if kind == b"acTL":
            animated = True
        elif kind == b"IDAT":
            if not animated:
                return None
            first = first or (0 if seconds else 1)
        elif kind == b"fcTL" and size >= 24:
            above, below = struct.unpack(">20x2H", file.read(24))
            seconds.append(above / (below or 100) or DEFAULT_SECONDS)
    return Pages(tuple(range(first, first + len(seconds))), tuple(seconds))


def _animated_webp(file: BinaryIO) -> Pages:
    seconds = []
    for kind, size in _chunks(file, 12, "<4sI", even=True):
        if kind == b"ANMF" and size >= 16:
            duration = int.from_bytes(file.read(16)[12:15], "little")
            seconds.append(duration / 1000 or DEFAULT_SECONDS)
    return Pages(tuple(range(len(seconds))), tuple(seconds))


def _chunks(
    file: BinaryIO,
    start: int,
    form: str,
    *,
    size_first: bool = False,
    trailer: int = 0,
    even: bool = False,
) -> Iterator[tuple[bytes, int]]:
    """Kind and size of each chunk; the file stands at the chunk's data meanwhile."""
    while True:
        file.seek(start)
        header = file.read(8)
        if len(header) < 8:
            return
        fields = struct.unpack(form, header)
        size, kind = fields if size_first else fields[::-1]
        yield kind, size
        start += 8 + size + trailer + (size & 1 if even else 0)


def _stacked_tiff(file: BinaryIO, head: bytes) -> Pages:
    """Pages of full size: previews of other pages are left out."""
    order = "<" if head[:2] == b"II" else ">"
    big = b"+" in head[2:4]
    place = struct.unpack(order + "Q", head[8:16])[0] if big else 0
    place = place or struct.unpack(order + "I", head[4:8])[0]
    numbers, seen = [], set()
    while place and place not in seen and len(seen) < _MOST_PAGES:
        seen.add(place)
        file.seek(place)
        count_form, entry, next_form = ("Q", 20, "Q") if big else ("H", 12, "I")
        try:
            (count,) = _read(file, order + count_form)
            body = file.read(count * entry)
            (place,) = _read(file, order + next_form)
        except struct.error:  # cut short: what comes before counts
            break
        if not _is_preview(body, entry, order):
            numbers.append(len(seen) - 1)
    return Pages(tuple(numbers))


def _read(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _is_preview(body: bytes, entry: int, order: str) -> bool:
    for start in range(0, len(body) - entry + 1, entry):
        (tag,) = struct.unpack_from(order + "H", body, start)
        if tag == 254:
            value = start + (12 if entry == 20 else 8)
            return bool(struct.unpack_from(order + "I", body, value)[0] & _REDUCED)
        if tag > 254:
            break
    return False
