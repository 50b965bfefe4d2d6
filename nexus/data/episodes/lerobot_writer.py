"""Writes LeRobot v3.0 folders that are whole after every episode, whatever happens then.

Each file is written beside its place and moved there. An episode is there from the moment that the
table of episodes is replaced by one that names it; what was written before that moment and is not
named is swept up when the folder is opened again.

    a group   data/...  one file, written anew with each episode   meta/episodes/...  the same
              videos/...  a file an episode                 ->     one file when the group is full
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from nexus.atomic import atomic_path, check_writable, write_json
from nexus.data.episodes.lerobot_layout import (
    ACTION,
    CHUNK_FILES,
    DATA,
    EPISODES,
    IMAGES,
    INFO,
    SCHEMA,
    STATS,
    TASKS,
    UNREADABLE,
    VERSION,
    VIDEOS,
    episode_files,
    file_numbers,
    read_info,
    read_tasks,
)
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
        group_episodes: int = GROUP_EPISODES,
    ) -> None:
        self.folder = Path(folder)
        self.recording = Recording(fps, action, state, dict(cameras), codec)
        self.robot_type, self._group_episodes = robot_type, group_episodes
        self._tasks: dict[str, int] = {}
        self._stats: dict[str, FeatureStats] = {}
        self._episodes = self._steps = self._group_number = self._next_video = 0
        self._group: list[dict[str, Any]] = []
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

    def add_episode(
        self,
        *,
        frames: Mapping[str, UInt8[np.ndarray, "steps height width 3"]],
        actions: np.ndarray,
        states: np.ndarray | None = None,
        task: str = "",
    ) -> int:
        """Write an episode; when this returns, it is on the disk for good. Its index.

        Args:
            frames: of each camera, RGB; frame i is what was seen before action i.
            actions: (steps, dims); states: (steps, dims), if there are states.
            task: what was to be done, as text.

        Raises:
            DataError: something does not fit the settings, or a value is not finite or out of
                bounds. Nothing is written then.
        """
        vectors = self.recording.vectors(actions, states)
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
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": [task],
            "length": steps,
            "dataset_from_index": first,
            "dataset_to_index": first + steps,
            **_prefixed("data", file_numbers(self._group_number)),
            **_prefixed("meta/episodes", file_numbers(self._group_number)),
        }
        for camera, pictures in frames.items():
            key, place = IMAGES + camera, file_numbers(self._next_video)
            with atomic_path(self._video(key, self._next_video)) as path:
                write_video(path, pictures, fps, self.recording.codec)
            row |= _prefixed(f"videos/{key}", place)
            row[f"videos/{key}/from_timestamp"] = 0.0
            row[f"videos/{key}/to_timestamp"] = steps / fps
            stats[key] = of_pictures(pictures)
        for name, feature in stats.items():
            row |= {f"stats/{name}/{key}": value.tolist() for key, value in feature.items()}
        data = [*self._data, _table(columns)]
        self._write_data(data)
        if task not in self._tasks:
            self._write_tasks(tasks)
        self._tasks = tasks
        self._write_rows([*self._group, row])  # from here on the episode is there
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
        for key in self._video_keys():
            parts = [
                (self._video(key, _number(row, f"videos/{key}")), row["length"]) for row in rows
            ]
            if len({path for path, _ in parts}) < 2:
                continue
            with atomic_path(self._video(key, self._next_video)) as path:
                join_videos(path, parts, self.recording.fps)
            shown = 0
            for row in rows:
                row |= _prefixed(f"videos/{key}", file_numbers(self._next_video))
                row[f"videos/{key}/from_timestamp"] = shown / self.recording.fps
                shown += row["length"]
                row[f"videos/{key}/to_timestamp"] = shown / self.recording.fps
            old += [path for path, _ in parts]
        if old:
            self._write_rows(rows)  # from here on the joined files count
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
        for rows in self._written():
            for row in rows:
                self._count(row, _stats_of(row))
                videos = {key: _number(row, f"videos/{key}") for key in self._video_keys()}
                named |= {self._video(key, number) for key, number in videos.items()}
                highest = max(highest, *videos.values(), -1)
            self._group, self._group_number = rows, _number(rows[0], "meta/episodes")
            named.add(self._data_path())
        self._sweep(named)
        self._next_video = highest + 1
        if self._group:
            data = pq.read_table(self._data_path())
            steps = sum(row["length"] for row in self._group)
            if len(data) > steps:  # of an episode that was not finished
                self._write_data([data.slice(0, steps)])
            self._close_group()

    def _written(self) -> list[list[dict[str, Any]]]:
        """The rows of each group.

        Raises:
            DataError: some that were counted are not there: nothing may be swept up then.
        """
        info, paths = self.folder / INFO, episode_files(self.folder)
        try:
            groups = [pq.read_table(path).to_pylist() for path in paths]
            counted = read_info(self.folder).total_episodes if info.exists() else 0
        except UNREADABLE as error:
            raise DataError(f"{self.folder} cannot be gone on with ({error})") from error
        indices = [row["episode_index"] for rows in groups for row in rows]
        if indices != list(range(len(indices))) or len(indices) < counted:
            raise DataError(
                f"{self.folder} cannot be gone on with: {INFO} counts {counted} episodes, the "
                f"table of episodes has {len(indices)}; nothing was changed, and `nexus check` "
                "says what is missing"
            )
        return groups

    def _sweep(self, named: set[Path]) -> None:
        """Remove the files of episodes that were not finished."""
        for path in (*self.folder.glob("data/*/*file-*"), *self.folder.glob("videos/*/*/*file-*")):
            if path not in named:
                path.unlink()
        for path in self.folder.glob("meta/**/.*.tmp"):
            path.unlink()

    def _count(self, row: Mapping[str, Any], stats: Mapping[str, FeatureStats]) -> None:
        self._episodes += 1
        self._steps += row["length"]
        for name, feature in stats.items():
            known = self._stats.get(name)
            self._stats[name] = feature if known is None else merged(known, feature)

    def _video_keys(self) -> list[str]:
        return [IMAGES + camera for camera in self.recording.cameras]

    def _video(self, key: str, number: int) -> Path:
        return self.folder / VIDEOS.format(video_key=key, **file_numbers(number))

    def _data_path(self) -> Path:
        return self.folder / DATA.format(**file_numbers(self._group_number))

    def _write_data(self, tables: Sequence[pa.Table]) -> None:
        with (
            atomic_path(self._data_path()) as path,
            pq.ParquetWriter(path, tables[0].schema) as writer,
        ):
            for table in tables:  # a row group each: an episode can be read by itself
                writer.write_table(table)

    def _write_rows(self, rows: list[dict[str, Any]]) -> None:
        place = EPISODES.format(**file_numbers(self._group_number))
        with atomic_path(self.folder / place) as path:
            pq.write_table(pa.Table.from_pylist(rows), path)

    def _write_tasks(self, tasks: Mapping[str, int]) -> None:
        index = pd.Index(sorted(tasks, key=lambda text: tasks[text]), name="task")
        frame = pd.DataFrame({"task_index": range(len(tasks))}, index=index)
        with atomic_path(self.folder / TASKS) as path:
            frame.to_parquet(path)

    def _write_totals(self) -> None:
        if self._stats:
            told = {
                name: {key: value.tolist() for key, value in feature.items()}
                for name, feature in self._stats.items()
            }
            write_json(self.folder / STATS, told)
        write_json(
            self.folder / INFO,
            {
                "codebase_version": VERSION,
                "robot_type": self.robot_type,
                "total_episodes": self._episodes,
                "total_frames": self._steps,
                "total_tasks": len(self._tasks),
                "chunks_size": CHUNK_FILES,
                "data_files_size_in_mb": 100,
                "video_files_size_in_mb": 200,
                "fps": self.recording.fps,
                "splits": {"train": f"0:{self._episodes}"},
                "data_path": DATA,
                "video_path": VIDEOS if self.recording.cameras else None,
                "features": self.recording.features(),
            },
        )


def _table(columns: Mapping[str, np.ndarray]) -> pa.Table:
    """A column of single numbers, or of lists of one length."""
    arrays = {}
    for name, values in columns.items():
        flat = pa.array(values.ravel())
        single = values.ndim == 1 or values.shape[1] == 1
        arrays[name] = flat if single else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.table(arrays)


def _stats_of(row: Mapping[str, Any]) -> dict[str, FeatureStats]:
    """The numbers of an episode's row, by feature."""
    stats: dict[str, dict[str, np.ndarray]] = {}
    for column, value in row.items():
        if column.startswith("stats/"):
            feature, _, key = column.removeprefix("stats/").rpartition("/")
            stats.setdefault(feature, {})[key] = np.array(value)
    return dict(stats)


def _prefixed(prefix: str, numbers: Mapping[str, int]) -> dict[str, int]:
    return {f"{prefix}/{name}": number for name, number in numbers.items()}


def _number(row: Mapping[str, Any], prefix: str) -> int:
    return row[f"{prefix}/chunk_index"] * CHUNK_FILES + row[f"{prefix}/file_index"]
