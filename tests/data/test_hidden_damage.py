"""Damage that decoders pass over in silence: caught as far as the stream lets anybody tell."""

import random
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from coded_videos import decode_everything
from odd_videos import packet_places, write_clip

from nexus.data.catalog.catalog import scan
from nexus.data.catalog.inspection import inspect
from nexus.data.videos.checksums import checksum_test
from nexus.data.videos.pyav import PyAVDecoder
from nexus.errors import DataError

COUNT, DAMAGED = 40, 19
SLICES = {"level": "3", "slices": "4", "slicecrc": "1"}
CERTAIN = {
    "jpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "jpeg.mov": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "ffv1.mkv": {"codec": "ffv1", "options": {"level": "3"}},
    "slices.mkv": {"codec": "ffv1", "options": SLICES},
    "slices.avi": {"codec": "ffv1", "options": SLICES, "gop": 5},
}
HASHES = {"x265-params": "log-level=none:pools=none:hash=1"}
IF_ASKED = {
    "hashes.mp4": {"codec": "libx265", "options": HASHES},
    "windows.avi": {"codec": "wmv2"},
    "microsoft.avi": {"codec": "msmpeg4"},
}


def textured() -> list[np.ndarray]:
    ground = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    return [np.roll(ground, 2 * i, axis=1) for i in range(COUNT)]


def write_textured(path: Path, **options) -> Path:
    options = {"gop": 1, "b_frames": 0, **options}
    return write_clip(path, pictures=textured(), height=48, width=80, **options)


def flip(path: Path, packet: int, bits: int = 30) -> Path:
    """Flip bits in the middle of a packet; all its headers stay."""
    position, size, _ = packet_places(path)[packet]
    data, draw = bytearray(path.read_bytes()), random.Random(3)
    for _ in range(bits):
        data[position + draw.randrange(size // 3, 2 * size // 3)] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", CERTAIN)
def test_damage_is_an_error_where_its_frame_is_asked_for(tmp_path, name):
    path = write_textured(tmp_path / name, **CERTAIN[name])
    oracle = decode_everything(path)
    assert inspect(path, full=True).findings == ()
    flip(path, DAMAGED)
    assert len(decode_everything(path)) == COUNT or name.startswith("jpeg")  # FFmpeg sees nothing
    decoder = PyAVDecoder()
    with pytest.raises(DataError, match=rf"{name}: the frame at 0\.633 s cannot be decoded"):
        decoder.frames(path, np.array([DAMAGED]))
    good = np.r_[:DAMAGED, 20:COUNT] if CERTAIN[name].get("gop", 1) == 1 else np.r_[:19, 20:40]
    np.testing.assert_array_equal(decoder.frames(path, good), np.stack([oracle[i] for i in good]))
    assert inspect(path).findings == ()
    reasons = [one.reason for one in inspect(path, full=True).findings]
    assert len(reasons) == 1 and "1 of 40 frames do not decode" in reasons[0]


@pytest.mark.parametrize("name", IF_ASKED)
def test_a_full_check_makes_decoders_tell_more(tmp_path, name):
    path = write_textured(tmp_path / name, gop=10, **IF_ASKED[name])
    assert inspect(path, full=True).findings == ()
    flip(path, DAMAGED)
    reasons = [one.reason for one in inspect(path, full=True).findings]
    assert len(reasons) == 1 and "1 of 40 frames do not decode" in reasons[0]


def test_a_full_check_is_not_answered_by_a_quick_one(tmp_path):
    videos, index = tmp_path / "videos", tmp_path / "index"
    videos.mkdir()
    flip(write_textured(videos / "a.avi", **CERTAIN["jpeg.avi"]), DAMAGED)
    for full, problems in ((False, 0), (True, 1), (False, 1)):
        catalog = scan(videos, index_dir=index, workers=0, full=full)
        assert len(catalog.problems) == problems


def test_sums_of_ffv1_against_the_definition(tmp_path):
    """RFC 9043, 4.9.3: polynomial 0x04C11DB7, highest bit first, from 0, over a whole slice."""

    def slow(data: bytes) -> int:
        crc = 0
        for byte in data:
            crc ^= byte << 24
            for _ in range(8):
                crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
        return crc

    path = write_textured(tmp_path / "slices.mkv", **CERTAIN["slices.mkv"])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packet = next(bytes(packet) for packet in container.demux(stream))
        whole = checksum_test("ffv1", stream.codec_context.extradata)
    end, slices = len(packet), 0
    while end:
        start = end - 8 - int.from_bytes(packet[end - 8 : end - 5], "big")
        assert slow(packet[start:end]) == 0
        end, slices = start, slices + 1
    assert slices == 4 and whole is not None and whole(packet)
    for at in range(0, len(packet), 7):
        damaged = bytearray(packet)
        damaged[at] ^= 1 + zlib.crc32(bytes([at % 256])) % 255
        assert not whole(bytes(damaged))
    without = write_textured(
        tmp_path / "n.mkv", codec="ffv1", options={"slicecrc": "0", "level": "3"}
    )
    with av.open(str(without)) as container:
        stream = container.streams.video[0]
        whole = checksum_test("ffv1", stream.codec_context.extradata)
        assert whole and all(whole(bytes(p)) for p in container.demux(stream) if p.size)
    assert checksum_test("h264", b"") is None
