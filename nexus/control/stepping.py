"""Any environment as a world to try actions in: it is put into a state and stepped, one by one."""

import numpy as np
from jaxtyping import Float

from nexus.envs import Goal, GoalEnvironment
from nexus.errors import SimulatorError


class SteppedWorld:
    """`Simulates`, for an environment that does nothing but step; slow, and exact.

    Args:
        env: one of its own, that nobody else steps. Beside what every `GoalEnvironment` has it
            needs `distance(state, goal)`.

    Raises:
        SimulatorError: it has no distance.
    """

    def __init__(self, env: GoalEnvironment) -> None:
        self._distance = getattr(env, "distance", None)
        if self._distance is None:
            raise SimulatorError(
                f"{type(env).__name__} does not say how far a state is from a goal; an oracle "
                "needs its method distance(state, goal)"
            )
        self._env = env

    def rollout(
        self,
        states: Float[np.ndarray, "batch state"],
        actions: Float[np.ndarray, "batch candidates horizon action"],
    ) -> Float[np.ndarray, "batch candidates horizon state"]:
        """See `Simulates.rollout`."""
        after = np.empty((*actions.shape[:3], states.shape[-1]))
        for batch, candidate in np.ndindex(*actions.shape[:2]):
            self._env.set_state(states[batch])
            for step, action in enumerate(actions[batch, candidate]):
                self._env.step(action)
                after[batch, candidate, step] = self._env.get_state()
        return after

    def distances(
        self, states: Float[np.ndarray, "*batch state"], goal: Goal
    ) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
        """See `Simulates.distances`; the robot's is that of its proprioception."""
        assert self._distance is not None
        moved, own = np.empty(states.shape[:-1]), np.empty(states.shape[:-1])
        for place in np.ndindex(*states.shape[:-1]):
            moved[place] = self._distance(states[place], goal)
            here = self._env.set_state(states[place])["proprioception"]
            own[place] = np.linalg.norm(here - goal.proprioception)
        return moved, own
