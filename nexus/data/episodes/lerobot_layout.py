"""How a LeRobot v3.0 folder is laid out: file names, `info.json`, the table of episodes.

meta/info.json                                 rate, features, totals, templates of paths
meta/stats.json                                how each feature spreads
meta/tasks.parquet                             text of each task, and its number
meta/episodes/chunk-000/file-000.parquet       a row an episode: where its parts lie
data/chunk-000/file-000.parquet                a row a step, of many episodes
videos/CAMERA/chunk-000/file-000.mp4           frames of many episodes, one after the other
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nexus.data.catalog.labels import SPLIT_NAMES
from nexus.errors import DataError

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEOS = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
SCHEMA = "meta/nexus.json"
"""A file of our own beside theirs: what the dimensions mean. Other readers do not look at it."""
CHUNK_FILES = 1000
ACTION, STATE, IMAGES = "action", "observation.state", "observation.images."
ENVIRONMENT = "observation.environment_state"
"""Of a simulator, exact; the format's own name for it."""
TOLERANCE = 1e-4
"""Seconds that a frame may be off the time that the table says."""

KNOWN = frozenset(
    {
        *("codebase_version", "fps", "features", "total_episodes", "total_frames", "total_tasks"),
        *("chunks_size", "data_files_size_in_mb", "video_files_size_in_mb", "data_path"),
        *("video_path", "robot_type", "splits", "tools", "total_chunks", "total_videos"),
    }
)
UNREADABLE = (OSError, ValueError, KeyError, TypeError, pa.ArrowException)


@dataclass(frozen=True)
class Feature:
    """A column, or a camera: `dtype` (`video` for cameras), `shape`, the dimensions' names."""

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None
    codec: str | None = None


@dataclass(frozen=True)
class Info:
    """What `meta/info.json` says; `unknown`: fields of it that are not looked at."""

    fps: float
    features: Mapping[str, Feature]
    total_episodes: int
    data_path: str
    video_path: str
    splits: Mapping[str, range]
    unknown: tuple[str, ...]

    @property
    def cameras(self) -> dict[str, str]:
        """Names of cameras, and their features."""
        return {
            key.removeprefix(IMAGES): key
            for key, one in self.features.items()
            if one.dtype == "video"
        }

    def split_of(self, episode: int) -> str | None:
        """The split that an episode is in, by our names where there is one."""
        inside = (name for name, episodes in self.splits.items() if episode in episodes)
        name = next(inside, None)
        return None if name is None else SPLIT_NAMES.get(name.lower(), name)


@dataclass(frozen=True)
class VideoSpan:
    """Where a camera's frames of an episode lie: a file, and from when to when in it (seconds)."""

    path: str
    start: float
    end: float


@dataclass(frozen=True)
class EpisodeRow:
    """Where an episode's parts lie; paths are relative to the folder, `videos` by camera name."""

    index: int
    length: int
    tasks: tuple[str, ...] | None
    data: str
    videos: Mapping[str, VideoSpan]


def read_info(folder: Path) -> Info:
    """What the folder says of itself.

    Raises:
        DataError: there is no `info.json`, it is of another version, or a field is missing.
    """
    path = folder / INFO
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{folder}: no {INFO}; expected a LeRobot v3.0 folder") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    version = str(told.get("codebase_version")) if isinstance(told, dict) else "?"
    if not version.startswith("v3."):
        raise DataError(_other_version(folder, version))
    try:
        return Info(
            fps=_rate(told["fps"]),
            features={key: _feature(one) for key, one in told["features"].items()},
            total_episodes=int(told["total_episodes"]),
            data_path=told.get("data_path") or DATA,
            video_path=told.get("video_path") or VIDEOS,
            splits={name: _episodes(text) for name, text in (told.get("splits") or {}).items()},
            unknown=tuple(sorted(set(told) - KNOWN)),
        )
    except KeyError as error:
        raise DataError(f"{path}: the field {error} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: {error}") from error


def read_rows(folder: Path, info: Info, path: Path) -> list[EpisodeRow]:
    """The rows of one file of the table of episodes.

    Raises:
        DataError: the file is damaged, or lacks a column.
    """
    try:
        names = pq.read_schema(path).names
        kept = [name for name in names if not name.startswith("stats/")]
        return [_row(info, values) for values in pq.read_table(path, columns=kept).to_pylist()]
    except KeyError as error:
        raise DataError(
            f"{path}: the column {error} is missing from the table of episodes"
        ) from error
    except UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read as Parquet ({error}); was its writing cut off?"
        ) from error


def episode_files(folder: Path) -> list[Path]:
    """All files of the table of episodes, in the order of their names."""
    return sorted((folder / "meta/episodes").glob("*/*.parquet"))


def read_tasks(folder: Path) -> dict[int, str]:
    """The text of each task by its number; empty where no file tells.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / TASKS
    if not path.exists():
        return {}
    try:
        columns = pq.read_table(path).to_pydict()
        [texts] = [column for name, column in columns.items() if name != "task_index"]
        return dict(zip(columns["task_index"], texts, strict=True))
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read as a table of tasks ({error})") from error


def file_numbers(number: int) -> dict[str, int]:
    """Chunk and file of the file of this number, as the templates of paths call them."""
    return {"chunk_index": number // CHUNK_FILES, "file_index": number % CHUNK_FILES}


def _row(info: Info, values: Mapping[str, Any]) -> EpisodeRow:
    videos = {
        name: VideoSpan(
            info.video_path.format(video_key=key, **_place(values, f"videos/{key}")),
            float(values[f"videos/{key}/from_timestamp"]),
            float(values[f"videos/{key}/to_timestamp"]),
        )
        for name, key in info.cameras.items()
    }
    tasks = values.get("tasks")
    return EpisodeRow(
        index=int(values["episode_index"]),
        length=int(values["length"]),
        tasks=None if tasks is None else tuple(tasks),
        data=info.data_path.format(**_place(values, "data")),
        videos=videos,
    )


def _place(values: Mapping[str, Any], prefix: str) -> dict[str, int]:
    return {name: int(values[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}


def _rate(fps: Any) -> float:
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < 1e6:
        raise ValueError(f"fps is {fps!r}; expected a rate above 0")
    return float(fps)


def _feature(told: Mapping[str, Any]) -> Feature:
    names = told.get("names")
    if isinstance(names, dict):  # as older robots write it: {"motors": ["shoulder", ...]}
        names = [name for group in names.values() for name in group]
    about = told.get("info") or told.get("video_info") or {}
    return Feature(
        dtype=told["dtype"],
        shape=tuple(int(side) for side in told["shape"]),
        names=None if names is None else tuple(str(name) for name in names),
        codec=about.get("video.codec"),
    )


def _episodes(text: str) -> range:
    first, colon, end = str(text).partition(":")
    if not (colon and first.isdigit() and end.isdigit()):
        raise ValueError(f"a split is {text!r}; expected first:end, as in 0:50")
    return range(int(first), int(end))


def _other_version(folder: Path, version: str) -> str:
    if version.startswith(("v2.", "v1.")):
        return (
            f"{folder} is a LeRobot {version} folder; nexus reads v3.0. lerobot converts it: "
            "python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=NAME (v2.1; older "
            "ones to v2.1 first)"
        )
    return f"{folder / INFO}: codebase_version is {version!r}; expected {VERSION}"
