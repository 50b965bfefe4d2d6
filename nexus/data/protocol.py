"""What every decoder answers, and what it says about a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from nexus.data.pictures import PictureView


@dataclass(frozen=True)
class StreamInfo:
    """One video as a viewer sees it: sizes in pixels after rotation, times in seconds."""

    num_frames: int
    fps: float
    duration: float
    height: int
    width: int
    codec: str
    pixel_format: str
    pixel_aspect: float = 1.0
    variable_frame_rate: bool = False


class Decoder(Protocol):
    """Reads frames by time. Decoders can be pickled and hold no open file between calls."""

    @property
    def name(self) -> str:
        """Short name, as `choose_decoder` takes it."""
        ...

    def probe(self, path: str | Path) -> StreamInfo:
        """What the file holds.

        Raises:
            DataError: it cannot be read as video.
        """
        ...

    def timestamps(self, path: str | Path) -> np.ndarray:
        """float64 (frames,): when each frame is shown, seconds after the first, increasing.

        Raises:
            DataError: the file cannot be read as video.
        """
        ...

    def frames(
        self, path: str | Path, times: np.ndarray, view: PictureView | None = None
    ) -> np.ndarray:
        """uint8 (n, height, width, 3): the frame on screen at each of n times (seconds, float64).

        Decoded pictures are shown by `view` as they come, before they are kept: the result has the
        view's size. It sees each distinct picture once, or again if decoding starts over.

        Raises:
            DataError: naming the file and what happened.
            ValueError: `times` is not a list of finite, non-negative numbers.
        """
        ...
