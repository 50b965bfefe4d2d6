"""Containers and codecs that people bring, and the slow full decode of a file."""

from pathlib import Path

import av
import numpy as np

COUNT = 40
OPEN_GOP = {"x264-params": "open-gop=1:scenecut=0:keyint=12"}
CASES = {
    "h264.mp4": {},
    "one_group.mp4": {"gop": 250},
    "all_key.mp4": {"gop": 1, "b_frames": 0},
    "open_gop.mp4": {"options": OPEN_GOP, "b_frames": 3},
    "offset.mp4": {"first": 100},
    "h264.mkv": {},
    "offset.mkv": {"first": 100, "options": OPEN_GOP, "b_frames": 3},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:pools=none"}},
    "vp9.webm": {"codec": "libvpx-vp9", "b_frames": 0, "options": {"cpu-used": "8"}},
    "mpeg4.mov": {"codec": "mpeg4"},
    "pyramid.mp4": {"b_frames": 7, "options": {"x264-params": "b-pyramid=normal:b-adapt=0:ref=6"}},
    "h264.ts": {"first": 30},
    "interlaced.ts": {"options": {"x264-params": "tff=1"}},
    "interlaced.mp4": {"options": {"x264-params": "bff=1"}, "b_frames": 3},
    "open_gop.ts": {"options": OPEN_GOP, "b_frames": 3},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "mpeg1.mpg": {"codec": "mpeg1video"},
    "plain.avi": {"codec": "mpeg4", "b_frames": 0},
    "reordered.avi": {"codec": "mpeg4"},
    "h264.avi": {},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p", "b_frames": 0},
    "palette.gif": {"codec": "gif", "pixel_format": "rgb8", "b_frames": 0, "fps": 25},
    "flash.flv": {"codec": "flv", "b_frames": 0},
    "windows.wmv": {"codec": "wmv2", "b_frames": 0},
    "raw.h264": {},
}


def decode_everything(path: Path) -> list[np.ndarray]:
    """The oracle: every frame in the order in which FFmpeg shows them."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
