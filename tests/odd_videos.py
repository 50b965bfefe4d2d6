"""Real video files for the tests: good ones whose frames carry their number, and broken ones.

Everything is written with PyAV. `draw_number` paints a number as a grid of light and dark blocks
that survives lossy coding; `read_number` reads it back.
"""

import random
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

_ROWS, _COLUMNS = 2, 6  # blocks: numbers below 4096


def draw_number(number: int, height: int = 48, width: int = 72) -> np.ndarray:
    """uint8 (height, width, 3) with `number` in binary, lowest bit first, row by row."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    for bit in range(_ROWS * _COLUMNS):
        rows, columns = _block(bit, height, width)
        picture[rows, columns] = 220 if number >> bit & 1 else 30
    return picture


def read_number(picture: np.ndarray) -> int:
    """The number that `draw_number` painted, from the middle of each block."""
    number = 0
    for bit in range(_ROWS * _COLUMNS):
        rows, columns = _block(bit, *picture.shape[:2])
        inset_y, inset_x = (rows.stop - rows.start) // 4, (columns.stop - columns.start) // 4
        middle = picture[
            rows.start + inset_y : rows.stop - inset_y,
            columns.start + inset_x : columns.stop - inset_x,
        ]
        number |= int(middle.mean() > 125) << bit
    return number


def _block(bit: int, height: int, width: int) -> tuple[slice, slice]:
    row, column = divmod(bit, _COLUMNS)
    high, wide = height // _ROWS, width // _COLUMNS
    return slice(row * high, (row + 1) * high), slice(column * wide, (column + 1) * wide)


def write_clip(
    path: Path,
    count: int = 40,
    *,
    fps: float = 30,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    gop: int = 12,
    b_frames: int = 2,
    stamps: Sequence[int] | None = None,
    tick: Fraction | None = None,
    first: int = 0,
    height: int = 48,
    width: int = 72,
    rotation: int | None = None,
    mirror: bool = False,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pictures: Sequence[np.ndarray] | None = None,
    numbers_from: int = 0,
    picture_format: str = "rgb24",
) -> Path:
    """Write a video whose frame `i` shows the number `numbers_from + i`.

    Args:
        stamps: presentation time of each frame in `tick`s (default: i, one tick a frame).
        first: ticks added to all presentation times (a start offset).
        rotation, mirror: orientation that the file asks viewers for (degrees counter-clockwise).
        pictures: the frames to write instead of numbers, in `picture_format`.
    """
    rate = Fraction(fps).limit_denominator(1001)
    tick = tick or 1 / rate
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.time_base = tick
        stream.codec_context.thread_count = 1
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=mirror)
        for i in range(count if pictures is None else len(pictures)):
            picture = draw_number(numbers_from + i, height, width) if pictures is None else None
            frame = av.VideoFrame.from_ndarray(
                pictures[i] if picture is None else picture, format=picture_format
            )
            frame.pts = first + (i if stamps is None else stamps[i])
            frame.time_base = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_variable_rate(path: Path, count: int = 60) -> Path:
    """A clip whose frames last between 20 and 100 ms."""
    draw = random.Random(7)
    stamps = np.cumsum([0] + [draw.choice([20, 40, 100]) for _ in range(count - 1)]).tolist()
    return write_clip(path, count, stamps=stamps, tick=Fraction(1, 1000))


def write_audio(path: Path, seconds: float = 1.0, cover: bool = False) -> Path:
    """A tone without video; with `cover`, a cover picture as music players expect it."""
    rate = 16000
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        picture = container.add_stream("mjpeg", rate=1) if cover else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        for start in range(0, int(seconds * rate), 1024):
            wave = np.sin(np.arange(start, start + 1024) * 440 * 2 * np.pi / rate)
            frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if picture is not None:
            frame = av.VideoFrame.from_ndarray(draw_number(5, 64, 64), format="rgb24")
            container.mux(picture.encode(frame))
            container.mux(picture.encode())
    return path


def write_without_index(path: Path) -> Path:
    """An mp4 whose second half is gone, and with it the index: a recording that was cut off."""
    write_clip(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def write_cut_short(path: Path, count: int = 60, share: float = 0.6) -> Path:
    """An mp4 with its index in front and the last part of its frames missing."""
    write_clip(path, count, container_options={"movflags": "+faststart"})
    keep = int(packet_places(path)[int(count * share)][0]) + 3  # within a frame
    path.write_bytes(path.read_bytes()[:keep])
    return path


def write_boasting_avi(path: Path, announced: int = 444, count: int = 68) -> Path:
    """An avi whose header announces more frames than it holds."""
    write_clip(path, count, codec="mpeg4", b_frames=0, fps=25)
    data = bytearray(path.read_bytes())
    main, stream = data.index(b"avih"), data.index(b"strh")
    struct.pack_into("<I", data, main + 8 + 16, announced)
    struct.pack_into("<I", data, stream + 8 + 32, announced)
    path.write_bytes(data)
    return path


def packet_places(path: Path) -> list[tuple[int, int, int]]:
    """(position in the file, bytes, pts) of each packet, in file order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [(p.pos, p.size, p.pts) for p in container.demux(stream) if p.size]


def write_damaged(path: Path, packet: int, count: int = 120, *, patched: bool = False) -> Path:
    """An mp4 with rubbish in place of one packet (in file order); its index is intact.

    With `patched`, only the lower part of the picture is rubbish, in a codec whose decoder patches
    it up and marks the frame instead of failing.
    """
    write_clip(path, count, codec="mpeg4" if patched else "libx264")
    position, size, _ = packet_places(path)[packet]
    data = bytearray(path.read_bytes())
    kept = size // 2 if patched else 0
    data[position + kept : position + size] = random.Random(3).randbytes(size - kept)
    path.write_bytes(data)
    return path


def write_truncated(path: Path, share: float = 0.6, **options) -> Path:
    """A clip of any format that loses its end."""
    write_clip(path, **options)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def write_odd_folder(path: Path, good: int = 4) -> dict[str, str]:
    """A folder as people have them: `good` clips and one of each kind of trouble.

    Returns:
        File name -> the kind of problem that a check must report ("good": none). The three-frame
        clip is "too_short" for anyone who needs more than 3 frames. "cut short.mp4" and
        "variable.mp4" stay usable; the rest does not.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    for number in range(good - 1):
        write_clip(path / f"good{number}.mp4", 48, fps=24, numbers_from=100 * number)
    write_clip(path / "Ein schöner Tag – 晴れ.mp4", 48, fps=24, numbers_from=1000)
    write_without_index(path / "truncated.mp4")
    write_cut_short(path / "cut short.mp4")
    (path / "empty.mp4").write_bytes(b"")
    (path / "text.mp4").write_text("This is not a video.\n" * 20)
    write_audio(path / "audio.mp4")
    write_clip(path / "three frames.mp4", 3)
    write_variable_rate(path / "variable.mp4")
    return {
        **{f"good{number}.mp4": "good" for number in range(good - 1)},
        "Ein schöner Tag – 晴れ.mp4": "good",
        "truncated.mp4": "truncated",
        "cut short.mp4": "truncated",
        "empty.mp4": "empty_file",
        "text.mp4": "unreadable",
        "audio.mp4": "no_video_stream",
        "three frames.mp4": "too_short",
        "variable.mp4": "variable_frame_rate",
    }
