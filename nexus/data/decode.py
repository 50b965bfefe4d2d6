"""Who reads a video: PyAV or another `Decoder` for a file, pictures for a directory."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from nexus.data.catalog import VideoRecord
from nexus.data.clips import TICK, FrameTimes
from nexus.data.container import naming
from nexus.data.frames import FrameFolder
from nexus.data.pictures import PictureView
from nexus.data.protocol import Decoder
from nexus.errors import DataError


def decoder_for(record: VideoRecord, video: Decoder) -> Decoder:
    """What reads this record: `video` for a file, a `FrameFolder` for pictures."""
    return FrameFolder(record.fps) if record.kind == "frames" else video


def frames_at(
    decoder: Decoder,
    path: str | Path,
    times: Float64[np.ndarray, " n"],
    view: PictureView | None = None,
) -> UInt8[np.ndarray, "n out_height out_width 3"]:
    """The frames that are on screen at some times, seconds after the first frame, in any order.

    Raises:
        DataError: as `Decoder.frames`; or a time after the end, or at which a frame is damaged.
        ValueError: `times` is not a list of finite, non-negative numbers.
    """
    times = np.asarray(times, np.float64)
    with naming(path):
        known = FrameTimes.from_timestamps(decoder.timestamps(path))
        numbers = known.asked_at(times)
        lost = decoder.lost(path)
        if lost.size:
            newest = lost[np.maximum(np.searchsorted(lost, times + TICK, side="right") - 1, 0)]
            hit = (newest <= times + TICK) & (newest > known.time_of(numbers))
            if hit.any():
                raise DataError(
                    f"the frame at {times[hit][0]:.3f} s is damaged (its data is incomplete)"
                )
    return decoder.frames(path, numbers, view)
