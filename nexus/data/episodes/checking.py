"""Everything that is wrong with robot episodes, in one pass: tables, times, lengths, scales."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nexus.data.episodes.episodes import EpisodeProblem, Episodes, EpisodeTable
from nexus.data.episodes.opening import EpisodeReader, open_episodes
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.statistics import MIS_SCALED, EpisodeStatistics, Statistics
from nexus.errors import DataError
from nexus.registry import Choice

RATE_TOLERANCE = 1e-4
"""Seconds that a step may be off its time at the rate."""
FEW = 3
"""Fewer episodes than this do not say what is usual."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CheckedEpisodes:
    """What was checked: `episodes` is None where nothing can be opened at all."""

    source: Path
    episodes: Episodes | None
    problems: tuple[EpisodeProblem, ...]

    @property
    def usable(self) -> tuple[int, ...]:
        """The episodes that nothing fatal was found of."""
        bad = {problem.episode for problem in self.problems if problem.fatal}
        return tuple(i for i in (self.episodes.indices if self.episodes else ()) if i not in bad)


@dataclass
class _Values:
    """Of actions or states: the episodes that are whole, and how each of them spreads."""

    what: str
    schema: Schema
    stored: Statistics | None
    spreads: dict[int, np.ndarray] = field(default_factory=dict)
    means: dict[int, np.ndarray] = field(default_factory=dict)
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    steps: int = 0

    def add(self, index: int, values: np.ndarray) -> list[EpisodeProblem]:
        """Take in an episode; what is wrong with it by itself."""
        faults = self.schema.faults(values)
        if faults:
            return [self._problem(index, "not_finite", text) for text in faults]
        problems = [
            self._problem(index, "out_of_bounds", text)
            for text in self.schema.out_of_bounds(values)
        ]
        if not len(values):
            return problems
        self.steps += len(values)
        low, high = values.min(axis=0), values.max(axis=0)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        self.means[index] = values.mean(axis=0, dtype=np.float64)
        self.spreads[index] = values.std(axis=0, dtype=np.float64)
        if self.stored is not None:
            texts = self.stored.faults(values, "the stored statistics")
            problems += [self._problem(index, "mis_scaled", text) for text in texts]
        return problems

    def of_all(self, told: set[int]) -> list[EpisodeProblem]:
        """What only all episodes together show.

        Args:
            told: episodes that are known to be mis-scaled.
        """
        problems = []
        if self.low is not None and self.high is not None and self.steps > 1:
            for name, low, high in zip(self.schema.names, self.low, self.high, strict=True):
                if low == high:
                    text = (
                        f"{self.what} dimension {name!r} is {low:g} in every step of every "
                        "episode: nothing can be learned from it"
                    )
                    problems.append(EpisodeProblem(None, "constant", text, fatal=False))
        if len(self.spreads) < FEW:
            return problems
        usual = np.median(list(self.spreads.values()), axis=0)
        centre = np.median(list(self.means.values()), axis=0)
        for index, spread in self.spreads.items():
            reach = np.maximum(spread, np.abs(self.means[index] - centre))
            columns = zip(self.schema.names, reach, usual, centre, strict=True)
            for name, one, median, middle in columns:
                tiny = 1e-6 * max(1.0, abs(middle))
                if index not in told and median > tiny and one >= MIS_SCALED * median:
                    text = (
                        f"dimension {name!r} lies, or spreads, {one / median:.0f} times as far as "
                        "in the other episodes; another unit?"
                    )
                    problems.append(self._problem(index, "mis_scaled", text))
        return problems

    def _problem(self, index: int, kind: str, text: str) -> EpisodeProblem:
        return EpisodeProblem(index, kind, f"{self.what} {text}")


