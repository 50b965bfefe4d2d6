"""Files as robomimic writes them, made by hand with h5py."""

import builtins
import json
import pickle

import h5py
import numpy as np
import pytest
from odd_videos import draw_number, read_number

from nexus.data.episodes.checking import check_episodes
from nexus.data.episodes.opening import open_episodes
from nexus.data.episodes.robomimic import RobomimicReader
from nexus.errors import DataError

LENGTHS = {0: 5, 1: 3, 10: 4}
BODY = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}


def observed(index, key, width):
    rng = np.random.default_rng([index, sum(map(ord, key))])
    return rng.normal(size=(LENGTHS[index], width))


def shown(camera, index):
    first = 100 * index + 1000 * (camera == "hand")
    return np.stack([draw_number(first + step) for step in range(LENGTHS[index])])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "demo.hdf5"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": 20}})
        for index in LENGTHS:
            demo = data.create_group(f"demo_{index}")
            demo["actions"] = observed(index, "actions", 7)
            for key, width in {**BODY, "object": 10}.items():
                demo[f"obs/{key}"] = observed(index, key, width)
            demo["states"] = observed(index, "states", 12)
            for camera in ("agentview", "hand"):
                demo[f"obs/{camera}_image"] = shown(camera, index)
        file["mask/train"] = np.array([b"demo_0", b"demo_10"])
        file["mask/valid"] = np.array([b"demo_1"])
        file["mask/20_percent"] = np.array([b"demo_0"])
    return path


def test_every_frame_and_number_is_the_right_one(path):
    episodes = open_episodes(path)
    assert episodes.fps == 20 and episodes.indices == (0, 1, 10)
    assert episodes.cameras == {"agentview": (48, 72), "hand": (48, 72)}
    assert episodes.of_split("train") == (0, 10) and episodes.of_split("validation") == (1,)
    assert episodes.action.names == tuple(f"action_{i}" for i in range(7))
    assert episodes.state.names[:4] == (
        *(f"robot0_eef_pos_{i}" for i in range(3)),
        "robot0_eef_quat_0",
    )
    episodes = pickle.loads(pickle.dumps(episodes))
    for index, steps in LENGTHS.items():
        states = np.concatenate([observed(index, *one) for one in BODY.items()], axis=1)
        assert np.array_equal(episodes.states(index), states.astype(np.float32))
        actions = observed(index, "actions", 7).astype(np.float32)
        assert np.array_equal(episodes.actions(index), actions)
        assert np.array_equal(episodes.times(index), np.arange(steps) / 20)
        for camera in episodes.cameras:
            frames = episodes.frames(index, camera, [2, 0, 2])
            assert np.array_equal(frames, shown(camera, index)[[2, 0, 2]])
    assert read_number(episodes.frames(10, "hand", [3])[0]) == 2003
    assert check_episodes(path).problems == ()


def test_the_state_can_be_chosen(path):
    episodes = open_episodes(path, RobomimicReader(state_keys=["object", "robot0_eef_pos"]))
    assert episodes.states(1).shape == (3, 13)
    assert np.allclose(episodes.states(1)[:, :10], observed(1, "object", 10))
    with pytest.raises(DataError, match="no observation 'objects'; known: agentview_image"):
        open_episodes(path, RobomimicReader(state_keys=["objects"]))


def test_the_simulators_states_are_read_where_they_are_named(path):
    assert open_episodes(path).environment is None
    reader = RobomimicReader(environment={"cube_y": 9, "cube_x": 3})
    episodes = pickle.loads(pickle.dumps(open_episodes(path, reader)))
    assert episodes.environment.names == ("cube_y", "cube_x")
    for index in LENGTHS:
        expected = observed(index, "states", 12)[:, [9, 3]]
        assert np.array_equal(episodes.environment_states(index), expected), "to the bit"
    with pytest.raises(DataError, match="'z' is number 12 of the simulator's states; they have 12"):
        open_episodes(path, RobomimicReader(environment={"z": 12}))
    with h5py.File(path, "a") as file:
        del file["data/demo_1/states"]
    with pytest.raises(DataError, match="episode 1: it has no states"):
        open_episodes(path, reader)
    assert open_episodes(path).indices == (0, 1, 10), "who does not ask does not miss them"
    with h5py.File(path, "a") as file:
        del file["data/demo_0/states"]
    with pytest.raises(DataError, match="there are no states to read cube_y, cube_x from"):
        open_episodes(path, reader)


def test_a_rate_that_is_not_there_is_asked_for(path):
    with h5py.File(path, "a") as file:
        del file["data"].attrs["env_args"]
    with pytest.raises(DataError, match=r"does not say how many steps a second .*fps=20"):
        open_episodes(path)
    assert open_episodes(path, RobomimicReader(fps=15)).fps == 15


def test_an_episode_that_lacks_something_is_named(path):
    with h5py.File(path, "a") as file:
        del file["data/demo_1/obs/hand_image"]
        del file["data/demo_10/actions"]
    with pytest.raises(DataError) as told:
        open_episodes(path)
    assert "episode 1: camera 'hand': it has no obs/hand_image" in str(told.value)
    assert "episode 10: it has no actions" in str(told.value)
    assert open_episodes(path, strict=False).indices == (0,)


def test_a_damaged_file_and_one_of_something_else(path, tmp_path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        open_episodes(path)
    other = tmp_path / "other.h5"
    h5py.File(other, "w").close()
    with pytest.raises(DataError, match="no group `data`; expected a file of robomimic"):
        open_episodes(other)


def test_without_h5py_it_says_what_to_install(path, monkeypatch):
    real = builtins.__import__

    def missing(name, *given, **named):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(DataError, match=r"needs h5py: pip install 'nexus-vjepa\[robots\]'"):
        open_episodes(path)
