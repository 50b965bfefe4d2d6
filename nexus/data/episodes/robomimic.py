"""HDF5 files as robomimic writes them, read in place.

data/demo_0/actions                          (steps, dims)
data/demo_0/obs/agentview_image              uint8 (steps, height, width, 3)
data/demo_0/obs/robot0_eef_pos, ...          (steps, dims): what the robot knows of itself
data/demo_0/states                           (steps, dims): the simulator's, without names
mask/train, mask/valid                       names of the episodes of a split
data, attribute env_args                     JSON; env_kwargs.control_freq is the rate
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nexus.data.catalog.labels import SPLIT_NAMES
from nexus.data.episodes.episodes import Episode, EpisodeProblem, Episodes, EpisodeTable
from nexus.data.episodes.schema import Schema
from nexus.data.pictures import PictureView, collect
from nexus.errors import DataError

IMAGE, STATES = "_image", "states"
BODY = ("eef_pos", "eef_quat", "gripper_qpos")
"""What robomimic itself gives to policies of each robot, and we take for its state."""


@dataclass(frozen=True)
class RobomimicReader:
    """Opens a file.

    Args:
        action, state: what the dimensions mean; the file does not say it.
        state_keys: observations that are the state, side by side; None: those of `BODY` that are
            there, of each robot.
        fps: steps a second, where the file does not say it.
        environment: which numbers of the simulator's states (`states`: MuJoCo's time, places and
            speeds, side by side) tell where things are, by names: `{"cube_x": 10, ...}`. None:
            none are read, since a picture does not show all of them.
    """

    action: Schema | None = None
    state: Schema | None = None
    state_keys: Sequence[str] | None = None
    fps: float | None = None
    environment: Mapping[str, int] | None = None

    def open(self, path: Path, *, strict: bool = True) -> Episodes:
        """The episodes of a file; only shapes are read.

        Args:
            strict: False leaves out episodes that lack something, and keeps what in `problems`.

        Raises:
            DataError: h5py is missing, the file is not robomimic's, or (strict) an episode lacks
                something.
        """
        with _opened(path) as file:
            if "data" not in file:
                raise DataError(f"{path}: there is no group `data`; expected a file of robomimic")
            demos = {int(name[5:]): group for name, group in file["data"].items() if _is_demo(name)}
            if not demos:
                raise DataError(
                    f"{path}: there is no data/demo_0, ...; expected a file of robomimic"
                )
            first = next((demo for _, demo in sorted(demos.items()) if "actions" in demo), None)
            if first is None:
                raise DataError(f"{path}: no episode has actions; expected a file of robomimic")
            observed: Mapping[str, Any] = first.get("obs", {})
            cameras = {
                name.removesuffix(IMAGE): (int(pictures.shape[1]), int(pictures.shape[2]))
                for name, pictures in observed.items()
                if name.endswith(IMAGE) and pictures.ndim == 4
            }
            state_keys = self._state_keys(path, observed)
            fps = self.fps or _rate(path, file["data"].attrs.get("env_args"))
            splits = _splits(file)
            places = self.environment or {}
            numbers = [*(f"obs/{key}" for key in state_keys), "actions"]
            if places:
                numbers.append(STATES)
                _check_places(path, places, first)
            problems, episodes = [], []
            for index in sorted(demos):
                faults = _faults(demos[index], cameras, numbers, first)
                if faults:
                    problems += [EpisodeProblem(index, kind, text) for kind, text in faults]
                    continue
                name = f"demo_{index}"
                length = len(demos[index]["actions"])
                episodes.append(Episode(index, length, (), splits.get(name)))
            names = _names("action", first["actions"])
            action = _schema(path, "action", self.action, names, fps)
            names = [name for key in state_keys for name in _names(key, observed[key])]
            state = _schema(path, "state", self.state, names, fps) if names else None
        if strict and problems:
            raise DataError(f"{path}: " + "; ".join(map(str, problems[:5])))
        return Episodes(
            source=path,
            fps=fps,
            cameras=cameras,
            action=action,
            state=state,
            episodes=tuple(episodes),
            storage=RobomimicStorage(path, fps, tuple(state_keys), tuple(places.values())),
            problems=tuple(problems),
            environment=Schema.plain(list(places), fps) if places else None,
        )

    def _state_keys(self, path: Path, observed: Mapping[str, Any]) -> list[str]:
        if self.state_keys is None:
            robots = sorted({key.split("_")[0] for key in observed if key.startswith("robot")})
            keys = [f"{robot}_{part}" for robot in robots for part in BODY]
            return [key for key in keys if key in observed]
        absent = [key for key in self.state_keys if key not in observed]
        if absent:
            raise DataError(
                f"{path}: there is no observation {absent[0]!r}; known: {', '.join(observed)}"
            )
        return list(self.state_keys)


@dataclass(frozen=True)
class RobomimicStorage:
    """Reads the episodes of a file, which is opened for each of them."""

    path: Path
    fps: float
    state_keys: tuple[str, ...]
    places: tuple[int, ...] = ()
    """Columns of the simulator's states."""

    def table(self, index: int) -> EpisodeTable:
        """The numbers of an episode.

        Raises:
            DataError: the file cannot be read.
        """
        with _opened(self.path) as file:
            demo = file[f"data/demo_{index}"]
            actions = _matrix(demo["actions"])
            parts = [_matrix(demo[f"obs/{key}"]) for key in self.state_keys]
            return EpisodeTable(
                actions=actions,
                states=np.concatenate(parts, axis=1) if parts else None,
                times=np.arange(len(actions)) / self.fps,
                environment_states=(
                    _matrix(demo[STATES], np.float64)[:, self.places] if self.places else None
                ),
            )

    def frames(
        self, index: int, camera: str, numbers: np.ndarray, view: PictureView | None
    ) -> np.ndarray:
        """uint8 (n, height, width, 3): the pictures of these steps.

        Raises:
            DataError: the file cannot be read.
        """
        chosen, place = np.unique(numbers, return_inverse=True)
        with _opened(self.path) as file:
            pictures = file[f"data/demo_{index}/obs/{camera}{IMAGE}"]
            return collect((pictures[number] for number in chosen), place, view)

    def frame_times(self, index: int, camera: str) -> np.ndarray:
        """float64 (frames,): seconds from the start; pictures come at the rate of the steps."""
        with _opened(self.path) as file:
            return np.arange(len(file[f"data/demo_{index}/obs/{camera}{IMAGE}"])) / self.fps


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, open; what goes wrong in it becomes an error that names it."""
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            f"{path} is HDF5, which needs h5py: pip install 'nexus-vjepa[robots]'"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError) as error:
        raise DataError(f"{path} cannot be read as HDF5 ({error})") from error


def _is_demo(name: str) -> bool:
    return name.startswith("demo_") and name[5:].isdigit()


def _faults(
    demo: Any, cameras: Mapping[str, Any], numbers: Sequence[str], first: Any
) -> list[tuple[str, str]]:
    """What an episode lacks that the first one has: kind and sentence."""
    if "actions" not in demo:
        return [("missing_data", "it has no actions")]
    faults = []
    for camera in cameras:
        pictures = demo.get(f"obs/{camera}{IMAGE}")
        if pictures is None:
            faults.append(("missing_video", f"camera {camera!r}: it has no obs/{camera}{IMAGE}"))
        elif pictures.dtype != np.uint8 or pictures.shape[1:] != (*cameras[camera], 3):
            faults.append(
                (
                    "odd_video",
                    f"camera {camera!r}: pictures are {pictures.dtype} {pictures.shape[1:]}; "
                    f"expected uint8 {(*cameras[camera], 3)}",
                )
            )
    for key in numbers:
        if key not in demo:
            faults.append(("missing_data", f"it has no {key}"))
        elif demo[key].shape[1:] != first[key].shape[1:]:
            faults.append(
                (
                    "shape",
                    f"{key} has {demo[key].shape[1:]} numbers a step; the first episode "
                    f"{first[key].shape[1:]}",
                )
            )
    return faults


def _names(name: str, values: Any) -> list[str]:
    """`name_0`, `name_1`, ...: the file has no names for the numbers of a step."""
    width = int(np.prod(values.shape[1:]))
    return [name] if width == 1 else [f"{name}_{i}" for i in range(width)]


def _schema(path: Path, what: str, given: Schema | None, names: list[str], fps: float) -> Schema:
    schema = given or Schema.plain(names, fps)
    if schema.width != len(names) or schema.rate != fps:
        raise DataError(
            f"{path}: the schema of the {what} has {schema.width} dimensions at {schema.rate:g} "
            f"steps a second; the file {len(names)} at {fps:g}"
        )
    return schema


def _rate(path: Path, env_args: Any) -> float:
    try:
        return float(json.loads(env_args)["env_kwargs"]["control_freq"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} does not say how many steps a second there are (env_kwargs.control_freq in "
            "the attribute env_args of `data`); say it: RobomimicReader(fps=20)"
        ) from error


def _splits(file: Any) -> dict[str, str]:
    """The split of each episode by its name; masks that are no split are left out."""
    splits = {}
    for name, members in file.get("mask", {}).items():
        split = SPLIT_NAMES.get(name.lower())
        if split is not None:
            splits |= {member.decode(): split for member in members[:]}
    return splits


def _check_places(path: Path, places: Mapping[str, int], demo: Any) -> None:
    """See to it that the simulator's states have such numbers."""
    if STATES not in demo:
        raise DataError(f"{path}: there are no {STATES} to read {', '.join(places)} from")
    width = int(np.prod(demo[STATES].shape[1:]))
    for name, place in places.items():
        if not 0 <= place < width:
            raise DataError(
                f"{path}: {name!r} is number {place} of the simulator's states; they have {width}, "
                "counted from 0"
            )


def _matrix(values: Any, dtype: Any = np.float32) -> np.ndarray:
    """(steps, dims)."""
    array = np.asarray(values[:], dtype=dtype)
    return array.reshape(len(array), -1)
