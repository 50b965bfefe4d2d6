"""Pictures of more than eight bits: shown by the values of their whole video."""

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nexus.data.catalog.catalog import scan
from nexus.data.loading.cache import CacheConfig
from nexus.data.loading.video_reader import VideoReader
from nexus.data.stills import deep
from nexus.data.stills.depth import Levels, Values, levels_for

COUNT, SHAPE = 6, (24, 36)


def scenes(most: int, low: int = 0) -> np.ndarray:
    """int64 (frames, height, width): noise that gets brighter from picture to picture."""
    rng = np.random.default_rng(most)
    tops = np.linspace(most // 8, most, COUNT).astype(int)
    pictures = np.stack([rng.integers(low, top + 1, SHAPE) for top in tops])
    pictures[-1, 0, 0], pictures[0, 0, 0] = most, low
    return pictures


def write_png(path: Path, picture: np.ndarray) -> None:
    """16-bit colours (Pillow cannot write them), byte by byte as the specification has it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    height, width = picture.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in picture)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2I5B", width, height, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def write_video(path: Path, pictures: np.ndarray, codec: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = SHAPE
        stream.pix_fmt = "gray16le"
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint16), format="gray16le")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_folder(folder: Path, pictures: np.ndarray, extension: str, **options) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        path = folder / f"frame_{number}.{extension}"
        if picture.ndim == 3:
            write_png(path, picture)
        else:
            Image.fromarray(picture).save(path, **options)
    return folder


def write_stack(path: Path, pictures: np.ndarray) -> Path:
    first, *others = [Image.fromarray(picture) for picture in pictures]
    first.save(path, save_all=True, append_images=others)
    return path


def check_shown(source: Path, expected: np.ndarray, remark: str | None, tmp_path: Path) -> None:
    """The same eight bits however and in whatever order they are asked for; at most one remark."""
    catalog = scan(source, workers=0)
    [record] = catalog.records
    told = [problem.reason for problem in catalog.problems]
    assert told == ([remark] if remark else [])
    if expected.ndim == 3:
        expected = np.repeat(expected[..., None], 3, axis=3)
    deep._known.clear()  # as in another process
    for cache in (
        None,
        CacheConfig(kind="memory"),
        CacheConfig(kind="disk", folder=tmp_path / "c"),
    ):
        reader = VideoReader(catalog, cache=cache)
        order = np.random.default_rng(0).permutation(record.num_frames)
        for number in order:
            [frame] = reader.frames(0, np.array([number]))
            np.testing.assert_array_equal(frame, expected[number])
        np.testing.assert_array_equal(reader.frames(0, order), expected[order])


@pytest.mark.parametrize("bits", [8, 9, 12, 14, 16])
@pytest.mark.parametrize("kind", ["png", "tif", "stack", "colour", "ffv1"])
def test_whole_numbers_are_shown_by_the_bits_that_the_whole_video_uses(tmp_path, bits, kind):
    pictures = scenes(2**bits - 1).astype(np.uint16)
    if kind == "colour":
        pictures = np.stack([pictures, pictures[:, ::-1], pictures // 2], axis=3)
    match kind:
        case "ffv1":
            source = write_video(tmp_path / "v.mkv", pictures, kind)
        case "stack":
            source = write_stack(tmp_path / "s.tif", pictures)
        case _:
            extension = "png" if kind == "colour" else kind
            source = write_folder(tmp_path / "f", pictures, extension)
    remark = None if bits == 16 else f"16-bit pictures that use {bits} bits: shown as such"
    check_shown(source, (pictures >> (bits - 8)).astype(np.uint8), remark, tmp_path)


def test_what_the_file_states_comes_first(tmp_path):
    pictures = scenes(900).astype(np.uint16)  # would need ten bits
    folder = write_folder(tmp_path / "f", pictures, "tif", tiffinfo={281: 4095})
    remark = "16-bit pictures that hold 12 bits: shown as such"
    check_shown(folder, (pictures >> 4).astype(np.uint8), remark, tmp_path)
    dark = scenes(900)
    lines = tmp_path / "p"
    lines.mkdir()
    for number, picture in enumerate(dark):
        values = picture.astype(">u2").tobytes()
        (lines / f"{number}.pgm").write_bytes(b"P5 36 24 65535\n" + values)
    check_shown(lines, (dark >> 8).astype(np.uint8), None, tmp_path)


@pytest.mark.parametrize(
    ("low", "high", "black", "white", "remark"),
    [
        (0, 1, 0, 1, "floating-point pictures of values in 0..1: shown as such"),
        (0, 0.4, 0, 1, "floating-point pictures of values in 0..1: shown as such"),
        (3, 200, 0, 255, "floating-point pictures of values in 0..255: shown as such"),
        (-2, 6, -2, 6, "floating-point pictures of values from -2 to 6: shown from black to white"),
        (
            0,
            9000,
            0,
            9000,
            "floating-point pictures of values from 0 to 9000: shown from black to white",
        ),
    ],
)
@pytest.mark.parametrize("stacked", [False, True])
def test_floating_point_pictures(tmp_path, low, high, black, white, remark, stacked):
    unit = scenes(1021).astype(np.float32) / 1021  # a prime: no value is halfway
    pictures = (low + unit * (high - low)).astype(np.float32)
    pictures[2, 1, 1] = np.nan
    write = write_stack if stacked else lambda path, some: write_folder(path, some, "tif")
    source = write(tmp_path / ("s.tif" if stacked else "f"), pictures)
    share = (pictures.astype(np.float64) - black) / (white - black)
    expected = np.clip(np.floor(255 * share + 0.5), 0, 255)
    check_shown(source, np.nan_to_num(expected).astype(np.uint8), remark, tmp_path)


@pytest.mark.parametrize(("low", "high"), [(0, 300_000), (-700, 1000)])
def test_pictures_of_32_bits(tmp_path, low, high):
    pictures = scenes(high, low).astype(np.int32)
    folder = write_folder(tmp_path / "f", pictures, "tif")
    if low == 0:
        expected, remark = pictures >> 11, "32-bit pictures that use 19 bits: shown as such"
    else:
        expected = np.floor(255 * (pictures - low) / (high - low) + 0.5)
        remark = "32-bit pictures of values from -700 to 1000: shown from black to white"
    check_shown(folder, expected.astype(np.uint8), remark, tmp_path)


def test_a_picture_that_changes_is_measured_again(tmp_path):
    folder = write_folder(tmp_path / "f", scenes(4095).astype(np.uint16), "png")
    before = VideoReader(scan(folder, workers=0)).frames(0, np.array([0]))
    bright = np.full(SHAPE, 65535, np.uint16)
    Image.fromarray(bright).save(folder / "frame_5.png")
    after = VideoReader(scan(folder, workers=0)).frames(0, np.array([0]))
    np.testing.assert_array_equal(after, before >> 4)


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1), st.sampled_from([None, 12]))
def test_bits_are_those_of_the_largest_value(numbers, stated):
    values = Values.of(np.array(numbers, np.int64))
    levels, _ = levels_for(values, stated)
    shift = stated or 8
    while stated is None and 2**shift <= max(numbers):
        shift += 1
    shift -= 8
    shown = levels.show(np.array(numbers, np.int64))
    assert shown.tolist() == [min(255, number >> shift) for number in numbers]
    floats = Levels(levels.low, levels.step).show(np.array(numbers, np.float64))
    assert floats.tolist() == shown.tolist()


def test_nothing_but_what_is_no_number():
    assert Values.of(np.full((2, 2), np.nan)) is None
    levels, remark = levels_for(None)
    assert remark is None and levels.show(np.full((2, 2), np.inf)).max() <= 255
    flat = levels_for(Values(-3.0, -3.0, True, 32))[0]
    assert flat.show(np.array([-3.0])).tolist() == [0]