def check_episodes(
    path: str | Path,
    reader: Choice | EpisodeReader | None = None,
    *,
    progress: Progress | None = None,
) -> CheckedEpisodes:
    """Look at every table and the frame times of every video; no frame is decoded.

    Args:
        path, reader: as `open_episodes`.
        progress: called with (episodes done, all of them).

    Raises:
        ConfigError: there is no such reader.
    """
    source = Path(path).expanduser()
    try:
        episodes = open_episodes(source, reader, strict=False)
    except DataError as error:
        return CheckedEpisodes(source, None, (EpisodeProblem(None, "unreadable", str(error)),))
    problems = list(episodes.problems)
    stored = episodes.stored or EpisodeStatistics.model_construct(action=None, state=None)
    kinds = {"action": _Values("action", episodes.action, stored.action)}
    if episodes.state is not None:
        kinds["state"] = _Values("state", episodes.state, stored.state)
    for done, episode in enumerate(episodes.episodes):
        try:
            table = episodes.storage.table(episode.index)
        except DataError as error:
            table = None
            if not _is_told(problems, episode.index, "missing_data"):
                problems.append(EpisodeProblem(episode.index, "unreadable", str(error)))
        if table is not None:
            problems += _times(episodes, episode.index, table)
            problems += _lengths(episodes, episode.index, table)
            for kind, values in (("action", table.actions), ("state", table.states)):
                if kind in kinds and values is not None:
                    problems += kinds[kind].add(episode.index, values)
            if episodes.environment is not None and table.environment_states is not None:
                problems += [
                    EpisodeProblem(episode.index, "not_finite", f"environment state {text}")
                    for text in episodes.environment.faults(table.environment_states)
                ]
        problems += _videos(episodes, episode.index, table)
        if progress is not None:
            progress(done + 1, len(episodes))
    told = {one.episode for one in problems if one.kind == "mis_scaled"}
    for values in kinds.values():
        problems += values.of_all({index for index in told if index is not None})
    return CheckedEpisodes(source, episodes, tuple(problems))


def _times(episodes: Episodes, index: int, table: EpisodeTable) -> list[EpisodeProblem]:
    """Whether the steps come at the rate that is said."""
    times = table.times
    bad = _off(times, np.arange(len(times)) / episodes.fps)
    if not bad.size:
        return []
    text = f"its step {bad[0]} is at {times[bad[0]]:.4f} s, and at {bad[0] / episodes.fps:.4f} s"
    text += f" by the rate of {episodes.fps:g} steps a second{_apart('steps', times)}"
    return [EpisodeProblem(index, "wrong_rate", text)]


def _off(times: np.ndarray, due: np.ndarray) -> np.ndarray:
    """The numbers of the times that are not where they should be."""
    # float32 is what times are stored in: after an hour it is coarser than the tolerance.
    off = np.abs(times - due) - np.spacing(np.abs(times).astype(np.float32))
    return np.flatnonzero(~(off <= RATE_TOLERANCE))


def _apart(what: str, times: np.ndarray) -> str:
    """How far apart the times are, as the end of a sentence; nothing where there is one."""
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return f"; its {what} are {usual:.4g} s apart ({1 / usual:.4g} a second)" if usual > 0 else ""


def _lengths(episodes: Episodes, index: int, table: EpisodeTable) -> list[EpisodeProblem]:
    said, steps = episodes.episode(index).length, len(table.actions)
    if said == steps:
        return []
    text = f"the table of episodes says {said} steps, its own table has {steps}"
    return [EpisodeProblem(index, "length", text)]


def _videos(episodes: Episodes, index: int, table: EpisodeTable | None) -> list[EpisodeProblem]:
    steps = episodes.episode(index).length if table is None else len(table.actions)
    problems = []
    for camera in episodes.cameras:
        try:
            times = episodes.storage.frame_times(index, camera)
        except DataError as error:
            if _is_told(episodes.problems, index, "missing_video", repr(camera)):
                continue
            text = f"camera {camera!r}: {error}"
            problems.append(EpisodeProblem(index, "unreadable", text))
            continue
        frames = len(times)
        if frames != steps:
            longer = "table" if steps > frames else "video"
            text = (
                f"camera {camera!r}: the {longer} is longer: {steps} steps in the table, {frames} "
                "frames in the video"
            )
            problems.append(EpisodeProblem(index, "video_length", text))
            continue
        bad = _off(times, np.arange(steps) / episodes.fps)
        if bad.size:
            text = (
                f"camera {camera!r}: its frame {bad[0]} is at {times[bad[0]]:.4f} s, and at "
                f"{bad[0] / episodes.fps:.4f} s by the rate of {episodes.fps:g} steps a second"
                f"{_apart('frames', times)}"
            )
            problems.append(EpisodeProblem(index, "wrong_rate", text))
    return problems


def _is_told(problems: Iterable[EpisodeProblem], index: int, kind: str, name: str = "") -> bool:
    """Whether it is known that the file is missing: then that it cannot be read is no news."""
    return any(p.episode == index and p.kind == kind and name in p.reason for p in problems)
