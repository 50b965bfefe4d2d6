"""LeRobot v3.0 folders that we write: to the bit, field by field, and whole after a kill."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_episodes import ACTION, FPS, LENGTHS, SIZE, STATE, add, made_episode, write_made, writer
from odd_videos import read_number

from nexus.data.episodes.checking import check_episodes
from nexus.data.episodes.lerobot_writer import LeRobotWriter
from nexus.data.episodes.opening import open_episodes
from nexus.data.episodes.schema import Schema
from nexus.errors import DataError, OutputError

HERE = Path(__file__).parent


def assert_whole(folder, lengths):
    """Every number to the bit and every frame of these episodes, and nothing to complain about."""
    episodes = open_episodes(folder)
    assert [one.length for one in episodes.episodes] == list(lengths)
    assert episodes.action == ACTION and episodes.state == STATE
    for index, steps in enumerate(lengths):
        numbers, actions, states = made_episode(index, steps)
        assert episodes.actions(index).tobytes() == actions.tobytes()
        assert episodes.states(index).tobytes() == states.tobytes()
        assert np.array_equal(episodes.times(index), (np.arange(steps) / FPS).astype(np.float32))
        assert episodes.episode(index).tasks == (f"task {index % 2}",)
        for camera in episodes.cameras:
            frames = episodes.frames(index, camera, np.arange(steps))
            assert [read_number(frame) for frame in frames] == numbers.tolist()
    assert check_episodes(folder).problems == ()


@pytest.mark.parametrize("codec", ["av1", "h264", "lossless"])
def test_what_is_written_is_read(tmp_path, codec):
    cameras = {"top": (SIZE, SIZE), "hand": (SIZE, 2 * SIZE)}
    with writer(tmp_path, codec=codec, cameras=cameras) as out:
        for index, steps in enumerate(LENGTHS[:3]):
            assert add_wide(out, index, steps) == index
    assert_whole(tmp_path, LENGTHS[:3])
    # Closing joined the videos: one file a camera.
    assert len(list(tmp_path.glob("videos/*/*/*.mp4"))) == 2


def add_wide(out, index, steps):
    from made_episodes import pictures

    numbers, actions, states = made_episode(index, steps)
    frames = {name: pictures(numbers, *size) for name, size in out.recording.cameras.items()}
    return out.add_episode(frames=frames, actions=actions, states=states, task=f"task {index % 2}")


def test_lossless_gives_the_same_pixels(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (5, 31, 47, 3), dtype=np.uint8)
    with writer(tmp_path, codec="lossless", cameras={"top": (31, 47)}, state=None) as out:
        out.add_episode(frames={"top": noise}, actions=np.zeros((5, 2)))
    assert np.array_equal(open_episodes(tmp_path).frames(0, "top", np.arange(5)), noise)


def test_groups_follow_one_another(tmp_path):
    write_made(tmp_path, LENGTHS, group_episodes=2)
    assert_whole(tmp_path, LENGTHS)
    for part in ("data", "meta/episodes", "videos/observation.images.top"):
        assert len(list((tmp_path / part).glob("*/*"))) == 3, part


def test_the_folder_is_as_the_format_says(tmp_path):
    write_made(tmp_path, LENGTHS, group_episodes=3)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    total = sum(LENGTHS)
    vector = {"dtype": "float32", "names": ["x", "grip"], "shape": [2]}
    assert info["features"].pop("action") == vector
    camera = info["features"].pop("observation.images.top")
    assert camera["info"].pop("video.codec") == "h264"
    assert {key: camera[key] for key in ("dtype", "shape", "names")} == {
        "dtype": "video",
        "shape": [SIZE, SIZE, 3],
        "names": ["height", "width", "channels"],
    }
    assert info.pop("features") == {
        "observation.state": {"dtype": "float32", "shape": [3], "names": ["px", "py", "angle"]},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        "frame_index": {"dtype": "int64", "shape": [1], "names": None},
        "episode_index": {"dtype": "int64", "shape": [1], "names": None},
        "index": {"dtype": "int64", "shape": [1], "names": None},
        "task_index": {"dtype": "int64", "shape": [1], "names": None},
    }
    assert info == {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": 5,
        "total_frames": total,
        "total_tasks": 2,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": FPS,
        "splits": {"train": "0:5"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    tasks = pd.read_parquet(tmp_path / "meta/tasks.parquet")
    assert tasks.index.name == "task" and tasks["task_index"].to_dict() == {
        "task 0": 0,
        "task 1": 1,
    }
    data = pd.concat(map(pd.read_parquet, sorted(tmp_path.glob("data/*/*"))), ignore_index=True)
    counted = ["timestamp", "frame_index", "episode_index", "index", "task_index"]
    assert set(data) == {"action", "observation.state", *counted}
    assert data["index"].tolist() == list(range(total))
    assert data["timestamp"].dtype == np.float32 and data["frame_index"].dtype == np.int64
    assert data["episode_index"].tolist() == np.repeat(np.arange(5), LENGTHS).tolist()
    rows = pd.concat(
        map(pd.read_parquet, sorted(tmp_path.glob("meta/episodes/*/*"))), ignore_index=True
    )
    ends = np.cumsum(LENGTHS)
    assert rows["dataset_from_index"].tolist() == [0, *ends[:-1]]
    assert rows["dataset_to_index"].tolist() == ends.tolist()
    assert rows["data/file_index"].tolist() == rows["meta/episodes/file_index"].tolist()
    assert rows["data/file_index"].tolist() == [0, 0, 0, 1, 1]
    key = "videos/observation.images.top"
    starts = [0, 0.4, 1.1, 0, 0.6]
    assert np.allclose(rows[f"{key}/from_timestamp"], starts)
    assert np.allclose(rows[f"{key}/to_timestamp"], np.add(starts, np.divide(LENGTHS, FPS)))
    for feature in ("action", "observation.state", "observation.images.top", "timestamp", "index"):
        for name in ("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"):
            assert f"stats/{feature}/{name}" in rows


def test_stats_are_those_of_everything(tmp_path):
    write_made(tmp_path, LENGTHS, codec="lossless", group_episodes=2)
    stats = json.loads((tmp_path / "meta/stats.json").read_text())
    made = [made_episode(index, steps) for index, steps in enumerate(LENGTHS)]
    for key, part in (("action", 1), ("observation.state", 2)):
        values = np.concatenate([one[part] for one in made]).astype(np.float64)
        assert stats[key]["count"] == [sum(LENGTHS)]
        for name in ("min", "max", "mean", "std"):
            assert np.allclose(stats[key][name], getattr(values, name)(axis=0)), (key, name)
        per_episode = [np.quantile(one[part].astype(np.float64), 0.9, axis=0) for one in made]
        merged = np.average(per_episode, axis=0, weights=LENGTHS)
        assert np.allclose(stats[key]["q90"], merged)
    episodes = open_episodes(tmp_path)
    every = np.concatenate(
        [episodes.frames(index, "top", np.arange(n)) for index, n in enumerate(LENGTHS)]
    )
    shades = every.reshape(-1, 3) / 255
    told = stats["observation.images.top"]
    for name in ("min", "max", "mean", "std"):
        assert np.shape(told[name]) == (3, 1, 1)
        assert np.allclose(np.ravel(told[name]), getattr(shades, name)(axis=0)), name
    assert np.allclose(episodes.stored.action.mean, stats["action"]["mean"])


def test_a_pictures_quantiles_are_numpys():
    from nexus.data.episodes.lerobot_stats import of_pictures

    frames = np.random.default_rng(1).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    told = of_pictures(frames)
    for name, share in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        oracle = np.quantile(frames.reshape(-1, 3) / 255, share, axis=0)
        assert np.allclose(told[name].ravel(), oracle), name


def test_another_feature_has_no_part_in_our_schema(tmp_path):
    write_made(tmp_path, LENGTHS[:1])
    reader = {"kind": "lerobot", "action_key": "observation.state", "state_key": "timestamp"}
    episodes = open_episodes(tmp_path, reader)
    assert episodes.action == STATE and episodes.state.names == ("state_0",)
    assert np.array_equal(episodes.states(0)[:, 0], episodes.times(0).astype(np.float32))


def test_a_folder_goes_on_after_its_last_episode(tmp_path):
    write_made(tmp_path, LENGTHS[:2])
    with writer(tmp_path) as out:
        assert len(out) == 2
        for index in (2, 3, 4):
            add(out, index, LENGTHS[index])
    assert_whole(tmp_path, LENGTHS)
    at_once = write_made(tmp_path / "once", LENGTHS)
    told, once = (
        json.loads((folder / "meta/stats.json").read_text()) for folder in (tmp_path, at_once)
    )
    assert np.allclose(told["action"]["std"], once["action"]["std"])
    assert told["index"]["max"] == once["index"]["max"]


def test_a_folder_with_other_settings_or_things_is_left_alone(tmp_path):
    write_made(tmp_path / "mine", LENGTHS[:1])
    with pytest.raises(DataError, match="was written with another cameras"):
        writer(tmp_path / "mine", cameras={"side": (SIZE, SIZE)})
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").touch()
    with pytest.raises(OutputError, match="not empty and holds no episodes that nexus wrote"):
        writer(tmp_path / "photos")
    assert [one.name for one in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_a_folder_that_lost_a_table_is_not_swept(tmp_path):
    """Its videos are named nowhere now, and are all that is left of three episodes."""
    write_made(tmp_path, LENGTHS, group_episodes=2)
    lost = tmp_path / "meta/episodes/chunk-000/file-002.parquet"
    kept = lost.read_bytes()
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    for damage in (b"", None):
        if damage is None:
            lost.unlink()
        else:
            lost.write_bytes(damage)
        with pytest.raises(DataError, match="cannot be gone on with"):
            writer(tmp_path)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == files - {lost}
    lost.write_bytes(kept)
    with writer(tmp_path) as out:
        assert len(out) == 5


def test_after_an_exception_the_folder_is_whole_and_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt), writer(tmp_path) as out:
        for index in range(2):
            add(out, index, LENGTHS[index])
        raise KeyboardInterrupt
    assert_whole(tmp_path, LENGTHS[:2])
    with writer(tmp_path) as out:
        add(out, 2, LENGTHS[2])
    assert_whole(tmp_path, LENGTHS[:3])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"actions": np.array([[0, 1], [np.nan, 1]])}, "'x' is nan at step 1 .1 of 2"),
        ({"actions": np.array([[0, 1], [1.5, 1]])}, "'x' is 1.5 at step 1, above its upper bou"),
        ({"actions": np.zeros((2, 3))}, r"has the shape \(2, 3\); expected \(steps, 2\): x, grip"),
        ({"actions": np.zeros((0, 2)), "states": np.zeros((0, 3))}, "action has no step"),
        ({"states": np.zeros((3, 3))}, "the numbers of steps differ: {'action': 2, 'observation"),
        ({"states": None}, "states are given, and there is no schema"),
        ({"frames": {}}, r"frames of the cameras \[\]; expected \['top'\]"),
        ({"frames": {"top": np.zeros((2, 32, 64, 3), np.uint8)}}, r"uint8 \(2, 32, 64, 3\); exp"),
    ],
)
def test_what_does_not_fit_is_refused_and_not_written(tmp_path, change, text):
    good = {
        "frames": {"top": np.zeros((2, SIZE, SIZE, 3), np.uint8)},
        "actions": np.zeros((2, 2)),
        "states": np.zeros((2, 3)),
    }
    with writer(tmp_path) as out:
        with pytest.raises(DataError, match=text):
            out.add_episode(**(good | change))
        assert len(out) == 0
        out.add_episode(**good)
    assert len(open_episodes(tmp_path)) == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"fps": 12.5}, "fps is 12.5; the format has whole numbers"),
        ({"fps": 20}, "schema of action says 10 steps a second, fps 20"),
        ({"codec": "vp9"}, "codec is 'vp9'; known: av1, h264, lossless"),
        ({"cameras": {"a/b": (64, 64)}}, "a camera is called 'a/b'"),
    ],
)
def test_settings_that_cannot_be(tmp_path, change, text):
    with pytest.raises(DataError, match=text):
        writer(tmp_path / "set", **change)
    assert not (tmp_path / "set").exists()


def test_sides_that_the_codec_cannot_code(tmp_path):
    with (
        writer(tmp_path, cameras={"top": (31, 64)}, state=None) as out,
        pytest.raises(DataError, match="64x31 cannot be coded as h264"),
    ):
        frames = {"top": np.zeros((1, 31, 64, 3), np.uint8)}
        out.add_episode(frames=frames, actions=np.zeros((1, 2)))
    assert len(open_episodes(tmp_path)) == 0


COLLECT = """
import os, signal, sys
sys.path[:0] = {paths!r}
import nexus.data.episodes.lerobot_writer as module
from made_episodes import add, writer

