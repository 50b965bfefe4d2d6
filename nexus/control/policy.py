"""What acts in environments: it sees what is observed, and says what to do."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float

from nexus.envs import Goal

Observation = Mapping[str, np.ndarray]
"""`pixels`, uint8 (height, width, 3), and `proprioception`, see `GoalEnvironment`."""


class Policy(Protocol):
    """Acts in several environments side by side.

    It is shown every observation once, from that of the start on, and keeps its own history. The
    same seeds give the same actions, however many environments are played side by side.
    """

    name: str
    """For people: "random actions", "planner, picture alone", ..."""

    def begin(
        self,
        observations: Sequence[Observation],
        goals: Sequence[Goal],
        seeds: Sequence[int],
    ) -> None:
        """A new set of episodes, one an environment.

        Args:
            observations: of the starts; the first `act` is given the same ones.
            goals: to be reached.
            seeds: of whatever the policy draws.
        """
        ...

    def act(
        self, observations: Sequence[Observation], states: Sequence[np.ndarray]
    ) -> Float[np.ndarray, "environments action"]:
        """The actions of this control step, in the environment's units, within its bounds.

        Args:
            states: the exact states of the simulator; only an oracle may look at them.
        """
        ...
