"""How pictures are turned where the stream itself says it, in some of its frames."""

import struct
from collections.abc import Callable

import av
import numpy as np
import pytest
from odd_videos import write_clip
from remuxing import remuxed

from nexus.data.catalog.inspection import inspect
from nexus.data.videos.orientation_marks import orientation_mark
from nexus.data.videos.pyav import PyAVDecoder

COUNT = 40


def bits(text: str) -> bytes:
    return int(text, 2).to_bytes(len(text) // 8, "big")


def h264_message(mirror: bool, degrees: int) -> bytes:
    """A display orientation (ITU-T H.264, D.1.27): flags, angle, period 0, no extension."""
    angle = f"{round(degrees * 65536 / 360):016b}"
    return b"\x06\x2f\x03" + bits(f"0{int(mirror)}0{angle}10100") + b"\x80"


def hevc_message(mirror: bool, degrees: int) -> bytes:
    """A display orientation (ITU-T H.265, D.2.17): flags, angle, no persistence."""
    angle = f"{round(degrees * 65536 / 360):016b}"
    return b"\x4e\x01\x2f\x03" + bits(f"0{int(mirror)}0{angle}01000") + b"\x80"


def exif(orientation: int) -> bytes:
    """A JPEG segment with one EXIF entry, the orientation."""
    entry = struct.pack("<HHHII", 1, 0x0112, 3, 1, orientation) + bytes(4)
    body = b"Exif\0\0II*\0" + struct.pack("<I", 8) + entry
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def in_mp4(message: bytes) -> Callable[[bytes], bytes]:
    return lambda data: len(message).to_bytes(4, "big") + message + data


def annex_b(message: bytes) -> Callable[[bytes], bytes]:
    return lambda data: b"\0\0\0\1" + message + data


def in_jpeg(message: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:2] + message + data[2:]


H265 = {"codec": "libx265", "options": {"x265-params": "log-level=none:pools=none"}}
JPEG = {"codec": "mjpeg", "pixel_format": "yuvj420p", "b_frames": 0}
CASES = {
    "mirrored.mp4": ({}, in_mp4(h264_message(True, 0)), (True, 0)),
    "turned.mp4": ({}, in_mp4(h264_message(False, 90)), (False, 90)),
    "mirrored.h264": ({}, annex_b(h264_message(True, 0)), (True, 0)),
    "mirrored_hevc.mp4": (H265, in_mp4(hevc_message(True, 0)), (True, 0)),
    "turned_hevc.hevc": (H265, annex_b(hevc_message(False, 180)), (False, 180)),
    "upside_down.avi": (JPEG, in_jpeg(exif(3)), (False, 180)),
    "portrait.avi": (JPEG, in_jpeg(exif(8)), (False, 90)),
}


@pytest.mark.parametrize("frames", [range(1), range(20, 30), range(COUNT)], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_what_some_frames_say_counts_for_all(tmp_path, name, frames):
    options, tell, (mirror, degrees) = CASES[name]
    plain = write_clip(tmp_path / f"plain_{name}", COUNT, **{"b_frames": 0, **options})
    told = remuxed(plain, tmp_path / name, tell, frames)
    with av.open(str(told)) as container:
        carrying = sum(frame.rotation != 0 for frame in container.decode(video=0))
    assert carrying > 0  # the frames that carry it; in HEVC also those that follow
    every = np.arange(COUNT)
    expected = PyAVDecoder().frames(plain, every)
    expected = np.rot90(expected, degrees // 90, axes=(1, 2))
    expected = expected[:, :, ::-1] if mirror else expected
    decoder = PyAVDecoder()
    np.testing.assert_array_equal(decoder.frames(told, every), expected)
    for some in ([0], [1], [39], [25, 3]):
        np.testing.assert_array_equal(PyAVDecoder().frames(told, np.array(some)), expected[some])
    facts = inspect(told).facts
    assert facts is not None and (facts.height, facts.width) == expected.shape[1:3]


def test_the_container_has_the_last_word(tmp_path):
    plain = write_clip(tmp_path / "plain.mp4")
    turned = write_clip(tmp_path / "turned.mp4", rotation=90)
    told = remuxed(turned, tmp_path / "told.mp4", in_mp4(h264_message(True, 0)), range(5, 9))
    every = np.arange(COUNT)
    expected = np.rot90(PyAVDecoder().frames(plain, every), 1, axes=(1, 2))
    np.testing.assert_array_equal(PyAVDecoder().frames(told, every), expected)


def test_exif_without_an_orientation_turns_nothing(tmp_path):
    plain = write_clip(tmp_path / "plain.avi", **JPEG)
    told = remuxed(plain, tmp_path / "told.avi", in_jpeg(exif(1)), range(20, 40))
    every = np.arange(COUNT)
    np.testing.assert_array_equal(
        PyAVDecoder().frames(told, every), PyAVDecoder().frames(plain, every)
    )


AVCC = b"\1\x64\0\x0a\xff\xe1"  # lengths of four bytes


@pytest.mark.parametrize(
    ("units", "told"),
    [
        ([h264_message(True, 0), b"\x65\x88"], True),
        ([b"\x67\x64", b"\x68\xee", h264_message(True, 0), b"\x65\x88"], True),
        ([b"\x06\x05\x02\x2f\x2f\x80", b"\x65\x88"], False),  # another message that holds a 47
        (
            [b"\x06\x05\x02\x2f\x2f\x2f\x03\x40\0\x14\x80", b"\x65\x88"],
            True,
        ),  # the second in a unit
        ([b"\x06\x05\x04\0\0\3\1\7\x2f\x03\x40\0\x14\x80"], True),  # after an emulation prevention
        ([b"\x06\xff\x05\x01\x2f\x80"], False),
        ([b"\x65\x88", h264_message(True, 0)], False),  # after the picture
        ([b"\x06\x2f"], False),  # cut off
        ([], False),
    ],
)
def test_messages_are_found_in_both_ways_to_divide_packets(units, told):
    divided = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    marked = b"".join(b"\0\0\1" + unit for unit in units)
    for extradata, data in ((AVCC, divided), (None, marked)):
        tells = orientation_mark("h264", extradata)
        assert tells is not None and tells(memoryview(data)) == told
    assert orientation_mark("vp9", None) is None
