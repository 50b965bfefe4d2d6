"""Robot recordings as one value, whatever they lie in: what was seen, what was done, and when.

    step        0      1      2     ...          `fps` steps a second
    frames      *      *      *                  a picture a camera: what is seen before acting
    states      *      *      *                  where the robot is then
    actions      ----->  ----->  ----->          what it is told to do next

A reader of another format is one file with a `Storage` and a function that returns `Episodes`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from nexus.data.episodes.schema import Schema
from nexus.data.episodes.statistics import EpisodeStatistics, Statistics
from nexus.data.pictures import PictureView
from nexus.errors import DataError


@dataclass(frozen=True)
class Episode:
    """One recording. `index`: its number in the data set; `length`: steps; `tasks`: as texts."""

    index: int
    length: int
    tasks: tuple[str, ...] = ()
    split: str | None = None


@dataclass(frozen=True)
class EpisodeProblem:
    """Something that is wrong with an episode, or (`episode` None) with all of them.

    `reason`: a sentence that names the file, the camera or the dimension; `fatal`: the episode
    cannot be used as it is.
    """

    episode: int | None
    kind: str
    reason: str
    fatal: bool = True

    def __str__(self) -> str:
        where = "" if self.episode is None else f"episode {self.episode}: "
        return where + self.reason


@dataclass(frozen=True, eq=False)
class EpisodeTable:
    """The numbers of an episode as they are stored, not yet held against anything.

    `times`: seconds from the start of the episode; `environment_states`: see `Episodes`.
    """

    actions: Float32[np.ndarray, "steps action"]
    states: Float32[np.ndarray, "steps state"] | None
    times: Float64[np.ndarray, " steps"]
    environment_states: Float64[np.ndarray, "steps environment"] | None = None


class Storage(Protocol):
    """Knows where the parts of an episode lie. It can be pickled, and holds no open file."""

    def table(self, index: int) -> EpisodeTable:
        """The numbers of an episode.

        Raises:
            DataError: naming the file that cannot be read.
        """
        ...

    def frames(
        self, index: int, camera: str, numbers: np.ndarray, view: PictureView | None
    ) -> UInt8[np.ndarray, "n height width 3"]:
        """Frames of an episode by their steps (int64, at least one), in any order.

        Raises:
            DataError: naming the file, and the frame that is missing.
        """
        ...

    def frame_times(self, index: int, camera: str) -> Float64[np.ndarray, " frames"]:
        """When the frames that there are of an episode are shown, seconds from its start.

        Raises:
            DataError: naming the file that cannot be read.
        """
        ...


@dataclass(frozen=True, eq=False)
class Episodes:
    """Robot recordings that were opened.

    Args:
        source: where they lie.
        fps: steps, and frames, a second.
        cameras: their names, and height and width of their pictures.
        action, state: what the numbers mean; no state, no `states`.
        episodes: in the order of their indices.
        storage: reads them.
        problems: what stands in the way of some of them; empty unless they were opened with
            `strict=False`.
        stored: statistics that lie beside the data, if any.
        environment: what the numbers of a simulator's exact states mean, where they were kept.
    """

    source: Path
    fps: float
    cameras: Mapping[str, tuple[int, int]]
    action: Schema
    state: Schema | None
    episodes: tuple[Episode, ...]
    storage: Storage
    problems: tuple[EpisodeProblem, ...] = ()
    stored: EpisodeStatistics | None = None
    environment: Schema | None = None
    _by_index: Mapping[int, Episode] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_index", {one.index: one for one in self.episodes})

    def __len__(self) -> int:
        return len(self.episodes)

    @property
    def indices(self) -> tuple[int, ...]:
        """The numbers that the episodes are asked for by."""
        return tuple(self._by_index)

    def episode(self, index: int) -> Episode:
        """What is known of an episode without reading it.

        Raises:
            DataError: there is none of this number.
        """
        if index not in self._by_index:
            raise DataError(
                f"{self.source}: there is no episode {index}; {len(self)} are there"
                + (f", from {self.indices[0]} to {self.indices[-1]}" if self.episodes else "")
            )
        return self._by_index[index]

    def of_split(self, split: str) -> tuple[int, ...]:
        """The episodes of a split; where no split is known, all of them are for training."""
        if split == "train" and not any(one.split for one in self.episodes):
            return self.indices
        return tuple(one.index for one in self.episodes if one.split == split)

    def actions(self, index: int) -> Float32[np.ndarray, "steps action"]:
        """What the robot was told at each step.

        Raises:
            DataError: naming episode and dimension where a value is not finite, or the file that
                cannot be read.
        """
        return self._sound(index, "action", self.action, self._table(index).actions)

    def states(self, index: int) -> Float32[np.ndarray, "steps state"] | None:
        """Where the robot was at each step; None where no state was recorded.

        Raises:
            DataError: as `actions`.
        """
        if self.state is None:
            return None
        states = self._table(index).states
        assert states is not None
        return self._sound(index, "state", self.state, states)

    def environment_states(self, index: int) -> Float64[np.ndarray, "steps environment"] | None:
        """All there was to know of the simulator before each action; None where it was not kept.

        A model never sees them: they are what its errors are measured by.

        Raises:
            DataError: as `actions`.
        """
        if self.environment is None:
            return None
        states = self._table(index).environment_states
        assert states is not None
        return self._sound(index, "environment state", self.environment, states)

    def times(self, index: int) -> Float64[np.ndarray, " steps"]:
        """When each step was, seconds from the start of the episode.

        Raises:
            DataError: naming the file that cannot be read.
        """
        return self._table(index).times

    def frames(
        self,
        index: int,
        camera: str,
        numbers: Sequence[int] | np.ndarray,
        view: PictureView | None = None,
    ) -> UInt8[np.ndarray, "n height width 3"]:
        """Pictures of a camera by their steps.

        Args:
            numbers: steps, from 0 on, at least one, in any order.
            view: what is kept of each picture; None keeps all of it.

        Raises:
            DataError: there is no such episode, camera or step, or its frame cannot be decoded.
        """
        length = self.episode(index).length
        if camera not in self.cameras:
            raise DataError(
                f"{self.source}: there is no camera {camera!r}; known: {', '.join(self.cameras)}"
            )
        steps = np.asarray(numbers)
        if steps.ndim != 1 or not steps.size or steps.dtype.kind not in "iu":
            raise ValueError(f"numbers: expected a list of steps, got {numbers!r}")
        if steps.min() < 0 or steps.max() >= length:
            raise DataError(
                f"episode {index} has the steps 0 to {length - 1}; asked for "
                f"{steps.min()} to {steps.max()}"
            )
        return self.storage.frames(index, camera, steps.astype(np.int64), view)

    def statistics(self, indices: Sequence[int] | None = None) -> EpisodeStatistics:
        """How actions and states spread over these episodes; None: those for training.

        Raises:
            DataError: there is no step, a value is not finite, or a file cannot be read.
        """
        chosen = self.of_split("train") if indices is None else tuple(indices)
        action = Statistics.of(self.action.names, (self.actions(index) for index in chosen))
        if self.state is None:
            return EpisodeStatistics(action=action)
        states = [self.states(index) for index in chosen]
        kept = [part for part in states if part is not None]
        return EpisodeStatistics(action=action, state=Statistics.of(self.state.names, kept))

    def _table(self, index: int) -> EpisodeTable:
        self.episode(index)  # refuses one that is not there
        return self.storage.table(index)

    def _sound(self, index: int, what: str, schema: Schema, values: np.ndarray) -> np.ndarray:
        """The values, if they are all there and finite."""
        length, faults = self.episode(index).length, schema.faults(values)
        if not faults and len(values) != length:
            faults = [f"has {len(values)} steps; the table of episodes says {length}"]
        if faults:
            raise DataError(f"{self.source}: episode {index}: {what} {'; '.join(faults)}")
        return values
