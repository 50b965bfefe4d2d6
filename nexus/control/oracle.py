"""The oracle: a planner whose model is the true world. No model can be expected to do better."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nexus.control.policy import Observation
from nexus.control.stepping import SteppedWorld
from nexus.control.threads import one_thread
from nexus.envs import Goal, GoalEnvironment, Simulates
from nexus.planning import ICEM, ActionSpace, Plan, Planner

ORACLE_PLANNER = ICEM.from_mapping(
    {"candidates": 96, "iterations": 5, "shrink": 1.0, "colour": 1.0, "std": 1.5, "std_floor": 0.1}
)
"""Wide noise that goes on in one direction finds the way round a block; as many candidates in the
last iteration as in the first find the place to stop at."""
OWN_WEIGHT = 0.01
"""Of 100 goals of `push` the oracle reaches 98 with 0.01, 96 with 0.03 and 87 with 0.1."""


class Oracle:
    """Plans anew at every step, in the true simulator and from its exact state.

    A step costs the squared distance of what has to be moved, and `own_weight` times that of the
    robot, from where they are in the goal; a candidate costs the sum over its steps.

    Args:
        world: tries actions out; see `true_world`.
        space: bounds and units of an action.
        planner: searches; `ORACLE_PLANNER`, `horizon` and `own_weight` were tried out on `push`.
        horizon: control steps that are looked ahead.
        own_weight: the goal's picture shows the robot, too. The larger this is, the more the plan
            goes straight to that place, instead of round what it has to push.
    """

    def __init__(
        self,
        world: Simulates,
        space: ActionSpace,
        *,
        planner: Planner = ORACLE_PLANNER,
        horizon: int = 10,
        own_weight: float = OWN_WEIGHT,
        name: str = "oracle: the planner in the true world",
    ) -> None:
        self.name = name
        self._world, self._space = world, space
        self._planner = planner
        self._horizon, self._own_weight = horizon, own_weight
        self._goals: Sequence[Goal] = ()
        self._seeds: Sequence[int] = ()
        self._plan: Plan | None = None
        self._step = 0

    def begin(
        self, observations: Sequence[Observation], goals: Sequence[Goal], seeds: Sequence[int]
    ) -> None:
        """See `Policy.begin`."""
        self._goals, self._seeds, self._plan, self._step = goals, seeds, None, 0

    def act(
        self, observations: Sequence[Observation], states: Sequence[np.ndarray]
    ) -> Float[np.ndarray, "environments action"]:
        """See `Policy.act`."""
        here = np.stack(states)

        def cost(actions: Float[Tensor, "batch candidates horizon action"]) -> Tensor:
            after = self._world.rollout(here, actions.numpy())
            return torch.from_numpy(np.stack([*map(self._cost, after, self._goals)])).float()

        with one_thread():
            self._plan = self._planner.plan(
                cost,
                self._space,
                horizon=self._horizon,
                seeds=[step_seed(seed, self._step) for seed in self._seeds],
                start=self._plan and self._plan.after(1),
            )
        self._step += 1
        return self._plan.actions[:, 0].numpy()

    def _cost(
        self, states: Float[np.ndarray, "candidates horizon state"], goal: Goal
    ) -> Float[np.ndarray, " candidates"]:
        moved, own = self._world.distances(states, goal)
        return (moved**2 + self._own_weight * own**2).sum(axis=-1)


def true_world(env: GoalEnvironment) -> Simulates:
    """The environment itself if it can try many actions at once, else one that steps it.

    Raises:
        SimulatorError: it does not say how far a state is from a goal.
    """
    vectorised = hasattr(env, "rollout") and hasattr(env, "distances")
    return env if vectorised else SteppedWorld(env)  # type: ignore[return-value]


def step_seed(seed: int, step: int) -> int:
    """Of what an environment's planner draws at a control step: no two steps draw the same."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1)
