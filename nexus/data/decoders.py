"""Which decoder reads what: by the kind that the check found."""

from typing import Literal

from nexus.data.protocol import Decoder
from nexus.data.stills.frames import FrameFolder
from nexus.data.stills.stack import PictureStack

Kind = Literal["video", "frames", "stack"]
"""A video file; a folder or series of pictures, or a single one; a file of several pictures."""


def decoder_for(kind: Kind, fps: float, of_videos: Decoder) -> Decoder:
    """The decoder for a kind.

    Args:
        fps: frames a second of pictures that do not say when they are shown.
        of_videos: reads video files.
    """
    if kind == "frames":
        return FrameFolder(fps)
    return PictureStack(fps) if kind == "stack" else of_videos
