"""What every decoder answers."""

from pathlib import Path
from typing import Protocol

import numpy as np

from nexus.data.pictures import PictureView
from nexus.errors import DataError


class Decoder(Protocol):
    """Reads frames by number. Decoders can be pickled and hold no open file between calls."""

    @property
    def name(self) -> str:
        """Short name; decoders whose pixels differ have different ones."""
        ...

    def timestamps(self, path: str | Path) -> np.ndarray:
        """float64 (frames,): when each frame is shown, seconds after the first, increasing.

        Raises:
            DataError: the file cannot be read as video.
        """
        ...

    def frames(
        self, path: str | Path, indices: np.ndarray, view: PictureView | None = None
    ) -> np.ndarray:
        """uint8 (n, height, width, 3): frames by their numbers in `timestamps`, in any order.

        Decoded pictures are shown by `view` as they come, before they are kept: the result has the
        view's size. It sees each distinct picture once, or again if decoding starts over.

        Raises:
            DataError: naming the file and what happened.
            ValueError: `indices` is not a list of whole numbers from 0 on.
        """
        ...


def frame_numbers(indices: np.ndarray, count: int) -> np.ndarray:
    """Checked numbers, int64 (n,), of frames of a video that has `count` of them.

    Raises:
        DataError: a frame after the last one.
        ValueError: `indices` is not a list of whole numbers from 0 on.
    """
    numbers = np.asarray(indices)
    if numbers.size == 0:
        return np.zeros(0, np.int64)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or numbers.min() < 0:
        raise ValueError(f"indices: expected a list of whole numbers >= 0, got {indices!r}")
    if numbers.max() >= count:
        raise DataError(
            f"asked for frame {numbers.max()}, counted from 0, but there are {count}; has the file "
            "changed since it was indexed?"
        )
    return numbers.astype(np.int64)
