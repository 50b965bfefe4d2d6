"""Single pictures as videos of one frame."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from watching import Corner

from nexus.data.loading.video_reader import VideoReader
from nexus.data.stills.frames import FrameFolder
from nexus.data.stills.stills import find_stills, is_still
from nexus.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(["b.png", "inner/a.JPG", ".hidden/c.png", "inner/.d.png"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4 + number, 6, 3), 40 * number, np.uint8)).save(path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def test_a_folder_is_searched_and_broken_pictures_are_named(folder: Path) -> None:
    found = find_stills(folder)
    assert [record.key for record in found.records] == ["b.png", "inner/a.JPG"]
    assert [(r.height, r.width, r.num_frames) for r in found.records] == [(4, 6, 1), (5, 6, 1)]
    [problem] = found.problems
    assert problem.path.endswith("broken.png") and problem.fatal and problem.kind == "unreadable"


def test_given_pictures_keep_their_names(folder: Path) -> None:
    one = find_stills(folder / "b.png")
    assert [record.key for record in one.records] == ["b.png"]
    both = find_stills([folder / "b.png", folder / "inner"])
    assert [Path(r.key).name for r in both.records] == ["b.png", "a.JPG"]
    assert len({record.key for record in both.records}) == 2


def test_what_holds_no_picture_is_refused(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"no pictures found; expected files ending in \.apng"):
        find_stills(empty)
    with pytest.raises(DataError, match="no such file"):
        find_stills(tmp_path / "missing.png")


def test_which_sources_are_pictures(folder: Path) -> None:
    assert is_still(folder / "b.png") and is_still(str(folder / "inner/a.JPG"))
    assert is_still([folder / "b.png", "inner/x.webp"])
    for other in (folder, "video.mp4", [folder / "b.png", "x.mp4"], []):
        assert not is_still(other)


def test_the_picture_is_shown_as_often_as_it_is_asked_for(folder: Path) -> None:
    decoder = FrameFolder(1.0)
    assert decoder.timestamps(folder / "b.png").tolist() == [0.0]
    catalog = find_stills(folder)
    assert VideoReader(catalog).decoder_of(catalog.records[0]).name == decoder.name
    frames = decoder.frames(folder / "inner/a.JPG", np.zeros(3, int))
    assert frames.shape == (3, 5, 6, 3) and np.ptp(frames, axis=0).max() == 0
    assert abs(int(frames.mean()) - 40) <= 1
    cut = decoder.frames(folder / "b.png", np.zeros(2, int), Corner(2, 6))
    assert cut.shape == (2, 2, 6, 3)
    assert decoder.frames(folder / "b.png", np.zeros(0)).shape == (0, 4, 6, 3)
    with pytest.raises(DataError, match="not a readable picture"):
        decoder.frames(folder / "broken.png", np.zeros(1, int))
