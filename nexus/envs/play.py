"""Play as a policy: an agent an environment, each with its own stream of random numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float

from nexus.envs.protocol import Goal
from nexus.envs.streams import streams


class Player(Protocol):
    """One agent at play, through one episode."""

    def action(self, state: Float[np.ndarray, " state"]) -> Float[np.ndarray, " action"]:
        """The next action, from the exact state, within the environment's bounds."""
        ...


class Play:
    """See `nexus.control.policy.Policy`.

    Args:
        player: makes one that draws from the given stream.
    """

    name = "play"

    def __init__(self, player: Callable[[np.random.Generator], Player]) -> None:
        self._player = player
        self._players: list[Player] = []

    def begin(
        self,
        observations: Sequence[Mapping[str, np.ndarray]],
        goals: Sequence[Goal],
        seeds: Sequence[int],
    ) -> None:
        """A new set of episodes; goals are of no interest."""
        self._players = [self._player(rng) for rng in streams(seeds)]

    def act(
        self, observations: Sequence[Mapping[str, np.ndarray]], states: Sequence[np.ndarray]
    ) -> Float[np.ndarray, "environments action"]:
        """The actions of this step, from the exact states."""
        every = zip(self._players, states, strict=True)
        return np.stack([player.action(state) for player, state in every])
