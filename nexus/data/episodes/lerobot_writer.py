"""Writes LeRobot v3.0 folders that are whole after every episode, whatever happens then.

Each file is written beside its place and moved there. An episode is there from the moment that the
table of episodes is replaced by one that names it; what was written before that moment and is not
named is swept up when the folder is opened again.

    a group   data/...  one file, written anew with each episode   meta/episodes/...  the same
              videos/...  a file an episode                 ->     one file when the group is full
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from nexus.atomic import atomic_path, check_writable, write_json
from nexus.data.episodes.lerobot_files import (
    LeRobotFiles,
    Row,
    number_of,
    place_columns,
    stats_columns,
    stats_of,
    table_of_steps,
)
from nexus.data.episodes.lerobot_layout import ACTION, ENVIRONMENT, SCHEMA, STATE, read_tasks
from nexus.data.episodes.lerobot_recording import Recording
from nexus.data.episodes.lerobot_stats import FeatureStats, merged, of_numbers, of_pictures
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.video_files import Codec, join_videos, write_video
from nexus.errors import DataError, OutputError

GROUP_EPISODES, GROUP_STEPS = 50, 20_000
"""A group is full with so many episodes or steps: what is written anew each time stays small."""


class LeRobotWriter:
    """Adds episodes to a folder; one that we wrote goes on after its last finished episode.

        with LeRobotWriter("pushes", fps=10, action=action, cameras={"top": (64, 64)}) as out:
            out.add_episode(frames={"top": pictures}, actions=actions, task="push the block")

    One writer at a time: a second one would sweep up what the first is writing.

    Args:
        folder: is made if it is not there.
        fps: steps, and frames, a second: a whole number, as the format has it.
        action, state: what the numbers mean; None: no states.
        cameras: their names, and height and width of their pictures.
        codec: of the videos, see `CODECS`.
        environment: what the numbers of a simulator's exact states mean; None: they are not kept.

    Raises:
        DataError: the settings contradict each other, or those of the folder.
        OutputError: something else lies in the folder, or it cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        fps: int,
        action: Schema,
        state: Schema | None = None,
        cameras: Mapping[str, tuple[int, int]],
        robot_type: str | None = None,
        codec: Codec = "av1",
        environment: Schema | None = None,
        group_episodes: int = GROUP_EPISODES,
    ) -> None:
        self.folder = Path(folder)
        self.files = LeRobotFiles(self.folder)
        self.recording = Recording(fps, action, state, dict(cameras), codec, environment)
        self.robot_type, self._group_episodes = robot_type, group_episodes
        self._tasks: dict[str, int] = {}
        self._stats: dict[str, FeatureStats] = {}
        self._episodes = self._steps = self._group_number = self._next_video = 0
        self._group: list[Row] = []
        self._data: list[pa.Table] = []
        check_writable(self.folder)
        if (self.folder / SCHEMA).exists():
            self._resume()
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise OutputError(
                f"{self.folder} is not empty and holds no episodes that nexus wrote; "
                "name another folder"
            )
        write_json(self.folder / SCHEMA, self.recording.to_mapping())
        self._write_totals()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        # Ctrl-C may come between a file and our own account of it: then only what is on the disk
        # counts, and the next one to open the folder closes the group.
        if error is None:
            self.close()

    def __len__(self) -> int:
        return self._episodes

    @property
    def steps(self) -> int:
        """Of all episodes."""
        return self._steps

    def add_episode(
        self,
        *,
        frames: Mapping[str, UInt8[np.ndarray, "steps height width 3"]],
        actions: np.ndarray,
        states: np.ndarray | None = None,
        environment_states: np.ndarray | None = None,
        task: str = "",
    ) -> int:
        """Write an episode; when this returns, it is on the disk for good. Its index.

        Args:
            frames: of each camera, RGB; frame i is what was seen before action i.
            actions: (steps, dims); states: (steps, dims), if there are states.
            environment_states: (steps, dims), if there are any; kept as float64.
            task: what was to be done, as text.

        Raises:
            DataError: something does not fit the settings, or a value is not finite or out of
                bounds. Nothing is written then.
        """
        vectors = self.recording.vectors(
            {ACTION: actions, STATE: states, ENVIRONMENT: environment_states}
        )
        steps, fps = len(vectors[ACTION]), self.recording.fps
        self.recording.check_frames(frames, steps)
        index, first = self._episodes, self._steps
        tasks = {task: len(self._tasks)} | self._tasks
        counted = np.arange(steps)
        columns = {
            **vectors,
            "timestamp": (counted / fps).astype(np.float32),
            "frame_index": counted,
            "episode_index": np.full(steps, index),
            "index": first + counted,
            "task_index": np.full(steps, tasks[task]),
        }
        stats = {name: of_numbers(values) for name, values in columns.items()}
        row: Row = {
            "episode_index": index,
            "tasks": [task],
            "length": steps,
            "dataset_from_index": first,
            "dataset_to_index": first + steps,
            **place_columns("data", self._group_number),
            **place_columns("meta/episodes", self._group_number),
        }
        for camera, key in self.recording.video_keys.items():
            pictures = frames[camera]
            with atomic_path(self.files.video(key, self._next_video)) as path:
                write_video(path, pictures, fps, self.recording.codec)
            row |= place_columns(f"videos/{key}", self._next_video)
            row[f"videos/{key}/from_timestamp"] = 0.0
            row[f"videos/{key}/to_timestamp"] = steps / fps
            stats[key] = of_pictures(pictures)
        row |= stats_columns(stats)
        data = [*self._data, table_of_steps(columns)]
        self.files.write_steps(self._group_number, data)
        if task not in self._tasks:
            self.files.write_tasks(tasks)
        self._tasks = tasks
        # From here on the episode is there:
        self.files.write_rows(self._group_number, [*self._group, row])
        self._group, self._data = [*self._group, row], data
        self._count(row, stats)
        self._write_totals()
        self._next_video += 1
        if len(self._group) >= self._group_episodes or sum(map(len, data)) >= GROUP_STEPS:
            self._close_group()
        return index

    def close(self) -> None:
        """Join what still lies in a file an episode. Without it nothing is lost."""
        self._close_group()

    def _close_group(self) -> None:
        """The videos of the group become one file a camera."""
        rows = [dict(row) for row in self._group]
        old: list[Path] = []
        for key in self.recording.video_keys.values():
            parts = [
                (self.files.video(key, number_of(row, f"videos/{key}")), row["length"])
                for row in rows
            ]
            if len({path for path, _ in parts}) < 2:
                continue
            with atomic_path(self.files.video(key, self._next_video)) as path:
                join_videos(path, parts, self.recording.fps)
            shown = 0
            for row in rows:
                row |= place_columns(f"videos/{key}", self._next_video)
                row[f"videos/{key}/from_timestamp"] = shown / self.recording.fps
                shown += row["length"]
                row[f"videos/{key}/to_timestamp"] = shown / self.recording.fps
            old += [path for path, _ in parts]
        if old:
            # From here on the joined files count:
            self.files.write_rows(self._group_number, rows)
            self._next_video += 1
            for path in old:
                path.unlink()
        if rows:
            self._group, self._data = [], []
            self._group_number += 1

    def _resume(self) -> None:
        """Take up what is there, and sweep up what was not finished.

        Raises:
            DataError: the folder was written with other settings, or is damaged.
        """
        told = json.loads((self.folder / SCHEMA).read_text(encoding="utf-8"))
        mine = self.recording.to_mapping()
        other = [key for key in mine if told.get(key) != mine[key]]
        if other:
            raise DataError(
                f"{self.folder} was written with another {other[0]}: {told.get(other[0])!r}, now "
                f"{mine[other[0]]!r}; go on with the same, or name another folder"
            )
        self._tasks = {text: number for number, text in sorted(read_tasks(self.folder).items())}
        named: set[Path] = set()
        highest = -1
        for rows in self.files.groups():
            for row in rows:
                self._count(row, stats_of(row))
                for key in self.recording.video_keys.values():
                    number = number_of(row, f"videos/{key}")
                    named.add(self.files.video(key, number))
                    highest = max(highest, number)
            self._group, self._group_number = rows, number_of(rows[0], "meta/episodes")
            named.add(self.files.data(self._group_number))
        self.files.sweep(named)
        self._next_video = highest + 1
        if self._group:
            data = pq.read_table(self.files.data(self._group_number))
            steps = sum(row["length"] for row in self._group)
            if len(data) > steps:  # of an episode that was not finished
                self.files.write_steps(self._group_number, [data.slice(0, steps)])
            self._close_group()

    def _count(self, row: Row, stats: Mapping[str, FeatureStats]) -> None:
        self._episodes += 1
        self._steps += row["length"]
        for name, feature in stats.items():
            known = self._stats.get(name)
            self._stats[name] = feature if known is None else merged(known, feature)

    def _write_totals(self) -> None:
        info = self.recording.info(self.robot_type, self._episodes, self._steps, len(self._tasks))
        self.files.write_totals(info, self._stats)
