"""LeRobot v3.0 folders, read in place: tables with pyarrow, frames with PyAV, nothing copied.

frame of step i = the one at  from_timestamp + timestamp[i]  in the mp4, to 0.1 ms
"""

import json
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
from av.codec.codec import UnknownCodecError

from nexus.data.episodes.episodes import Episode, EpisodeProblem, Episodes
from nexus.data.episodes.lerobot_layout import (
    ACTION,
    ENVIRONMENT,
    INFO,
    SCHEMA,
    STATE,
    EpisodeRow,
    Feature,
    Info,
    episode_files,
    read_info,
    read_rows,
    read_tasks,
)
from nexus.data.episodes.lerobot_stats import stored_statistics
from nexus.data.episodes.lerobot_storage import LeRobotStorage
from nexus.data.episodes.schema import Schema
from nexus.data.videos.container import open_video
from nexus.errors import DataError

AV1_DECODERS = ("libdav1d", "libaom-av1", "libgav1")
"""FFmpeg's own `av1` decodes with the help of a graphics card alone."""
SHOWN = 5
"""More problems than this are counted where a folder is refused."""


@dataclass(frozen=True)
class LeRobotReader:
    """Opens a folder.

    Args:
        action, state: what the dimensions mean, in place of what lies in the folder.
        action_key, state_key, environment_key: the features that are read as such.
    """

    action: Schema | None = None
    state: Schema | None = None
    action_key: str = ACTION
    state_key: str = STATE
    environment_key: str = ENVIRONMENT

    def open(self, path: Path, *, strict: bool = True) -> Episodes:
        """The episodes of a folder: its tables of episodes are read, no data and no video.

        Args:
            strict: False goes on where files are missing: `problems` says what, and reading it
                raises.

        Raises:
            DataError: it is no LeRobot v3.0 folder, or (strict) something of it is missing.
        """
        info = read_info(path)
        rows, problems = _rows(path, info)
        problems += [problem for row in rows for problem in _missing_files(path, row)]
        if strict:
            _refuse(path, [one for one in problems if one.fatal])
        action, state, environment = self._schemas(path, info)
        _check_av1(path, info, rows)
        unread = [*info.unknown, *(k for k, one in info.features.items() if one.dtype == "image")]
        if unread:  # pictures within tables, which the format has as well, among them
            text = f"{path / INFO}: not looked at: {', '.join(unread)}"
            problems.append(EpisodeProblem(None, "odd", text, fatal=False))
            if strict:
                warnings.warn(text, UserWarning, stacklevel=2)
        columns = {"action": self.action_key}
        if state is not None:
            columns["state"] = self.state_key
        if environment is not None:
            columns["environment"] = self.environment_key
        storage = LeRobotStorage(path, {row.index: row for row in rows}, columns)
        texts = read_tasks(path)
        episodes = tuple(
            Episode(
                row.index,
                row.length,
                row.tasks if row.tasks is not None else storage.tasks(row.index, texts),
                info.split_of(row.index),
            )
            for row in rows
        )
        return Episodes(
            source=path,
            fps=info.fps,
            cameras={name: _size(path, info, key) for name, key in info.cameras.items()},
            action=action,
            state=state,
            episodes=episodes,
            storage=storage,
            problems=tuple(problems),
            stored=stored_statistics(path, action, self.action_key, state, self.state_key),
            environment=environment,
        )

    def _schemas(self, folder: Path, info: Info) -> tuple[Schema, Schema | None, Schema | None]:
        """Of actions, states and the environment's states: as given, else as our own file says,
        else the names in `info.json`."""
        own = _own_schemas(folder)
        schemas: list[Schema | None] = []
        for what, given, key in (
            ("action", self.action, self.action_key),
            ("state", self.state, self.state_key),
            ("environment_state", None, self.environment_key),
        ):
            feature = info.features.get(key)
            if feature is None:
                if what == "action" or given is not None:
                    known = ", ".join(k for k, one in info.features.items() if one.dtype != "video")
                    raise DataError(f"{folder}: there is no feature {key!r}; known: {known}")
                schemas.append(None)
                continue
            if len(feature.shape) != 1:
                if what == "environment_state":  # somebody's grid, say: nobody has to have it
                    schemas.append(None)
                    continue
                raise DataError(
                    f"{folder / INFO}: feature {key!r} has the shape {list(feature.shape)}; "
                    "expected numbers side by side: one side"
                )
            names = _names(what, feature)
            schema = given or own.get(key) or Schema.plain(names, info.fps)
            _check_schema(folder, schema, key, names, info.fps)
            schemas.append(schema)
        action, state, environment = schemas
        assert action is not None
        return action, state, environment


