"""Random actions that go somewhere: each is uniform within the bounds, and like the one before."""

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces
from jaxtyping import Float
from scipy.special import ndtr

from nexus.control.policy import Observation
from nexus.envs import Goal
from nexus.envs.streams import streams
from nexus.errors import SimulatorError

KEPT = 0.5
"""Correlation of what is drawn from one step to the next."""


class Wandering:
    """Works in any environment whose actions are numbers within bounds.

    Args:
        space: of the actions.
        kept: correlation from one step to the next, of normal numbers; their share of the normal
            distribution is the action's share of its bounds, so every action is uniform by itself.

    Raises:
        SimulatorError: the actions have no finite bounds.
    """

    name = "random"

    def __init__(self, space: spaces.Box, kept: float = KEPT) -> None:
        self.low = np.asarray(space.low, np.float64).ravel()
        self.high = np.asarray(space.high, np.float64).ravel()
        if not np.isfinite([self.low, self.high]).all():
            raise SimulatorError(
                f"random actions need finite bounds, and they are {space}; wrap the environment in "
                "gymnasium.wrappers.RescaleAction, or give it a policy of its own"
            )
        self.kept = kept
        self._streams: list[np.random.Generator] = []
        self._drawn = np.zeros((0, len(self.low)))

    def begin(
        self, observations: Sequence[Observation], goals: Sequence[Goal], seeds: Sequence[int]
    ) -> None:
        """See `Policy.begin`; goals are of no interest."""
        self._streams = streams(seeds)
        self._drawn = self._fresh()

    def act(
        self, observations: Sequence[Observation], states: Sequence[np.ndarray]
    ) -> Float[np.ndarray, "environments action"]:
        """See `Policy.act`."""
        share = ndtr(self._drawn)
        self._drawn = self.kept * self._drawn + np.sqrt(1 - self.kept**2) * self._fresh()
        return self.low + share * (self.high - self.low)

    def _fresh(self) -> np.ndarray:
        return np.stack([rng.normal(size=len(self.low)) for rng in self._streams])
