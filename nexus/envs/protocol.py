"""What nexus asks of an environment beside Gymnasium's interface: goals, and its exact state."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, UInt8


@dataclass(frozen=True, eq=False)
class Goal:
    """Something to reach: as a state, and as the picture that the camera shows there."""

    state: Float[np.ndarray, " state"]
    pixels: UInt8[np.ndarray, "height width 3"]
    proprioception: Float[np.ndarray, " own"]


class GoalEnvironment(Protocol):
    """A Gymnasium environment that can be put into a state and knows when a goal is reached.

    Observations are mappings with `pixels`, uint8 (height, width, 3), and `proprioception`, what
    the robot knows of itself without looking.
    """

    action_space: Any
    observation_space: Any

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """As Gymnasium's."""
        ...

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """As Gymnasium's."""
        ...

    def get_state(self) -> np.ndarray:
        """All there is to know of the present; `set_state` brings it back exactly."""
        ...

    def set_state(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Put the environment into a state; returns what is observed there."""
        ...

    def goal(self, seed: int) -> Goal:
        """A goal to be reached from the state of `reset(seed=seed)`; the same for the same seed."""
        ...

    def solved(self, state: np.ndarray, goal: Goal) -> bool:
        """Whether a state counts as reaching the goal."""
        ...


class Simulates(Protocol):
    """A world that can be asked what would come of many actions, without acting in it."""

    def rollout(
        self,
        states: Float[np.ndarray, "batch state"],
        actions: Float[np.ndarray, "batch candidates horizon action"],
    ) -> Float[np.ndarray, "batch candidates horizon state"]:
        """The states after each action of each candidate, from one state a batch entry."""
        ...

    def distances(
        self, states: Float[np.ndarray, "*batch state"], goal: Goal
    ) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
        """How far what has to be moved, and how far the robot itself, is from where it is in the
        goal."""
        ...
