"""Video files that several tests of the data read."""

import shutil
from pathlib import Path

import pytest
from odd_videos import write_clip, write_odd_folder


@pytest.fixture(scope="session")
def odd_folder(tmp_path_factory):
    """A folder of good and broken videos, and file name -> expected problem kind or "good"."""
    folder = tmp_path_factory.mktemp("odd")
    return folder, write_odd_folder(folder)


@pytest.fixture(scope="session")
def good_clip(tmp_path_factory):
    """A good mp4: 40 numbered frames, 30 a second, 72x48."""
    return write_clip(tmp_path_factory.mktemp("good") / "good.mp4")


@pytest.fixture
def clips(tmp_path, good_clip) -> Path:
    """A folder with two videos: a.mp4 and sub/b.mp4 (40 frames each)."""
    (tmp_path / "clips" / "sub").mkdir(parents=True)
    shutil.copy(good_clip, tmp_path / "clips" / "a.mp4")
    shutil.copy(good_clip, tmp_path / "clips" / "sub" / "b.mp4")
    return tmp_path / "clips"
