"""The expert of the table: reaches the goal by rules, from the exact state."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from nexus.envs.physics import Table
from nexus.envs.protocol import Goal
from nexus.envs.streams import streams
from nexus.envs.table_moves import going, pushing

CLOSE = 0.03
"""A block so near to its place is left alone."""


class TableExpert:
    """Goes straight to its goal, or behind the block and pushes it there.

    Args:
        table: as it stands.
        moved: the part of the state that has to be brought to its goal.
        noise: deviation of each action, as a share of the largest; 0: none.
    """

    name = "expert"

    def __init__(self, table: Table, moved: slice, *, noise: float = 0.05) -> None:
        self.table, self.moved, self.noise = table, moved, noise
        self._goals: Sequence[Goal] = ()
        self._streams: list[np.random.Generator] = []

    def begin(
        self,
        observations: Sequence[Mapping[str, np.ndarray]],
        goals: Sequence[Goal],
        seeds: Sequence[int],
    ) -> None:
        """A new set of episodes, see `nexus.control.policy.Policy`."""
        self._goals, self._streams = goals, streams(seeds)

    def act(
        self, observations: Sequence[Mapping[str, np.ndarray]], states: Sequence[np.ndarray]
    ) -> Float[np.ndarray, "environments 2"]:
        """The actions of this step, from the exact states."""
        every = zip(states, self._goals, self._streams, strict=True)
        return np.stack([self._action(*one) for one in every])

    def _action(self, state: np.ndarray, goal: Goal, rng: np.random.Generator) -> np.ndarray:
        place = goal.state[self.moved]
        if not self.table.block:
            action = going(self.table, state, place)
        elif np.linalg.norm(state[2:] - place) < CLOSE:
            return np.zeros(2)
        else:
            action, _ = pushing(self.table, state, place)
        return np.clip(action + self.noise * rng.normal(size=2), -1, 1)
