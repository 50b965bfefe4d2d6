"""Video files whose index, flags, tables, times or bytes mislead whoever reads them."""

from pathlib import Path

import numpy as np
from odd_videos import packet_places, write_clip
from remuxing import remuxed

COUNT = 48


def moving(count: int = COUNT, height: int = 32, width: int = 48) -> list[np.ndarray]:
    """A patch that moves over ground that never changes: coded by what moved alone."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    pictures = []
    for i in range(count):
        picture = ground.copy()
        picture[8:20, i % (width - 12) :][:, :12] = rng.integers(0, 256, 3, dtype=np.uint8)
        pictures.append(picture)
    return pictures


def write_moving(path: Path, codec: str, pixel_format: str = "yuv420p", **options) -> Path:
    pictures = moving()
    options = {"gop": 10, "b_frames": 0, **options}
    return write_clip(path, codec=codec, pixel_format=pixel_format, pictures=pictures, height=32,
                      width=48, **options)  # fmt: skip


def palette_video(path: Path) -> Path:
    """Uncompressed pictures of 256 colours: the palette stands before the first one only."""
    palette = np.random.default_rng(1).integers(0, 256, (256, 4), dtype=np.uint8)
    palette[:, 0] = 255  # opaque
    indexed = [(np.ascontiguousarray(one[..., 0]), palette) for one in moving()]
    return write_clip(path, codec="rawvideo", pixel_format="pal8", b_frames=0, height=32, width=48,
                      pictures=indexed, picture_format="pal8")  # fmt: skip


def lost_index_mp4(path: Path) -> Path:
    """The box that lists the keyframes is gone: all frames are keyframes, says the standard."""
    write_moving(path, "mpeg4")
    data = path.read_bytes()
    assert data.count(b"stss") == 1
    path.write_bytes(data.replace(b"stss", b"free"))
    return path


def shifted_index_mp4(path: Path) -> Path:
    """The box names a keyframe three frames late."""
    write_moving(path, "mpeg4")
    data = bytearray(path.read_bytes())
    last = data.index(b"stss") + 12 + 4 * 4
    assert int.from_bytes(data[last : last + 4], "big") == 41
    data[last + 3] = 44
    path.write_bytes(data)
    return path


def cut_avi(path: Path) -> Path:
    """A recording that stopped before its index was written."""
    write_moving(path, "msmpeg4")
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"idx1")])
    return path


def lying_flash(path: Path) -> Path:
    """Every tag calls its frame a keyframe."""
    write_moving(path, "flv")
    data, at = bytearray(path.read_bytes()), 13
    while at + 11 < len(data):
        if data[at] == 9 and data[at + 11] >> 4 == 2:
            data[at + 11] = 0x10 | data[at + 11] & 15
        at += 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4
    path.write_bytes(data)
    return path


def abbreviated_jpeg(path: Path) -> Path:
    """Only the first picture brings its tables (JPEG's "abbreviated format")."""

    def strip(data: bytes) -> bytes:
        at = data.index(b"\xff\xdb")
        return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]

    whole = write_moving(path.with_name(f"whole_{path.name}"), "mjpeg", "yuvj420p")
    return remuxed(whole, path, strip, range(1, COUNT))


WRITERS = {
    "tables.avi": abbreviated_jpeg,
    "palette.avi": palette_video,
    "palette.mov": palette_video,
    "lost_index.mp4": lost_index_mp4,
    "shifted_index.mp4": shifted_index_mp4,
    "cut.avi": cut_avi,
    "lying.flv": lying_flash,
    # Decoders that mark no frame as a keyframe, whether it is one or not.
    "animation.mov": lambda path: write_moving(path, "qtrle", "rgb24"),
    "sorenson.mov": lambda path: write_moving(path, "svq1", "yuv410p"),
    # A container that marks none.
    "unmarked.nut": lambda path: write_moving(path, "rpza", "rgb555le", picture_format="rgb24"),
}


def jumping(path: Path) -> Path:
    """Two seconds at 30 frames a second, with three hours between them."""
    hours = 3 * 3600 * 30
    stamps = [*range(30), *range(hours + 30, hours + 60)]
    return write_clip(path, 60, b_frames=0, stamps=stamps)


def damaged_jpeg(path: Path) -> Path:
    """A picture in the middle has lost its sense; every header is whole."""
    write_moving(path, "mjpeg", "yuvj420p")
    position, size, _ = packet_places(path)[COUNT // 2]
    data = bytearray(path.read_bytes())
    middle = slice(position + size // 3, position + 2 * size // 3)
    data[middle] = bytes(255 - byte for byte in data[middle])
    path.write_bytes(data)
    return path
