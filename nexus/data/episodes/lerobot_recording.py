"""What is recorded: cameras, schemas and rate of a LeRobot folder that we write."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nexus.data.episodes.lerobot_layout import (
    ACTION,
    CHUNK_FILES,
    DATA,
    ENVIRONMENT,
    IMAGES,
    STATE,
    VERSION,
    VIDEOS,
)
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.video_files import CODECS, FILE_CODEC, Codec
from nexus.errors import DataError

COLUMNS = {"timestamp": "float32"} | dict.fromkeys(
    ("frame_index", "episode_index", "index", "task_index"), "int64"
)
"""What every step has beside what the robot does."""


@dataclass(frozen=True)
class Recording:
    """The settings of a folder.

    Raises:
        DataError: they contradict each other, or the format has no room for one.
    """

    fps: int
    action: Schema
    state: Schema | None
    cameras: Mapping[str, tuple[int, int]]
    codec: Codec
    environment: Schema | None = None

    def __post_init__(self) -> None:
        if isinstance(self.fps, bool) or not isinstance(self.fps, int) or self.fps < 1:
            raise DataError(f"fps is {self.fps!r}; the format has whole numbers from 1 on")
        for what, (schema, _) in self.schemas.items():
            if schema is not None and schema.rate != self.fps:
                raise DataError(
                    f"the schema of {what} says {schema.rate:g} steps a second, fps {self.fps}"
                )
        if self.codec not in CODECS:
            raise DataError(f"codec is {self.codec!r}; known: {', '.join(CODECS)}")
        bad = [name for name in self.cameras if not name or "/" in name]
        if bad:
            raise DataError(f"a camera is called {bad[0]!r}; expected a name without a slash")

    @property
    def schemas(self) -> dict[str, tuple[Schema | None, type[np.floating]]]:
        """Of each feature of numbers, and how they are kept: a simulator's states to the bit."""
        return {
            ACTION: (self.action, np.float32),
            STATE: (self.state, np.float32),
            ENVIRONMENT: (self.environment, np.float64),
        }

    @property
    def video_keys(self) -> dict[str, str]:
        """What the format calls each camera."""
        return {name: IMAGES + name for name in self.cameras}

    def info(self, robot_type: str | None, episodes: int, steps: int, tasks: int) -> dict[str, Any]:
        """`meta/info.json` of so many of each."""
        return {
            "codebase_version": VERSION,
            "robot_type": robot_type,
            "total_episodes": episodes,
            "total_frames": steps,
            "total_tasks": tasks,
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self.fps,
            "splits": {"train": f"0:{episodes}"},
            "data_path": DATA,
            "video_path": VIDEOS if self.cameras else None,
            "features": self.features(),
        }

    def features(self) -> dict[str, Any]:
        """As `meta/info.json` lists them."""
        features: dict[str, Any] = {}
        for key, (schema, dtype) in self.schemas.items():
            if schema is not None:
                features[key] = {
                    "dtype": np.dtype(dtype).name,
                    "shape": [schema.width],
                    "names": list(schema.names),
                }
        for camera, (height, width) in self.cameras.items():
            features[IMAGES + camera] = {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
                "info": {
                    "video.height": height,
                    "video.width": width,
                    "video.codec": FILE_CODEC[self.codec],
                    "video.pix_fmt": CODECS[self.codec][1].replace("rgb24", "gbrp"),
                    "video.is_depth_map": False,
                    "video.fps": self.fps,
                    "video.channels": 3,
                    "has_audio": False,
                },
            }
        for name, dtype in COLUMNS.items():
            features[name] = {"dtype": dtype, "shape": [1], "names": None}
        return features

    def to_mapping(self) -> dict[str, Any]:
        """What a folder is opened again with, as JSON: our own file beside the format's."""
        return {
            "fps": self.fps,
            "action": self.action.to_mapping(),
            "state": None if self.state is None else self.state.to_mapping(),
            "cameras": {name: list(size) for name, size in self.cameras.items()},
            "codec": self.codec,
            "environment": None if self.environment is None else self.environment.to_mapping(),
        }

    def vectors(self, given: Mapping[str, np.ndarray | None]) -> dict[str, np.ndarray]:
        """(steps, dims) of each feature, under its name in the format, as it is kept.

        Raises:
            DataError: a width, a length, a value that is not finite or leaves its bounds.
        """
        vectors = {}
        for key, (schema, dtype) in self.schemas.items():
            numbers = given.get(key)
            if (numbers is None) != (schema is None):
                raise DataError(
                    f"{key}: states are given, and there is no schema for them, or the reverse"
                )
            if schema is None or numbers is None:
                continue
            values = np.asarray(numbers).astype(dtype)
            faults = schema.faults(values) or schema.out_of_bounds(values)
            if not faults and not len(values):
                faults = ["has no step"]
            if faults:
                raise DataError(f"{key} {'; '.join(faults)}")
            vectors[key] = values
        lengths = {key: len(values) for key, values in vectors.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"the numbers of steps differ: {lengths}")
        return vectors

    def check_frames(self, frames: Mapping[str, np.ndarray], steps: int) -> None:
        """Refuse frames that are not those of all cameras for so many steps.

        Raises:
            DataError: saying what was got and expected.
        """
        if set(frames) != set(self.cameras):
            raise DataError(
                f"frames of the cameras {sorted(frames)}; expected {sorted(self.cameras)}"
            )
        for camera, pictures in frames.items():
            expected = (steps, *self.cameras[camera], 3)
            if pictures.shape != expected or pictures.dtype != np.uint8:
                raise DataError(
                    f"camera {camera!r}: frames are {pictures.dtype} "
                    f"{pictures.shape}; expected uint8 {expected}"
                )
