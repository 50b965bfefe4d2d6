"""One robot as a world model knows it: what its numbers mean, how they spread, how it is sampled.

It is kept with the model, so that the model can be used without the data that it was trained on,
and everything that comes later is held against it.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import pydantic
from jaxtyping import Float32, Float64

from nexus.config import Config
from nexus.data.episodes.blocks import Blocks
from nexus.data.episodes.episodes import Episodes
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.statistics import EpisodeStatistics
from nexus.errors import DataError

FLAT = 1e-6
"""A spread below this share of a dimension's size is what rounding leaves of a constant."""


class Robot(Config):
    """An embodiment: one set of actions and states, seen by some cameras.

    `block` control steps are one step of the model; `action` and `state` are of one control step.
    """

    name: str = pydantic.Field(min_length=1)
    cameras: tuple[str, ...] = pydantic.Field(min_length=1)
    action: Schema
    state: Schema | None = None
    statistics: EpisodeStatistics
    block: pydantic.PositiveInt = 1

    @classmethod
    def of(
        cls,
        episodes: Episodes,
        indices: Sequence[int],
        *,
        name: str = "robot",
        cameras: Sequence[str] | None = None,
        block: int = 1,
    ) -> Self:
        """The robot of a recording.

        Args:
            indices: the episodes whose statistics count: those of training.
            cameras: in the order of the model's views; None: all there are.

        Raises:
            DataError: a camera is not there, a dimension of the action never changes, or an episode
                cannot be read.
        """
        chosen = tuple(episodes.cameras) if cameras is None else tuple(cameras)
        if unknown := [camera for camera in chosen if camera not in episodes.cameras]:
            raise DataError(
                f"{episodes.source}: there is no camera {unknown[0]!r}; known: "
                f"{', '.join(episodes.cameras) or 'none'}"
            )
        if not chosen:
            raise DataError(f"{episodes.source}: there is no camera; a world model needs pictures")
        statistics = episodes.statistics(indices)
        if constant := statistics.action.constant():
            raise DataError(
                f"{episodes.source}: dimension {constant[0]!r} of the action never changes over "
                f"{len(indices)} episodes: nothing can be learned of what it does; leave it out"
            )
        return cls(
            name=name,
            cameras=chosen,
            action=episodes.action,
            state=episodes.state,
            statistics=statistics,
            block=block,
        )

    @property
    def blocks(self) -> Blocks:
        """How control steps are joined."""
        return Blocks(size=self.block)

    @property
    def action_width(self) -> int:
        """Numbers of a model step's action: those of its control steps, side by side."""
        return self.action.width * self.block

    @property
    def state_width(self) -> int:
        """Numbers of a state; 0 where none is recorded."""
        return 0 if self.state is None else self.state.width

    @property
    def rate(self) -> float:
        """Steps of the model a second."""
        return self.action.rate / self.block

    def action_scale(self) -> tuple[Float64[np.ndarray, " joined"], Float64[np.ndarray, " joined"]]:
        """Mean and spread of a model step's action, as training scales it."""
        mean, std = _scale(self.statistics.action)
        return np.tile(mean, self.block), np.tile(std, self.block)

    def state_scale(self) -> tuple[Float64[np.ndarray, " state"], Float64[np.ndarray, " state"]]:
        """Mean and spread of the state; empty where none is recorded."""
        if self.statistics.state is None:
            return np.zeros(0), np.ones(0)
        return _scale(self.statistics.state)

    def state_range(self) -> tuple[Float64[np.ndarray, " state"], Float64[np.ndarray, " state"]]:
        """Smallest value and extent of the scaled state in training; empty where none is known."""
        if self.statistics.state is None:
            return np.zeros(0), np.ones(0)
        low, high = (
            self.scaled_states(np.array(end, np.float32))
            for end in (self.statistics.state.min, self.statistics.state.max)
        )
        return low, np.where(high > low, high - low, 1.0)

    def bounds(self) -> tuple[Float64[np.ndarray, " joined"], Float64[np.ndarray, " joined"]]:
        """Lower and upper bounds of a model step's action.

        Where the schema knows none, they are the smallest and the largest value of training.
        """
        low, high = self.action.low, self.action.high
        low = np.where(np.isfinite(low), low, self.statistics.action.min)
        high = np.where(np.isfinite(high), high, self.statistics.action.max)
        return np.tile(low, self.block), np.tile(high, self.block)

    def check(self, episodes: Episodes, indices: Sequence[int]) -> None:
        """Hold a recording against what the model was trained with.

        Raises:
            DataError: other dimensions, another rate, a camera that is missing, or values in
                another unit; episode and dimension are named.
        """
        where = f"{episodes.source}: the model was trained with robot {self.name!r}, whose"
        for what, own, other in (
            ("action", self.action, episodes.action),
            ("state", self.state, episodes.state),
        ):
            if own is None:
                continue
            names = () if other is None else other.names
            if names != own.names:
                raise DataError(
                    f"{where} {what} is ({', '.join(own.names)}), here it is "
                    f"({', '.join(names) or 'not recorded'})"
                )
        if episodes.action.rate != self.action.rate:
            raise DataError(
                f"{where} rate is {self.action.rate:g} control steps a second, here "
                f"{episodes.action.rate:g}"
            )
        if missing := [camera for camera in self.cameras if camera not in episodes.cameras]:
            raise DataError(
                f"{where} cameras are {', '.join(self.cameras)}; {missing[0]} is missing"
            )
        for index in indices:
            faults = self.statistics.action.faults(episodes.actions(index), "training")
            states = episodes.states(index)
            if states is not None and self.statistics.state is not None:
                faults += self.statistics.state.faults(states, "training")
            if faults:
                raise DataError(f"{episodes.source}: episode {index}: {'; '.join(faults)}")

    def scaled_actions(
        self, actions: Float32[np.ndarray, "*rest joined"]
    ) -> Float32[np.ndarray, "*rest joined"]:
        """Actions of model steps as the model takes them: mean 0, spread 1."""
        mean, std = self.action_scale()
        return ((actions - mean) / std).astype(np.float32)

    def scaled_states(
        self, states: Float32[np.ndarray, "*rest state"]
    ) -> Float32[np.ndarray, "*rest state"]:
        """States as the model takes them: mean 0, spread 1."""
        mean, std = self.state_scale()
        return ((states - mean) / std).astype(np.float32)


def _scale(statistics) -> tuple[np.ndarray, np.ndarray]:
    mean, std = np.array(statistics.mean), np.array(statistics.std)
    size = np.maximum(np.abs(statistics.min), np.abs(statistics.max))
    return mean, np.where(std <= FLAT * size, 1.0, std)
