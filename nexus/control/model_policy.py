"""A planner that looks ahead with a world model, as a policy: receding-horizon control.

    observe -> encode -> search for actions whose end is near the goal -> do the first -> observe

A model's step may be several control steps (a block): a plan is made where a block starts, and its
actions are executed one after the other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pydantic
import torch
from jaxtyping import Float
from torch import Tensor

from nexus.config import Config
from nexus.control.goal_cost import CostConfig, GoalCost
from nexus.control.observing import Observer
from nexus.control.oracle import ORACLE_PLANNER, step_seed
from nexus.control.pieces import InPieces, candidates_at_once
from nexus.control.pursuit import Pursuit
from nexus.control.threads import one_thread
from nexus.control.world_goals import PictureGoal, WorldGoalKind
from nexus.data.episodes.robot import Robot
from nexus.envs import Goal
from nexus.errors import PlanningError
from nexus.models.worlds.world import WorldModel
from nexus.planning import PLANNERS, ActionSpace, Plan, Planner
from nexus.registry import Choice


class PlanningConfig(Config):
    """How plans are searched for."""

    planner: Choice = pydantic.Field(
        default={"kind": "icem", **ORACLE_PLANNER.to_mapping(), "std_floor": 0.05}
    )
    """A name of `nexus.planning.planner.PLANNERS`, or one of your own, with its settings."""
    horizon: pydantic.PositiveInt = 10
    """Steps of the model that are looked ahead."""
    context: pydantic.PositiveInt | None = None
    """Frames that a plan starts from, at most; null: as many as the predictor sees. The published
    planner of V-JEPA 2-AC starts from the present one alone."""
    deadline: pydantic.PositiveFloat | None = None
    """Seconds that a plan may take; null: as long as it takes."""


class ModelPolicy:
    """Plans with a world model, from pictures and from what the robot knows of itself.

    Args:
        model: in eval mode; plans are made on its device.
        robot: which of the model's robots acts.
        cost: the weights of the cost's terms.
        planning: how plans are searched for.
    """

    def __init__(
        self,
        model: WorldModel,
        *,
        name: str,
        cost: CostConfig,
        robot: int = 0,
        planning: PlanningConfig | None = None,
    ) -> None:
        self.name, self.model, self.cost = name, model.eval(), cost
        self.robot: Robot = model.config.robots[robot]
        self._threads = torch.get_num_threads()
        self._number, self._planning = robot, planning or PlanningConfig()
        self._planner: Planner = PLANNERS.build(self._planning.planner)
        self.space = action_space(self.robot)
        self._observer = Observer(self.model, self.robot)
        self._there = self.space.to(self._observer.device)
        self._scale = self._there.mean, self._there.std

    @torch.no_grad()
    def begin(
        self,
        observations: Sequence[Mapping[str, Any]],
        goals: Sequence[Goal | WorldGoalKind],
        seeds: Sequence[int],
    ) -> None:
        """See `Policy.begin`; goals are an environment's, or of `nexus.control.world_goals`.

        Raises:
            PlanningError: see `Pursuit`.
        """
        self._pursuit = Pursuit([*map(_as_shown, goals)], self._observer, self.cost)
        self._seeds, self._control_step, self._plan = seeds, 0, None
        self._latents: list[Tensor] = []
        self._states_seen: list[Tensor] = []
        self._actions: list[Tensor] = []

    @torch.no_grad()
    def act(
        self, observations: Sequence[Mapping[str, Any]], states: Sequence[np.ndarray] = ()
    ) -> Float[np.ndarray, "environments action"]:
        """See `Policy.act`; exact states are not looked at.

        Args:
            observations: `pixels` of a robot with several cameras is a mapping from their names.
        """
        within = self._control_step % self.robot.block
        if within == 0:
            with one_thread():
                self._look(observations)
                self._plan = self._planned()
        assert self._plan is not None
        self._control_step += 1
        block = self._plan.actions[:, 0].unflatten(-1, (self.robot.block, -1))
        return block[:, within].cpu().numpy()

    @property
    def places(self) -> list[int]:
        """See `Pursuit.places`."""
        return self._pursuit.places

    def _look(self, observations: Sequence[Mapping[str, Any]]) -> None:
        """Take in where the environments are, and what has been done since the last look."""
        window: int = self.model.predictor.config.window  # pyright: ignore
        kept = min(window, self._planning.context or window)
        if self._plan is not None:
            done = (self._plan.actions[:, 0] - self._scale[0]) / self._scale[1]
            self._actions = [*self._actions, done][-(kept - 1) :] if kept > 1 else []
        now = self._observer.latents([one["pixels"] for one in observations])
        self._latents = [*self._latents, now][-kept:]
        seen = None
        if self._knows_states(observations):
            seen = self._observer.states([one["proprioception"] for one in observations])
            self._states_seen = [*self._states_seen, seen][-kept:]
        self._pursuit.look(now, seen, self._control_step)

    def _knows_states(self, observations: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the robot's state is given; a model that was trained so can do without."""
        if not self.robot.state_width:
            return False
        given = ["proprioception" in one for one in observations]
        if all(given):
            return True
        hides = self.model.config.state_dropout and not self.cost.proprioception
        if any(given) or not hides or self._states_seen:
            raise PlanningError(
                f"an observation has no `proprioception`: the state of robot {self.robot.name!r} "
                f"({self.robot.state_width} numbers). A model that was trained with "
                "model.state_dropout can do without, from the first to the last step, if the cost "
                "does not weigh it"
            )
        return False

    def _planned(self) -> Plan:
        states = torch.stack(self._states_seen, dim=1) if self._states_seen else None
        latents = torch.stack(self._latents, dim=1)
        actions = latents.new_zeros(len(latents), 0, len(self.space))
        if self._actions:
            actions = torch.stack(self._actions, dim=1)
        here = self.model.begin(latents, actions, states, self._number)
        targets = self._pursuit.targets(self._planning.horizon)
        cost = GoalCost(self.model, here, targets, self.cost, self._scale)
        number = self._control_step // self.robot.block
        width: int = self.model.predictor.config.width  # pyright: ignore
        candidates = candidates_at_once(here.latent.shape[1], width)
        return self._planner.plan(
            InPieces(cost, candidates, self._threads),
            self._there,
            horizon=self._planning.horizon,
            seeds=[step_seed(seed, number) for seed in self._seeds],
            start=self._plan and self._plan.after(1),
            deadline=self._planning.deadline,
        )


def _as_shown(goal: Goal | WorldGoalKind) -> WorldGoalKind:
    """An environment's goal, as a planner may see it."""
    if isinstance(goal, Goal):
        return PictureGoal(goal.pixels, goal.proprioception)
    return goal


def action_space(robot: Robot) -> ActionSpace:
    """What a planner may do with a robot: bounds, noise and grippers of a step of the model."""
    mean, std = robot.action_scale()
    low, high = robot.bounds()
    binary = [
        number + step * robot.action.width
        for step in range(robot.block)
        for number, dimension in enumerate(robot.action.dimensions)
        if dimension.gripper == "binary"
    ]
    return ActionSpace.with_statistics(mean, std, low, high, binary=binary)
