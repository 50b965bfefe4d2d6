"""LeRobot v3.0 folders are read to the frame: one by hand, and what others leave in theirs."""

import json
import pickle
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_episodes import (
    FPS,
    HAND_CAMERAS,
    HAND_LENGTHS,
    hand_number,
    hand_values,
    write_by_hand,
)
from odd_videos import read_number

from nexus.data.episodes import lerobot
from nexus.data.episodes.lerobot import LeRobotReader
from nexus.data.episodes.opening import is_episodes, open_episodes
from nexus.data.episodes.schema import Schema
from nexus.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_by_hand(tmp_path_factory.mktemp("by-hand") / "set")


@pytest.fixture
def own(tmp_path):
    """A folder by hand to spoil."""
    return write_by_hand(tmp_path / "set")


def change_info(folder, **changes):
    path = folder / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_frame_and_number_is_the_right_one(folder):
    episodes = open_episodes(folder)
    assert (len(episodes), episodes.fps, episodes.indices) == (3, FPS, (0, 1, 2))
    assert episodes.cameras == {"top": (48, 72), "hand": (48, 72)}
    assert episodes.action.names == ("left", "right") and episodes.state.names == ("state_0",)
    assert [one.length for one in episodes.episodes] == list(HAND_LENGTHS)
    assert [one.tasks for one in episodes.episodes] == [("task 0",), ("task 1",), ("task 0",)]
    assert episodes.of_split("train") == (0, 1) and episodes.of_split("validation") == (2,)
    draw = np.random.default_rng(0)
    for index, steps in enumerate(HAND_LENGTHS):
        actions, states = hand_values(index)
        assert np.array_equal(episodes.actions(index), actions)
        assert np.array_equal(episodes.states(index), states)
        assert np.abs(episodes.times(index) - np.arange(steps) / FPS).max() < 1e-6
        for camera in HAND_CAMERAS:
            times = episodes.storage.frame_times(index, camera)
            assert np.allclose(times, np.arange(steps) / FPS)
            numbers = draw.permutation(steps)
            numbers = np.append(numbers, numbers[0])  # one twice
            frames = episodes.frames(index, camera, numbers)
            assert frames.shape == (steps + 1, 48, 72, 3) and frames.dtype == np.uint8
            assert [read_number(frame) for frame in frames] == [
                hand_number(camera, index, step) for step in numbers
            ]


def test_they_can_be_sent_to_a_worker(folder):
    episodes = pickle.loads(pickle.dumps(open_episodes(folder)))
    assert read_number(episodes.frames(2, "hand", [3])[0]) == hand_number("hand", 2, 3)


def test_a_view_sees_the_decoded_pictures(folder):
    class Corner:
        def part(self, height, width):
            return slice(0, 8), slice(0, 6)

        def show(self, parts):
            return parts

        def room(self, count, height, width):
            return np.empty((count, height, width, 3), np.uint8)

    episodes = open_episodes(folder)
    whole = episodes.frames(1, "top", [4, 2])
    assert np.array_equal(episodes.frames(1, "top", [4, 2], Corner()), whole[:, :8, :6])


def test_what_is_not_there_is_refused(folder):
    episodes = open_episodes(folder)
    for ask, text in (
        (lambda: episodes.actions(3), "no episode 3; 3 are there, from 0 to 2"),
        (lambda: episodes.frames(0, "side", [0]), "no camera 'side'; known: top, hand"),
        (lambda: episodes.frames(0, "top", [2, 5]), "steps 0 to 4; asked for 2 to 5"),
    ):
        with pytest.raises(DataError, match=text):
            ask()
    with pytest.raises(ValueError, match="numbers"):
        episodes.frames(0, "top", [])


def test_a_frame_off_its_time_names_episode_camera_and_the_nearest(own):
    path = own / "meta/episodes/chunk-000/file-001.parquet"
    table = pq.read_table(path)
    name = "videos/observation.images.hand/from_timestamp"
    place = table.column_names.index(name)
    pq.write_table(table.set_column(place, name, [[1.2003]]), path)
    with pytest.raises(DataError) as told:
        open_episodes(own).frames(2, "hand", [2])
    assert "file-000.mp4: episode 2, camera 'hand': there is no frame of step 2 at 1.4003 s; " in (
        str(told.value)
    )
    assert "the nearest is frame 14 at 1.4000 s" in str(told.value)
    pq.write_table(table.set_column(place, name, [[1.20005]]), path)  # half the tolerance
    frames = open_episodes(own).frames(2, "hand", [2])
    assert read_number(frames[0]) == hand_number("hand", 2, 2)


def test_the_frames_of_the_next_episode_are_not_taken_for_ones_own(own):
    """The table is longer than its part of the file, which goes on with another episode."""
    path = own / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    name = "videos/observation.images.hand/to_timestamp"
    place = table.column_names.index(name)
    pq.write_table(table.set_column(place, name, [[0.3, 1.2]]), path)
    episodes = open_episodes(own)
    assert read_number(episodes.frames(0, "hand", [2])[0]) == hand_number("hand", 0, 2)
    with pytest.raises(DataError, match="step 3 at 0.3000 s; its part of the file ends at 0.3000"):
        episodes.frames(0, "hand", [3])


