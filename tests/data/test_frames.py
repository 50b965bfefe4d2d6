"""Directories of pictures read as videos."""

import numpy as np
import pytest
from by_time import frames_at
from odd_videos import draw_number, read_number
from PIL import Image
from watching import Corner

from nexus.data.catalog.catalog import scan
from nexus.data.stills.files import list_images
from nexus.data.stills.frames import FrameFolder
from nexus.errors import DataError


def write_pictures(folder, count, extension="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(draw_number(i)).save(folder / f"frame_{i}.{extension}")
    return folder


@pytest.mark.parametrize("extension", ["png", "jpg", "bmp"])
def test_pictures_are_frames_in_natural_order(tmp_path, extension):
    folder = write_pictures(tmp_path / "clip", 12, extension)
    (folder / ".frame_0.png").write_bytes(b"hidden")
    (folder / "notes.txt").write_text("not a picture")
    reader = FrameFolder(fps=5)
    times = reader.timestamps(folder)
    np.testing.assert_allclose(times, np.arange(12) / 5)
    wanted = np.array([11, 2, 2, 10])
    frames = frames_at(reader, folder, times[wanted] + 0.19)
    np.testing.assert_array_equal(reader.frames(folder, wanted), frames)
    assert frames.shape == (4, 48, 72, 3) and frames.dtype == np.uint8
    assert [read_number(frame) for frame in frames] == wanted.tolist()
    [record] = scan(folder, frames_fps=5, workers=0).records
    assert (record.num_frames, record.fps, record.duration) == (12, 5, 2.4)
    assert (record.height, record.width) == (48, 72)
    assert reader.frames(folder, np.array([])).shape == (0, 48, 72, 3)


def test_exif_rotation_and_deep_grey(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    picture = draw_number(77)
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    frame = FrameFolder().frames(tmp_path, np.array([0]))[0]
    np.testing.assert_array_equal(frame, np.rot90(picture, -1))
    [record] = scan(tmp_path, workers=0).records
    assert (record.height, record.width) == frame.shape[:2]
    (tmp_path / "turned.png").unlink()
    levels = np.linspace(0, 65535, 48 * 72).reshape(48, 72).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    frame = FrameFolder().frames(tmp_path, np.array([0]))[0]
    np.testing.assert_array_equal(frame, np.repeat((levels >> 8)[:, :, None], 3, axis=2))


def test_pictures_are_viewed_as_they_are_read(tmp_path):
    folder = write_pictures(tmp_path / "clip", 6)
    reader, corner = FrameFolder(fps=10), Corner(3, 5)
    numbers = np.array([4, 1, 4, 5])
    whole = reader.frames(folder, numbers)
    np.testing.assert_array_equal(reader.frames(folder, numbers, corner), whole[:, :3, :5])
    np.testing.assert_array_equal(np.stack(corner.seen), whole[[1, 0, 3], :3, :5])
    assert reader.frames(folder, np.array([]), corner).shape == (0, 3, 5, 3)
    Image.fromarray(draw_number(3, 60, 80)).save(folder / "frame_3.png")
    with pytest.raises(DataError, match=r"frame_3\.png: 80x60, but frame_0\.png is 72x48"):
        reader.frames(folder, np.array([0, 3]), corner)


def test_what_is_wrong_is_named(tmp_path):
    folder = write_pictures(tmp_path / "clip", 4)
    reader = FrameFolder(fps=10)
    with pytest.raises(DataError, match=r"clip: .*ends at 0\.400 s"):
        frames_at(reader, folder, np.array([0.6]))
    with pytest.raises(DataError, match=r"clip: asked for frame 6.*there are 4"):
        reader.frames(folder, np.array([6]))
    Image.fromarray(draw_number(3, 60, 80)).save(folder / "frame_3.png")
    with pytest.raises(DataError, match=r"frame_3\.png: 80x60, but frame_0\.png is 72x48"):
        reader.frames(folder, np.array([0, 3]))
    (folder / "frame_1.png").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"frame_1\.png: not a readable picture"):
        reader.frames(folder, np.array([1]))
    with pytest.raises(DataError, match="holds no pictures"):
        FrameFolder().timestamps(tmp_path)
    with pytest.raises(DataError, match="gone"):
        FrameFolder().timestamps(tmp_path / "gone")
    with pytest.raises(DataError, match="gone"):
        list_images(tmp_path / "gone")
    with pytest.raises(ValueError, match="fps"):
        FrameFolder(fps=0)
