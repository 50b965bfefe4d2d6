"""Choosing a decoder: PyAV by default, torchcodec on request, pictures for directories."""

from typing import Literal

from nexus.data.catalog import VideoRecord
from nexus.data.frames import FrameFolder
from nexus.data.protocol import Decoder, StreamInfo
from nexus.data.pyav import PyAVDecoder
from nexus.data.torchcodec import TorchCodecDecoder

__all__ = ["Decoder", "DecoderName", "StreamInfo", "choose_decoder", "decoder_for"]

DecoderName = Literal["auto", "pyav", "torchcodec"]


def choose_decoder(name: DecoderName = "auto", *, threads: int = 1) -> Decoder:
    """The decoder for video files.

    Both give the same frames for the same times and tie in speed (within measuring noise), so
    "auto" means PyAV: it is always installed and brings its own FFmpeg.

    Args:
        name: which library decodes.
        threads: FFmpeg threads for one file; loaders parallelise over workers instead.

    Raises:
        DataError: torchcodec was asked for and does not load.
        ValueError: the name is unknown.
    """
    if name in ("auto", "pyav"):
        return PyAVDecoder(threads)
    if name == "torchcodec":
        return TorchCodecDecoder(threads)
    raise ValueError(f"unknown decoder {name!r}; expected auto, pyav or torchcodec")


def decoder_for(record: VideoRecord, video: Decoder) -> Decoder:
    """What reads this record: `video` for a file, a `FrameFolder` for a directory of pictures."""
    return FrameFolder(record.fps) if record.kind == "frames" else video
