"""Frames of video files with 16 bits a sample, of which the file may use fewer.

Thermal and scientific cameras write 12 or 14 bits so. FFmpeg's other deep formats (yuv420p10,
gray12) say how many bits they have, and it converts them by itself.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from nexus.data.stills.deep import levels_of, shown
from nexus.data.stills.depth import Levels, Values, levels_for
from nexus.data.videos.container import good_frames, open_video

_GREY = frozenset({"gray16le", "gray16be", "ya16le", "ya16be"})
_COLOUR = frozenset(
    f"{name}{order}"
    for name in ("rgb48", "bgr48", "rgba64", "bgra64", "gbrp16", "gbrap16")
    for order in ("le", "be")
)
DEEP = _GREY | _COLOUR
"""Names of pixel formats whose samples may use any number of bits up to 16."""
CODECS = frozenset(
    {"ffv1", "rawvideo", "png", "apng", "tiff", "huffyuv", "ffvhuff", "magicyuv", "jpeg2000"}
    | {"jpegls", "ljpeg", "dpx", "sgi", "pam"}
)
"""FFmpeg's names of the codecs that may have such frames."""


def eight_bits(frame: VideoFrame, path: Path) -> np.ndarray:
    """uint8 (height, width, 3): a frame of one of the `DEEP` formats, by its video's levels."""
    [picture] = shown([_samples(frame)], lambda: levels_of(path, lambda: measured(path)[0]))
    return picture


def measured(path: Path) -> tuple[Levels, str | None]:
    """The levels of a video file, from all of its frames, and what to say of them.

    Raises:
        DataError: the file cannot be opened.
    """
    with open_video(path) as video:
        return levels_for(Values.of_all(map(_samples, _deep(good_frames(video)))))


def has_deep_frames(path: Path) -> bool:
    """Whether the file announces frames of one of the `DEEP` formats.

    Raises:
        DataError: the file cannot be opened.
    """
    with open_video(path) as video:
        return video.stream.codec_context.pix_fmt in DEEP


def _deep(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    return (frame for frame in frames if frame.format.name in DEEP)


def _samples(frame: VideoFrame) -> np.ndarray:
    """uint16 (height, width), or (height, width, 3)."""
    grey = frame.format.name in _GREY
    return frame.reformat(format="gray16le" if grey else "rgb48le").to_ndarray()
