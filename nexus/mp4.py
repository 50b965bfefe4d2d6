"""Frames become a real H.264 mp4 file, the same bytes each time."""

import io
from fractions import Fraction
from typing import Annotated

import av
import numpy as np
from jaxtyping import UInt8
from pydantic import AfterValidator


def _even(side: int) -> int:
    if side % 2:
        raise ValueError(f"got {side}; expected an even number (the video's colour is halved)")
    return side


EvenSide = Annotated[int, AfterValidator(_even)]
"""A side of a video in pixels, as a setting."""


def encode_mp4(
    video: UInt8[np.ndarray, "frames height width 3"],
    fps: float,
    *,
    crf: int,
    keyframe_every: int,
) -> bytes:
    """An H.264 (yuv420p) mp4 file; one encoder thread, so equal frames give equal bytes.

    Args:
        video: RGB, 0..255; height and width are even.
        fps: frames a second.
        crf: x264's quality (0 best).
        keyframe_every: frames a group; 1: each frame is coded by itself.
    """
    buffer = io.BytesIO()
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = keyframe_every
        stream.thread_count = 1
        # zerolatency: no look-ahead. With it x264 gives other bytes now and then when several
        # encoders run at once. sc_threshold: sensor noise is no scene cut.
        stream.options = {
            "crf": str(crf),
            "preset": "veryfast",
            "tune": "zerolatency",
            "sc_threshold": "0",
        }
        for number, array in enumerate(video):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