def test_unknown_fields_are_told_once(own):
    features = json.loads((own / "meta/info.json").read_text())["features"]
    features["observation.images.side"] = {"dtype": "image", "shape": [3, 8, 8]}
    change_info(own, glitter=1, shade=2, features=features)
    text = "not looked at: glitter, shade, observation.images.side"
    with pytest.warns(UserWarning, match=text) as told:
        episodes = open_episodes(own)
    assert len(told) == 1
    assert [one.fatal for one in episodes.problems] == [False]


def test_a_known_folder_gives_no_warning(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_episodes(folder)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"codebase_version": "v2.1"}, "is a LeRobot v2.1 folder; nexus reads v3.0. lerobot conv"),
        ({"codebase_version": "v4.0"}, "codebase_version is 'v4.0'; expected v3.0"),
        ({"fps": 0}, "fps is 0; expected a rate above 0"),
        ({"splits": {"train": "first half"}}, "a split is 'first half'; expected first:end"),
        ({"features": {}}, "there is no feature 'action'"),
        ({"total_episodes": 5}, r"says 5 episodes; .* lacks 2 of them: 3, 4"),
    ],
)
def test_what_info_says_wrong_is_refused(own, changes, text):
    change_info(own, **changes)
    with pytest.raises(DataError, match=text):
        open_episodes(own)


def test_a_declared_schema_takes_the_place_of_names(folder):
    schema = Schema.plain(["wheel left", "wheel right"], FPS)
    assert open_episodes(folder, LeRobotReader(action=schema)).action == schema
    for bad, text in (
        (Schema.plain(["one"], FPS), "has 1 dimensions (one), the data 2 (left, right)"),
        (Schema.plain(["left", "right"], 5), "says 5 steps a second, meta/info.json 10"),
    ):
        with pytest.raises(DataError) as told:
            open_episodes(folder, LeRobotReader(action=bad))
        assert text in str(told.value)


@pytest.mark.parametrize("names", [None, ["motors"], ["same", "same"]])
def test_names_that_name_nothing_are_numbered(own, names):
    features = json.loads((own / "meta/info.json").read_text())["features"]
    features["action"]["names"] = names
    change_info(own, features=features)
    assert open_episodes(own).action.names == ("action_0", "action_1")


def test_other_features_can_be_the_state(folder):
    settings = {"kind": "lerobot", "state_key": "next.reward"}
    assert np.all(open_episodes(folder, settings).states(1) == np.float32(0.5))


def test_av1_that_cannot_be_decoded_is_said_at_the_door(own, monkeypatch):
    monkeypatch.setattr(lerobot, "AV1_DECODERS", ("no-such-decoder",))
    open_episodes(own)  # H.264
    features = json.loads((own / "meta/info.json").read_text())["features"]
    features["observation.images.hand"]["info"] = {"video.codec": "av1"}
    change_info(own, features=features)
    with pytest.raises(DataError, match=r"camera 'hand' is coded as AV1, .* none of no-such-dec"):
        open_episodes(own)


def test_what_is_no_recording_is_refused(tmp_path, folder):
    assert is_episodes(folder) and not is_episodes(tmp_path)
    with pytest.raises(DataError, match="no robot episodes; expected a LeRobot"):
        open_episodes(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        open_episodes(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="did you mean 'lerobot'"):
        open_episodes(folder, "lerobt")


def test_tasks_are_found_by_their_numbers_where_a_row_has_none(own):
    for path in (own / "meta/episodes/chunk-000").iterdir():
        pq.write_table(pq.read_table(path).drop_columns("tasks"), path)
    assert [one.tasks for one in open_episodes(own).episodes] == [
        ("task 0",),
        ("task 1",),
        ("task 0",),
    ]


def test_somebodys_environment_state_is_read_if_it_is_a_list_of_numbers(tmp_path):
    write_by_hand(tmp_path)
    told = json.loads((tmp_path / "meta/info.json").read_text())
    for shape, names in (([1], ("environment_state_0",)), ([2, 3], None)):
        feature = {"dtype": "float32", "shape": shape, "names": None}
        told["features"]["observation.environment_state"] = feature
        (tmp_path / "meta/info.json").write_text(json.dumps(told))
        for path in tmp_path.glob("data/*/*.parquet"):
            table = pq.read_table(path)
            if "observation.environment_state" not in table.column_names:
                values = pa.array(np.arange(len(table), dtype=np.float32) / 3)
                pq.write_table(table.append_column("observation.environment_state", values), path)
        episodes = open_episodes(tmp_path)
        if names is None:
            assert episodes.environment is None and episodes.environment_states(0) is None
        else:
            assert episodes.environment.names == names
            states = episodes.environment_states(0)
            assert states.dtype == np.float64
            expected = (np.arange(HAND_LENGTHS[0], dtype=np.float32) / 3).astype(np.float64)
            assert np.array_equal(states[:, 0], expected)
