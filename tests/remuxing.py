"""Copies of videos whose packets are changed on the way."""

from collections.abc import Callable, Container
from pathlib import Path

import av


def remuxed(
    source: Path, path: Path, change: Callable[[bytes], bytes], frames: Container[int]
) -> Path:
    """A copy of a video whose packets at these positions in the file are changed."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        packets = [packet for packet in old.demux(stream) if packet.size]
        for number, packet in enumerate(packets):
            data = bytes(packet)
            changed = av.Packet(change(data) if number in frames else data)
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.duration, changed.is_keyframe = packet.duration, packet.is_keyframe
            changed.stream = copy
            new.mux(changed)
    return path
