"""Picture files that hold several pictures: each is a video of its own."""

import struct
from pathlib import Path

import numpy as np
import pytest
from odd_videos import draw_number, read_number
from PIL import Image
from watching import Corner

from nexus.data.catalog.catalog import scan
from nexus.data.loading.video_reader import VideoReader
from nexus.data.stills.pages import pages_of
from nexus.data.stills.stack import PictureStack
from nexus.data.stills.stills import find_stills
from nexus.errors import DataError

DURATIONS = [40, 40, 100, 40, 250, 40, 40, 40]
"""Milliseconds."""
KINDS = {
    "webp": {"lossless": True, "duration": DURATIONS},
    "png": {"duration": DURATIONS},
    "apng": {"duration": DURATIONS, "format": "PNG"},
    "tif": {},
    "tiff": {"compression": "tiff_lzw", "big_tiff": True},
}


def write_stack(path: Path, start: int = 0, count: int = len(DURATIONS), **changes) -> Path:
    pictures = [Image.fromarray(draw_number(start + number)) for number in range(count)]
    options = {**KINDS[path.suffix[1:]], **changes}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
    return path


def with_pillow(path: Path) -> list[np.ndarray]:
    """The oracle: one picture after the other."""
    pictures = []
    with Image.open(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            pictures.append(np.array(image.convert("RGB")))
    return pictures


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_twelve_is_twelve_videos(tmp_path, kind):
    for number in range(12):
        write_stack(tmp_path / f"clip_{number}.{kind}", 100 * number, 3 + number % 2, duration=40)
    catalog = scan(tmp_path, workers=0)
    assert [record.key for record in catalog.records] == sorted(
        f"clip_{number}.{kind}" for number in range(12)
    )
    reader = VideoReader(catalog)
    for place, record in enumerate(catalog.records):
        first = 100 * int(record.path.stem.removeprefix("clip_"))
        assert record.kind == "stack" and record.num_frames == 3 + (first // 100) % 2
        shown = reader.frames(place, np.arange(record.num_frames)[::-1])
        assert [read_number(one) - first for one in shown] == [*range(record.num_frames)][::-1]
    assert not catalog.problems


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_in_any_order_are_those_in_order(tmp_path, kind):
    path = write_stack(tmp_path / f"a.{kind}", 7)
    oracle = with_pillow(path)
    decoder, numbers = PictureStack(fps=8), np.array([5, 0, 0, 7, 2])
    frames = decoder.frames(path, numbers)
    np.testing.assert_array_equal(frames, np.stack([oracle[number] for number in numbers]))
    cut = decoder.frames(path, numbers, Corner(3, 5))
    np.testing.assert_array_equal(cut, frames[:, :3, :5])
    assert decoder.frames(path, np.array([])).shape == (0, 48, 72, 3)
    with pytest.raises(DataError, match=r"a\..*asked for frame 8.*there are 8"):
        decoder.frames(path, np.array([8]))
    stated = None if kind.startswith("tif") else np.array([0, *np.cumsum(DURATIONS)[:-1]]) / 1000
    times = np.arange(8) / 8 if stated is None else stated
    np.testing.assert_allclose(decoder.timestamps(path), times)
    catalog = scan(path, workers=0, frames_fps=8)
    [record] = catalog.records
    assert record.num_frames == 8 and (record.height, record.width) == (48, 72)
    assert record.variable_frame_rate == (stated is not None)
    kinds = [problem.kind for problem in catalog.problems]
    assert kinds == ["variable_frame_rate"] * record.variable_frame_rate
    assert record.fps == pytest.approx(8 if stated is None else 7 / stated[-1])


def test_times_are_those_that_pillow_finds(tmp_path):
    for kind in ("webp", "png"):
        path = write_stack(tmp_path / f"a.{kind}")
        with Image.open(path) as image:
            durations = []
            for number in range(8):
                image.seek(number)
                image.load()
                durations.append(image.info["duration"] / 1000)
        pages = pages_of(path)
        assert pages is not None and pages.seconds == pytest.approx(durations)
    still = pages_of(write_stack(tmp_path / "none.png", duration=0))
    assert still is not None and still.seconds == (0.1,) * 8


def test_a_cover_is_no_part_of_an_animation(tmp_path):
    path = write_stack(tmp_path / "a.png", default_image=True)
    decoder = PictureStack()
    assert len(decoder.timestamps(path)) == 7
    assert [read_number(one) for one in decoder.frames(path, np.arange(7))] == [*range(1, 8)]


def test_previews_are_no_pages(tmp_path):
    big, small = (Image.fromarray(draw_number(1, 2 * n, 3 * n)) for n in (16, 8))
    path = tmp_path / "a.tif"
    big.save(path, save_all=True, append_images=[small], tiffinfo={254: 0})
    assert pages_of(path) is not None
    data = bytearray(path.read_bytes())
    place = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, place)[0]
    second = struct.unpack_from("<I", data, place + 2 + 12 * count)[0]
    for entry in range(second + 2, second + 2 + 12 * 12, 12):
        if struct.unpack_from("<H", data, entry)[0] == 254:
            struct.pack_into("<I", data, entry + 8, 1)
    path.write_bytes(data)
    assert pages_of(path) is None


@pytest.mark.parametrize("kind", ["png", "webp", "tif", "bmp", "jpg"])
def test_one_picture_is_no_video(tmp_path, kind):
    for name in ("beach", "forest"):
        Image.fromarray(draw_number(1)).save(tmp_path / f"{name}.{kind}")
    (tmp_path / "sub").mkdir()
    assert pages_of(tmp_path / f"beach.{kind}") is None
    with pytest.raises(DataError, match="no videos found"):
        scan(tmp_path, workers=0)
    assert len(find_stills(tmp_path)) == 2


def test_stacks_beside_videos_and_series(clips):
    write_stack(clips / "a.webp", duration=40)
    write_stack(clips / "sub" / "f_3.png", duration=40)
    for number in range(3):
        Image.fromarray(draw_number(number)).save(clips / "sub" / f"f_{number}.png")
    (clips / "sub" / "b.mp4").unlink()
    catalog = scan(clips, workers=0)
    assert {record.key: (record.kind, record.num_frames) for record in catalog.records} == {
        "a.mp4": ("video", 40),
        "a.webp": ("stack", 8),
        "sub/f_3.png": ("stack", 8),
        "sub": ("frames", 4),
    }
    [problem] = catalog.problems  # its name makes it one of the series too, and that is said
    assert problem.reason.startswith("1 of the files hold several pictures, of which the first")


def test_what_is_wrong_is_named(tmp_path):
    path = write_stack(tmp_path / "a.webp")
    path.write_bytes(path.read_bytes()[:-200])
    other = tmp_path / "b.tif"
    sizes = [Image.fromarray(draw_number(1, height, 72)) for height in (48, 40, 48)]
    sizes[0].save(other, save_all=True, append_images=sizes[1:])
    catalog = scan(tmp_path, workers=0)
    reasons = {Path(one.path).name: one.reason for one in catalog.problems}
    assert set(reasons) == {"a.webp", "b.tif"} and not catalog.records
    assert "not a readable picture" in reasons["a.webp"]
    assert reasons["b.tif"] == "picture 2 is 72x40, the first one 72x48; one size is needed"
    with pytest.raises(DataError, match=r"b\.tif: the pictures change their size"):
        PictureStack().frames(other, np.arange(3))
    with pytest.raises(DataError, match="gone.tif: cannot be read"):
        PictureStack().timestamps(tmp_path / "gone.tif")
