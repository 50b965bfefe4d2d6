"""Pictures on their way out of a decoder: of each, the part that matters is shown, then kept."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from jaxtyping import Int64, UInt8

from nexus.errors import DataError

# Parts shown at once. Fewer cost calls; more leave the processor's cache, and the C library gives
# memory of megabytes back to the system each time, to be cleared and handed out again.
GATHERED_BYTES = 512 * 1024


class PictureView(Protocol):
    """What is kept of decoded pictures. One by one or together, a picture looks the same."""

    def part(self, height: int, width: int) -> tuple[slice, slice]:
        """The rows and columns of a `height` x `width` picture that `show` is given."""
        ...

    def show(
        self, parts: UInt8[np.ndarray, "batch part_height part_width 3"]
    ) -> UInt8[np.ndarray, "batch out_height out_width 3"]:
        """What is kept of these parts of pictures; they may be overwritten afterwards."""
        ...

    def room(
        self, count: int, out_height: int, out_width: int
    ) -> UInt8[np.ndarray, "count out_height out_width 3"]:
        """Memory for what is kept of `count` pictures: written to, then given to the caller."""
        ...


def collect(
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]],
    place: Int64[np.ndarray, " times"],
    view: PictureView | None = None,
    *,
    gathered_bytes: int = GATHERED_BYTES,
) -> UInt8[np.ndarray, "times out_height out_width 3"]:
    """One array of pictures of one size: at each time, picture number `place`, seen through `view`.

    Small parts are gathered and shown a few at a time, which costs much less than one by one; of
    large pictures only one is held, so that they do not take a clip of memory.

    Args:
        pictures: each that is needed, once.
        place: at least one; all numbers from 0 to the largest occur.
        view: what is kept of each picture; None keeps all of it.
        gathered_bytes: of the parts that are shown together.
    """
    count = int(place.max()) + 1
    kept: np.ndarray | None = None
    done = 0
    whole = (one[None] for one in pictures)
    for some in _shown(pictures, count, view, gathered_bytes) if view else whole:
        if kept is None:
            kept = (view.room if view else fresh_room)(count, *some.shape[1:3])
        kept[done : done + len(some)] = some
        done += len(some)
    assert kept is not None and done == count
    return kept if np.array_equal(place, np.arange(count)) else kept[place]


def _shown(
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]],
    count: int,
    view: PictureView,
    gathered_bytes: int,
) -> Iterator[UInt8[np.ndarray, "batch out_height out_width 3"]]:
    rows = columns = slice(0)
    gathered: np.ndarray | None = None
    filled = 0
    for number, picture in enumerate(pictures):
        if number == 0:
            rows, columns = view.part(*picture.shape[:2])
        part = picture[rows, columns]
        if number == 0:
            some = max(1, min(count, gathered_bytes // max(1, part.nbytes)))
            gathered = np.empty((some, *part.shape), np.uint8) if some > 1 else None
        if gathered is None:
            # Turned pictures have strides, and Pillow's a write lock, that torch does not take.
            yield view.show(np.require(part[None], requirements=["C", "W"]))
            continue
        gathered[filled] = part
        filled += 1
        if filled == len(gathered) or number == count - 1:
            yield view.show(gathered[:filled])
            filled = 0


def fresh_room(count: int, height: int, width: int) -> UInt8[np.ndarray, "count height width 3"]:
    """Memory of their own for pictures."""
    return np.empty((count, height, width, 3), dtype=np.uint8)


def of_one_size(
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]],
    refusal: Callable[[int, str, str], str],
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The same pictures, as long as all have the size of the first.

    Args:
        refusal: what to say of the picture of this number, given its size and the first one's,
            as `WIDTHxHEIGHT`.

    Raises:
        DataError: one has another size.
    """
    first: tuple[int, int] | None = None
    for number, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        first = first or (height, width)
        if (height, width) != first:
            raise DataError(refusal(number, f"{width}x{height}", f"{first[1]}x{first[0]}"))
        yield picture


def none_of(height: int, width: int, view: PictureView | None = None) -> np.ndarray:
    """uint8 (0, out_height, out_width, 3): no picture, of the size that pictures would have."""
    return collect([np.zeros((height, width, 3), dtype=np.uint8)], np.zeros(1, np.int64), view)[:0]
