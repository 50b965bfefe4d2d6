"""The files of a LeRobot folder that we write: each is put in its place whole, or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nexus.atomic import atomic_path, write_json
from nexus.data.episodes.lerobot_layout import (
    CHUNK_FILES,
    DATA,
    EPISODES,
    INFO,
    STATS,
    TASKS,
    UNREADABLE,
    VIDEOS,
    episode_files,
    file_numbers,
    read_info,
)
from nexus.data.episodes.lerobot_stats import FeatureStats
from nexus.errors import DataError

Row = dict[str, Any]
"""An episode's row in the table of episodes."""


@dataclass(frozen=True)
class LeRobotFiles:
    """Paths of a folder, by the numbers of files: 1234 is file 234 of chunk 1."""

    folder: Path

    def data(self, number: int) -> Path:
        """A file of steps."""
        return self.folder / DATA.format(**file_numbers(number))

    def video(self, key: str, number: int) -> Path:
        """A file of a camera's frames."""
        return self.folder / VIDEOS.format(video_key=key, **file_numbers(number))

    def write_steps(self, number: int, tables: Sequence[pa.Table]) -> None:
        """Write a file of steps: a row group an episode, to be read by itself."""
        with (
            atomic_path(self.data(number)) as path,
            pq.ParquetWriter(path, tables[0].schema) as writer,
        ):
            for table in tables:
                writer.write_table(table)

    def write_rows(self, number: int, rows: list[Row]) -> None:
        """Write a file of the table of episodes."""
        with atomic_path(self.folder / EPISODES.format(**file_numbers(number))) as path:
            pq.write_table(pa.Table.from_pylist(rows), path)

    def write_tasks(self, tasks: Mapping[str, int]) -> None:
        """Write the texts of tasks, and their numbers from 0 on."""
        index = pd.Index(sorted(tasks, key=lambda text: tasks[text]), name="task")
        frame = pd.DataFrame({"task_index": range(len(tasks))}, index=index)
        with atomic_path(self.folder / TASKS) as path:
            frame.to_parquet(path)

    def write_totals(self, info: Mapping[str, Any], stats: Mapping[str, FeatureStats]) -> None:
        """Write what is said of all episodes; `info.json` last."""
        if stats:
            told = {
                name: {key: value.tolist() for key, value in feature.items()}
                for name, feature in stats.items()
            }
            write_json(self.folder / STATS, told)
        write_json(self.folder / INFO, info)

    def groups(self) -> list[list[Row]]:
        """The rows of each file of the table of episodes.

        Raises:
            DataError: some that were counted are not there: nothing may be swept up then.
        """
        try:
            groups = [pq.read_table(path).to_pylist() for path in episode_files(self.folder)]
            told = (self.folder / INFO).exists()
            counted = read_info(self.folder).total_episodes if told else 0
        except UNREADABLE as error:
            raise DataError(f"{self.folder} cannot be gone on with ({error})") from error
        indices = [row["episode_index"] for rows in groups for row in rows]
        if indices != list(range(len(indices))) or len(indices) < counted:
            raise DataError(
                f"{self.folder} cannot be gone on with: {INFO} counts {counted} episodes, the "
                f"table of episodes has {len(indices)}; nothing was changed, and `nexus check` "
                "says what is missing"
            )
        return [rows for rows in groups if rows]

    def sweep(self, named: set[Path]) -> None:
        """Remove files of steps and frames that are not named, and what was half written."""
        for path in (*self.folder.glob("data/*/*file-*"), *self.folder.glob("videos/*/*/*file-*")):
            if path not in named:
                path.unlink()
        for path in self.folder.glob("meta/**/.*.tmp"):
            path.unlink()


def table_of_steps(columns: Mapping[str, np.ndarray]) -> pa.Table:
    """Each column as single numbers, or as lists of one length: (steps,) or (steps, dims)."""
    arrays = {}
    for name, values in columns.items():
        flat = pa.array(values.ravel())
        single = values.ndim == 1 or values.shape[1] == 1
        arrays[name] = flat if single else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.table(arrays)


def stats_columns(stats: Mapping[str, FeatureStats]) -> Row:
    """The columns of an episode's row that hold its numbers."""
    return {
        f"stats/{name}/{key}": value.tolist()
        for name, feature in stats.items()
        for key, value in feature.items()
    }


def stats_of(row: Row) -> dict[str, FeatureStats]:
    """The numbers of an episode's row, by feature."""
    stats: dict[str, dict[str, np.ndarray]] = {}
    for column, value in row.items():
        if column.startswith("stats/"):
            feature, _, key = column.removeprefix("stats/").rpartition("/")
            stats.setdefault(feature, {})[key] = np.array(value)
    return dict(stats)


def place_columns(part: str, number: int) -> Row:
    """The columns of an episode's row that say which file a part of it is in."""
    return {f"{part}/{name}": one for name, one in file_numbers(number).items()}


def number_of(row: Row, part: str) -> int:
    """The number of the file that a part of an episode is in."""
    return row[f"{part}/chunk_index"] * CHUNK_FILES + row[f"{part}/file_index"]
