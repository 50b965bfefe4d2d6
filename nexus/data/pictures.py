"""Pictures on their way out of a decoder: each is viewed as it comes, then kept."""

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Int64, UInt8

PictureView = Callable[
    [UInt8[np.ndarray, "height width 3"]], UInt8[np.ndarray, "out_height out_width 3"]
]


def collect(
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]],
    place: Int64[np.ndarray, " times"],
    view: PictureView | None = None,
) -> UInt8[np.ndarray, "times out_height out_width 3"]:
    """One array of pictures of one size: at each time, picture number `place`, seen through `view`.

    Only one picture is held at its full size, so that large videos do not take a clip of memory.

    Args:
        pictures: each that is needed, once.
        place: at least one; all numbers from 0 to the largest occur.
        view: applied to each picture.
    """
    count = int(place.max()) + 1
    kept: np.ndarray | None = None
    for number, picture in enumerate(pictures):
        if view is not None:
            # Turned pictures have strides, and Pillow's a write lock, that torch does not take.
            picture = view(np.require(picture, requirements=["C", "W"]))
        if kept is None:
            kept = np.empty((count, *picture.shape), dtype=np.uint8)
        kept[number] = picture
    assert kept is not None
    return kept if np.array_equal(place, np.arange(count)) else kept[place]


def none_of(height: int, width: int, view: PictureView | None = None) -> np.ndarray:
    """uint8 (0, out_height, out_width, 3): no picture, of the size that pictures would have."""
    return collect([np.zeros((height, width, 3), dtype=np.uint8)], np.zeros(1, np.int64), view)[:0]
