"""Frames into mp4 files, and several mp4 files into one without coding them again."""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.error import FFmpegError
from av.video.stream import VideoStream
from jaxtyping import UInt8

from nexus.errors import DataError

Codec = Literal["av1", "h264", "lossless"]
CODECS: dict[str, tuple[str, str, dict[str, str]]] = {
    "av1": ("libsvtav1", "yuv420p", {"crf": "30", "preset": "12"}),
    "h264": ("libx264", "yuv420p", {"crf": "18", "preset": "veryfast"}),
    "lossless": ("libx264rgb", "rgb24", {"qp": "0", "preset": "veryfast"}),
}
"""Encoder, pixel format, settings. `av1`: LeRobot's own choice; `lossless`: the same bits again."""
FILE_CODEC = {"av1": "av1", "h264": "h264", "lossless": "h264"}
"""What the files say they are coded in."""
KEYFRAME_EVERY = 2
"""Frames; LeRobot's own choice: any frame is at most two decodings away."""


def write_video(
    path: Path, frames: UInt8[np.ndarray, "frames height width 3"], fps: int, codec: Codec
) -> None:
    """Write an mp4 file whose frame i is shown at `i / fps` seconds.

    Raises:
        DataError: this FFmpeg has no such encoder, or an odd side that it cannot code.
    """
    encoder, pixel_format, options = CODECS[codec]
    height, width = frames.shape[1:3]
    if pixel_format == "yuv420p" and (height % 2 or width % 2):
        raise DataError(
            f"pictures of {width}x{height} cannot be coded as {codec}: colour is halved, so both "
            "sides must be even; use the codec lossless, or another size"
        )
    os.environ.setdefault("SVT_LOG", "1")  # else SVT-AV1 tells its settings at every file
    try:
        container = av.open(str(path), "w", format="mp4")
        with container:
            stream = container.add_stream(encoder, rate=fps, options=options)
            assert isinstance(stream, VideoStream)
            stream.height, stream.width, stream.pix_fmt = height, width, pixel_format
            stream.codec_context.gop_size = KEYFRAME_EVERY
            stream.codec_context.max_b_frames = 0  # frames come in the order they are shown in
            stream.codec_context.time_base = Fraction(1, fps)
            for number, picture in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except FFmpegError as error:
        raise DataError(f"{path}: {codec} ({encoder}) does not encode here: {error}") from error


def join_videos(path: Path, parts: Sequence[tuple[Path, int]], fps: int) -> None:
    """Write the frames of several files of `write_video`, one after the other, as one file.

    Args:
        parts: each file, and its number of frames.
    """
    with av.open(str(path), "w", format="mp4") as joined:
        stream, shown = None, 0
        for part, count in parts:
            with av.open(str(part)) as container:
                source = container.streams.video[0]
                if stream is None:
                    stream = joined.add_stream_from_template(source, opaque=True)
                tick = source.time_base or Fraction(1, fps)
                offset = round(Fraction(shown, fps) / tick)
                for packet in container.demux(source):
                    if packet.size == 0 or packet.pts is None or packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    packet.stream = stream
                    joined.mux(packet)
            shown += count
