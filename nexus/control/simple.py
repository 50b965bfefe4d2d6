"""Policies that know nothing: what every other one has to be better than."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from nexus.control.policy import Observation
from nexus.envs import Goal
from nexus.envs.streams import streams
from nexus.planning import ActionSpace


class ZeroAction:
    """Does nothing: the action nearest to zero, at every step."""

    def __init__(self, space: ActionSpace, name: str = "zero action") -> None:
        self.name = name
        low, high = space.low.numpy(), space.high.numpy()
        self._action = np.clip(np.zeros(len(space), np.float32), low, high)
        self._count = 0

    def begin(
        self, observations: Sequence[Observation], goals: Sequence[Goal], seeds: Sequence[int]
    ) -> None:
        """See `Policy.begin`."""
        self._count = len(seeds)

    def act(
        self, observations: Sequence[Observation], states: Sequence[np.ndarray]
    ) -> Float[np.ndarray, "environments action"]:
        """See `Policy.act`."""
        return np.tile(self._action, (self._count, 1))


class RandomActions:
    """Draws every action anew, uniformly within the bounds, which must be finite."""

    def __init__(self, space: ActionSpace, name: str = "random actions") -> None:
        self.name = name
        self._low, self._high = space.low.numpy(), space.high.numpy()
        self._streams: list[np.random.Generator] = []

    def begin(
        self, observations: Sequence[Observation], goals: Sequence[Goal], seeds: Sequence[int]
    ) -> None:
        """See `Policy.begin`."""
        self._streams = streams(seeds)

    def act(
        self, observations: Sequence[Observation], states: Sequence[np.ndarray]
    ) -> Float[np.ndarray, "environments action"]:
        """See `Policy.act`."""
        drawn = np.stack([stream.uniform(self._low, self._high) for stream in self._streams])
        return np.clip(drawn.astype(np.float32), self._low, self._high)
