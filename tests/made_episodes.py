"""Recordings whose every number and picture is known, and a LeRobot folder written by hand."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from odd_videos import draw_number, write_clip

from nexus.data.episodes.episodes import Episode, Episodes, EpisodeTable
from nexus.data.episodes.lerobot_writer import LeRobotWriter
from nexus.data.episodes.schema import Schema

FPS = 10
SIZE = 64
LENGTHS = (4, 7, 5, 6, 3)
ACTION = Schema.from_mapping(
    {
        "dimensions": [
            {"name": "x", "unit": "m", "kind": "delta", "low": -1, "high": 1},
            {"name": "grip", "gripper": "binary", "low": 0, "high": 1},
        ],
        "rate": FPS,
    }
)
STATE = Schema.plain(["px", "py", "angle"], FPS)


def pictures(numbers, height=SIZE, width=SIZE):
    """uint8 (n, height, width, 3): each shows its number."""
    return np.stack([draw_number(int(number), height, width) for number in numbers])


def made_episode(index, steps):
    """Frames (numbered 100 * index + step), actions and states of an episode."""
    rng = np.random.default_rng(index)
    actions = rng.uniform(-1, 1, (steps, 2)).astype(np.float32)
    actions[:, 1] = actions[:, 1] > 0
    states = rng.normal(0, 3, (steps, 3)).astype(np.float32)
    return 100 * index + np.arange(steps), actions, states


def writer(folder, **changes):
    settings = {"fps": FPS, "action": ACTION, "state": STATE, "cameras": {"top": (SIZE, SIZE)}}
    return LeRobotWriter(folder, **(settings | {"codec": "h264"} | changes))


def add(out, index, steps):
    numbers, actions, states = made_episode(index, steps)
    return out.add_episode(
        frames={name: pictures(numbers) for name in out.recording.cameras},
        actions=actions,
        states=states,
        task=f"task {index % 2}",
    )


def write_made(folder, lengths, **changes):
    """A folder of ours with episodes of these lengths."""
    with writer(folder, **changes) as out:
        for index, steps in enumerate(lengths):
            add(out, index, steps)
    return folder


class InMemory:
    """Episodes that are arrays."""

    def __init__(self, actions, states=None):
        self.actions, self.states = actions, states

    def table(self, index):
        actions = self.actions[index]
        states = None if self.states is None else self.states[index]
        return EpisodeTable(actions, states, np.arange(len(actions)) / FPS)

    def frames(self, index, camera, numbers, view):
        raise NotImplementedError

    def frame_times(self, index, camera):
        raise NotImplementedError


def in_memory(actions, splits=None):
    names = [f"d{i}" for i in range(actions[0].shape[1])]
    splits = splits or [None] * len(actions)
    return Episodes(
        source=Path("memory"),
        fps=FPS,
        cameras={},
        action=Schema.plain(names, FPS),
        state=None,
        episodes=tuple(
            Episode(i, len(part), (), split)
            for i, (part, split) in enumerate(zip(actions, splits, strict=True))
        ),
        storage=InMemory(actions),
    )


class NumbersReader:
    """Reads files that end in .numbers: an episode a line, a step a word."""

    def open(self, path, *, strict=True):
        lines = path.read_text().splitlines()
        return in_memory([np.array(line.split(), np.float32)[:, None] for line in lines])


# A folder by hand, as the format describes it: two data files, two files of episodes, three videos.
#
#     episode      0   1   2            lengths 5, 7, 6
#     data         0   0   1            observation.images.top   file 0: episodes 0, 1; file 1: 2
#     meta         0   0   1            observation.images.hand  file 0: all of them
HAND_LENGTHS = (5, 7, 6)
HAND_CAMERAS = {"top": ((0, 0.0), (0, 0.5), (1, 0.0)), "hand": ((0, 0.0), (0, 0.5), (0, 1.2))}


def hand_number(camera, index, step):
    """What a frame of the folder by hand shows."""
    return 1000 * (camera == "hand") + 100 * index + step + 1


def hand_values(index):
    """float32 actions (steps, 2) and states (steps, 1) of an episode."""
    rng = np.random.default_rng(50 + index)
    steps = HAND_LENGTHS[index]
    return (
        rng.normal(size=(steps, 2)).astype(np.float32),
        rng.normal(size=(steps, 1)).astype(np.float32),
    )


def write_by_hand(folder, info_changes=None):
    """The folder above; nothing of ours takes part but the painter of numbers."""
    for place in ("meta/episodes/chunk-000", "data/chunk-000"):
        (folder / place).mkdir(parents=True)
    firsts = np.cumsum([0, *HAND_LENGTHS])
    frames = {0: [], 1: []}
    for index, steps in enumerate(HAND_LENGTHS):
        actions, states = hand_values(index)
        for step in range(steps):
            frames[int(index == 2)].append(
                {
                    "timestamp": np.float32(step / FPS),
                    "frame_index": step,
                    "episode_index": index,
                    "index": int(firsts[index]) + step,
                    "task_index": index % 2,
                    "action": actions[step].tolist(),
                    "observation.state": float(states[step, 0]),
                    "next.reward": 0.5,
                }
            )
    schema = pa.schema(
        {
            "timestamp": pa.float32(),
            **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), pa.int64()),
            "action": pa.list_(pa.float32()),
            "observation.state": pa.float32(),
            "next.reward": pa.float32(),
        }
    )
    for number, rows in frames.items():
        table = pa.Table.from_pylist(rows, schema)
        pq.write_table(table, folder / f"data/chunk-000/file-{number:03d}.parquet")
    rows = []
    for index, steps in enumerate(HAND_LENGTHS):
        row = {
            "episode_index": index,
            "tasks": [f"task {index % 2}"],
            "length": steps,
            "dataset_from_index": int(firsts[index]),
            "dataset_to_index": int(firsts[index + 1]),
            "data/chunk_index": 0,
            "data/file_index": int(index == 2),
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": int(index == 2),
            "stats/action/mean": [0.0, 0.0],
        }
        for camera, places in HAND_CAMERAS.items():
            file, start = places[index]
            key = f"videos/observation.images.{camera}"
            row |= {f"{key}/chunk_index": 0, f"{key}/file_index": file}
            row |= {f"{key}/from_timestamp": start, f"{key}/to_timestamp": start + steps / FPS}
        rows.append(row)
    episodes = folder / "meta/episodes/chunk-000"
    pq.write_table(pa.Table.from_pylist(rows[:2]), episodes / "file-000.parquet")
    pq.write_table(pa.Table.from_pylist(rows[2:]), episodes / "file-001.parquet")
    tasks = pa.table({"task_index": [0, 1], "task": ["task 0", "task 1"]})
    pq.write_table(tasks, folder / "meta/tasks.parquet")
    for camera, places in HAND_CAMERAS.items():
        for file in sorted({place[0] for place in places}):
            shown = [
                draw_number(hand_number(camera, index, step))
                for index, place in enumerate(places)
                if place[0] == file
                for step in range(HAND_LENGTHS[index])
            ]
            place = folder / f"videos/observation.images.{camera}/chunk-000"
            place.mkdir(parents=True, exist_ok=True)
            write_clip(
                place / f"file-{file:03d}.mp4", fps=FPS, gop=2, b_frames=0, pictures=shown,
                tick=Fraction(1, FPS),
            )  # fmt: skip
    camera = {"dtype": "video", "shape": [48, 72, 3], "names": ["height", "width", "channels"]}
    scalar = {"shape": [1], "names": None}
    info = {
        "codebase_version": "v3.0",
        "robot_type": "by hand",
        "total_episodes": 3,
        "total_frames": sum(HAND_LENGTHS),
        "total_tasks": 2,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": FPS,
        "splits": {"train": "0:2", "val": "2:3"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": {
            "action": {"dtype": "float32", "shape": [2], "names": {"motors": ["left", "right"]}},
            "observation.state": {"dtype": "float32", **scalar},
            "observation.images.top": camera,
            "observation.images.hand": camera,
            "next.reward": {"dtype": "float32", **scalar},
            "timestamp": {"dtype": "float32", **scalar},
            "frame_index": {"dtype": "int64", **scalar},
        },
    }
    (folder / "meta/info.json").write_text(json.dumps(info | (info_changes or {})))
    return folder