done = 0
def killed(function, at):
    count = 0
    def one(*given, **named):
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **named)
    return one

name, at = {name!r}, {at}
holder = module if hasattr(module, name) else module.LeRobotFiles
setattr(holder, name, killed(getattr(holder, name), at))
with writer({folder!r}, group_episodes=3) as out:
    for index, steps in enumerate({lengths!r}):
        add(out, index, steps)
        print(index, flush=True)
"""


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("write_video", 3),  # nothing of episode 2 is written
        ("write_steps", 3),  # its video is there
        ("write_rows", 3),  # and its table: the last moment before it counts
        ("write_totals", 4),  # the last moment before it is counted
        ("join_videos", 1),  # between two groups
        ("write_rows", 4),  # the joined file is there and does not count
    ],
)
def test_a_kill_loses_no_finished_episode(tmp_path, name, at):
    folder = tmp_path / "set"
    paths = [str(HERE), str(HERE.parents[1]), str(HERE.parents[2])]
    code = COLLECT.format(paths=paths, name=name, at=at, folder=str(folder), lengths=LENGTHS)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    finished = len(done.stdout.split())
    assert finished == (2 if at == 3 or name != "write_video" else 3), done.stdout
    episodes = open_episodes(folder)
    assert len(episodes) in (finished, finished + 1)  # written, and not told yet
    for index in range(len(episodes)):
        numbers, actions, _ = made_episode(index, LENGTHS[index])
        assert episodes.actions(index).tobytes() == actions.tobytes()
        frames = episodes.frames(index, "top", np.arange(LENGTHS[index]))
        assert [read_number(frame) for frame in frames] == numbers.tolist()
    assert not [one for one in check_episodes(folder).problems if one.fatal]
    with writer(folder, group_episodes=3) as out:
        for index in range(len(out), len(LENGTHS)):
            add(out, index, LENGTHS[index])
    assert_whole(folder, LENGTHS)
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]
    named = pd.concat([pq.read_table(p).to_pandas() for p in folder.glob("meta/episodes/*/*")])
    files = len(list(folder.glob("videos/*/*/*")))
    assert files == named["videos/observation.images.top/file_index"].nunique()


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
def test_a_kill_from_outside_at_any_moment(tmp_path):
    """Killed by somebody else, at no chosen place: what was told to be finished is there."""
    folder = tmp_path / "set"
    paths = [str(HERE), str(HERE.parents[1]), str(HERE.parents[2])]
    endless = tuple(3 + index % 4 for index in range(500))
    code = COLLECT.format(paths=paths, name="groups", at=99, folder=str(folder), lengths=endless)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    finished = [child.stdout.readline() for _ in range(8)]
    child.kill()
    finished += child.stdout.read().splitlines()
    child.wait()
    episodes = open_episodes(folder)
    assert len(finished) <= len(episodes) <= len(finished) + 1 < 500
    for index in range(len(episodes)):
        assert np.array_equal(episodes.actions(index), made_episode(index, endless[index])[1])
        last = endless[index] - 1
        assert read_number(episodes.frames(index, "top", [last])[0]) == 100 * index % 4096 + last


def test_one_action_dimension_and_no_camera(tmp_path):
    schema = Schema.plain(["speed"], FPS)
    with LeRobotWriter(tmp_path, fps=FPS, action=schema, cameras={}) as out:
        out.add_episode(frames={}, actions=np.arange(4.0)[:, None], task="drive")
    episodes = open_episodes(tmp_path)
    assert episodes.actions(0).tolist() == [[0], [1], [2], [3]]
    assert episodes.states(0) is None and episodes.cameras == {}


ENVIRONMENT = Schema.plain(["agent_x", "block_x", "speed"], FPS)


def add_with_environment(out, index, steps):
    exact = np.random.default_rng([7, index]).normal(size=(steps, 3))
    _, actions, states = made_episode(index, steps)
    frames = {"top": np.zeros((steps, SIZE, SIZE, 3), np.uint8)}
    out.add_episode(frames=frames, actions=actions, states=states, environment_states=exact)
    return exact


def test_a_simulators_states_are_kept_to_the_bit(tmp_path):
    with writer(tmp_path, environment=ENVIRONMENT, group_episodes=2) as out:
        exact = [add_with_environment(out, index, steps) for index, steps in enumerate(LENGTHS)]
    episodes = open_episodes(tmp_path)
    assert episodes.environment == ENVIRONMENT
    for index, states in enumerate(exact):
        assert episodes.environment_states(index).tobytes() == states.tobytes()
        assert episodes.actions(index).tobytes() == made_episode(index, LENGTHS[index])[1].tobytes()
    assert check_episodes(tmp_path).problems == ()
    feature = json.loads((tmp_path / "meta/info.json").read_text())["features"]
    names = ["agent_x", "block_x", "speed"]
    told = {"dtype": "float64", "shape": [3], "names": names}
    assert feature["observation.environment_state"] == told
    data = pd.read_parquet(tmp_path / "data/chunk-000/file-000.parquet")
    column = np.stack(data["observation.environment_state"])
    assert column.dtype == np.float64 and np.array_equal(column, np.concatenate(exact[:2]))


def test_a_folder_goes_on_with_the_environment_that_it_began_with(tmp_path):
    with writer(tmp_path, environment=ENVIRONMENT) as out:
        add_with_environment(out, 0, 4)
        with pytest.raises(DataError, match="observation.environment_state: states are given, and"):
            add(out, 1, 4)
    with pytest.raises(DataError, match="was written with another environment"):
        writer(tmp_path)
    # Without any, as all folders were before there could be one, nothing is told of it.
    write_made(tmp_path / "plain", LENGTHS[:1])
    assert open_episodes(tmp_path / "plain").environment_states(0) is None
    own = tmp_path / "plain/meta/nexus.json"
    told = json.loads(own.read_text())
    del told["environment"]
    own.write_text(json.dumps(told))
    assert open_episodes(tmp_path / "plain").environment is None
    with writer(tmp_path / "plain") as out:
        assert len(out) == 1


def test_a_nan_of_the_simulator_is_named(tmp_path):
    with writer(tmp_path, environment=ENVIRONMENT, group_episodes=1) as out:
        exact = add_with_environment(out, 0, 4)
    path = tmp_path / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    exact[2, 1] = np.nan
    place = table.column_names.index("observation.environment_state")
    broken = pa.FixedSizeListArray.from_arrays(pa.array(exact.ravel()), 3)
    pq.write_table(table.set_column(place, "observation.environment_state", broken), path)
    text = "environment state dimension 'block_x' is nan at step 2"
    [problem] = check_episodes(tmp_path).problems
    assert problem.kind == "not_finite" and text in problem.reason and problem.fatal
    with pytest.raises(DataError, match=f"episode 0: {text}"):
        open_episodes(tmp_path).environment_states(0)