def _own_schemas(folder: Path) -> dict[str, Schema]:
    """What our own file says of features, if there is one."""
    path = folder / SCHEMA
    if not path.exists():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        schemas = {ACTION: told["action"], STATE: told["state"]}
        schemas[ENVIRONMENT] = told.get("environment")  # folders of 0.1 have none
        return {key: Schema.from_mapping(one) for key, one in schemas.items() if one}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}); delete it to go on without") from error


def _names(what: str, feature: Feature) -> list[str]:
    """One for each number: the feature's own, unless they are too few or alike."""
    [width] = feature.shape
    names = list(dict.fromkeys(feature.names or ()))
    return names if len(names) == width else [f"{what}_{i}" for i in range(width)]


def _check_schema(folder: Path, schema: Schema, key: str, names: list[str], fps: float) -> None:
    if schema.width != len(names):
        raise DataError(
            f"{folder}: the schema of {key!r} has {schema.width} dimensions "
            f"({', '.join(schema.names)}), the data {len(names)} ({', '.join(names)})"
        )
    if schema.rate != fps:
        raise DataError(
            f"{folder}: the schema of {key!r} says {schema.rate:g} steps a second, {INFO} {fps:g}"
        )


def _rows(folder: Path, info: Info) -> tuple[list[EpisodeRow], list[EpisodeProblem]]:
    """The rows of all files, by index; of two with one index the first is kept."""
    rows: dict[int, EpisodeRow] = {}
    problems = []
    for path in episode_files(folder):
        try:
            some = read_rows(folder, info, path)
        except DataError as error:
            problems.append(EpisodeProblem(None, "unreadable", str(error)))
            continue
        for row in some:
            if row.index in rows:
                text = f"there is a second row of this index in {path.relative_to(folder)}"
                problems.append(EpisodeProblem(row.index, "duplicate_episode", text))
            else:
                rows[row.index] = row
    gone = sorted(set(range(info.total_episodes)) - set(rows))
    if gone:
        listed = ", ".join(map(str, gone[:SHOWN])) + (", ..." if len(gone) > SHOWN else "")
        text = (
            f"{INFO} says {info.total_episodes} episodes; the table of episodes "
            f"(meta/episodes) lacks {len(gone)} of them: {listed}"
        )
        problems.append(EpisodeProblem(None, "missing_episode", text))
    more = len([index for index in rows if index >= info.total_episodes])
    if more:
        text = (
            f"{INFO} says {info.total_episodes} episodes, and {more} more are there: the program "
            "that wrote them was stopped before it counted them"
        )
        problems.append(EpisodeProblem(None, "odd", text, fatal=False))
    return [rows[index] for index in sorted(rows)], problems


def _missing_files(folder: Path, row: EpisodeRow) -> list[EpisodeProblem]:
    problems = []
    if not (folder / row.data).is_file():
        text = f"its table {row.data} is missing"
        problems.append(EpisodeProblem(row.index, "missing_data", text))
    for camera, span in row.videos.items():
        if not (folder / span.path).is_file():
            text = f"camera {camera!r}: its video {span.path} is missing"
            problems.append(EpisodeProblem(row.index, "missing_video", text))
    return problems


def _refuse(folder: Path, problems: list[EpisodeProblem]) -> None:
    if problems:
        listed = "\n  - ".join(map(str, problems[:SHOWN]))
        rest = f"\n  - and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError(
            f"{folder}: {len(problems)} problem{'s' * (len(problems) > 1)}; `nexus check` shows "
            f"all\n  - {listed}{rest}"
        )


def _check_av1(folder: Path, info: Info, rows: list[EpisodeRow]) -> None:
    """Refuse videos that this FFmpeg cannot decode before anything is waited for."""
    for name, key in info.cameras.items():
        codec = info.features[key].codec
        paths = (folder / row.videos[name].path for row in rows)
        path = None if codec else next((one for one in paths if one.is_file()), None)
        if path is not None:
            with suppress(DataError), open_video(path) as video:  # a bad file is told when read
                codec = video.stream.codec_context.codec.name
        if codec in ("av1", *AV1_DECODERS) and not any(map(_has_decoder, AV1_DECODERS)):
            raise DataError(
                f"{folder}: camera {name!r} is coded as AV1, and this PyAV ({av.__version__}) has "
                f"none of {', '.join(AV1_DECODERS)} to decode it; install PyAV from PyPI "
                "(pip install --force-reinstall av), or re-encode the videos as H.264"
            )


def _has_decoder(name: str) -> bool:
    try:
        av.Codec(name, "r")
    except UnknownCodecError:
        return False
    return True


def _size(folder: Path, info: Info, key: str) -> tuple[int, int]:
    """Height and width of a camera's pictures."""
    feature = info.features[key]
    shape = feature.shape
    if len(shape) != 3:
        raise DataError(f"{folder / INFO}: camera {key!r} has the shape {list(shape)}; expected 3")
    first = (feature.names or ("height",))[0]
    return (shape[1], shape[2]) if first.startswith("channel") else (shape[0], shape[1])
