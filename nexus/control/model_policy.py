"""A planner that looks ahead with a world model, as a policy: receding-horizon control.

    observe -> encode -> search for actions whose end is near the goal -> do the first -> observe

A model's step may be several control steps (a block): a plan is made where a block starts, and its
actions are executed one after the other.
"""

from collections.abc import Sequence

import numpy as np
import pydantic
import torch
from jaxtyping import Float
from torch import Tensor

from nexus.config import Config
from nexus.control.goal_cost import CostConfig, GoalCost, WorldGoal
from nexus.control.oracle import ORACLE_PLANNER, step_seed
from nexus.control.pieces import InPieces, candidates_at_once
from nexus.control.policy import Observation
from nexus.control.threads import one_thread
from nexus.data.episodes.batch import EpisodeBatch
from nexus.data.episodes.robot import Robot
from nexus.data.views import CenterView
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
    deadline: pydantic.PositiveFloat | None = None
    """Seconds that a plan may take; null: as long as it takes."""


class ModelPolicy:
    """Plans with a world model, from pictures and from what the robot knows of itself.

    Args:
        model: in eval mode.
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
        mean, std = self.robot.action_scale()
        self._scale = torch.from_numpy(mean).float(), torch.from_numpy(std).float()
        self._goal: WorldGoal | None = None

    @torch.no_grad()
    def begin(
        self, observations: Sequence[Observation], goals: Sequence[Goal], seeds: Sequence[int]
    ) -> None:
        """See `Policy.begin`."""
        pictures = [goal.pixels for goal in goals]
        states = self._states([goal.proprioception for goal in goals])
        shown = states if self.cost.proprioception else None
        self._goal = WorldGoal(self._encoded(pictures), shown)
        self._seeds, self._control_step, self._plan = seeds, 0, None
        self._latents: list[Tensor] = []
        self._states_seen: list[Tensor] = []
        self._actions: list[Tensor] = []

    @torch.no_grad()
    def act(
        self, observations: Sequence[Observation], states: Sequence[np.ndarray]
    ) -> Float[np.ndarray, "environments action"]:
        """See `Policy.act`."""
        within = self._control_step % self.robot.block
        if within == 0:
            with one_thread():
                self._look(observations)
                self._plan = self._planned()
        assert self._plan is not None
        self._control_step += 1
        block = self._plan.actions[:, 0].unflatten(-1, (self.robot.block, -1))
        return block[:, within].numpy()

    def _look(self, observations: Sequence[Observation]) -> None:
        """Take in where the environments are, and what has been done since the last look."""
        kept = self.model.predictor.config.window  # pyright: ignore
        if self._plan is not None:
            done = (self._plan.actions[:, 0] - self._scale[0]) / self._scale[1]
            self._actions = [*self._actions, done][-(kept - 1) :] if kept > 1 else []
        self._latents = [*self._latents, self._encoded([one["pixels"] for one in observations])]
        self._latents = self._latents[-kept:]
        if self.robot.state_width:
            seen = self._states([one["proprioception"] for one in observations])
            self._states_seen = [*self._states_seen, seen][-kept:]

    def _planned(self) -> Plan:
        states = torch.stack(self._states_seen, dim=1) if self._states_seen else None
        latents = torch.stack(self._latents, dim=1)
        actions = latents.new_zeros(len(latents), 0, len(self.space))
        if self._actions:
            actions = torch.stack(self._actions, dim=1)
        here = self.model.begin(latents, actions, states, self._number)
        assert self._goal is not None
        cost = GoalCost(self.model, here, self._goal, self.cost, self._scale)
        number = self._control_step // self.robot.block
        width: int = self.model.predictor.config.width  # pyright: ignore
        candidates = candidates_at_once(here.latent.shape[1], width)
        return self._planner.plan(
            InPieces(cost, candidates, self._threads),
            self.space,
            horizon=self._planning.horizon,
            seeds=[step_seed(seed, number) for seed in self._seeds],
            start=self._plan and self._plan.after(1),
            deadline=self._planning.deadline,
        )

    def _encoded(self, pictures: Sequence[np.ndarray]) -> Float[Tensor, "batch tokens dim"]:
        if len(self.robot.cameras) != 1:
            raise PlanningError(
                f"robot {self.robot.name!r} has the cameras {', '.join(self.robot.cameras)}; an "
                "environment shows one picture"
            )
        view = CenterView(self.model.config.image_sides)
        shown = torch.from_numpy(view.show(np.ascontiguousarray(np.stack(pictures))))
        frames = shown.permute(0, 3, 1, 2)[:, None, None]
        width = self.robot.action_width
        batch = EpisodeBatch(frames, torch.zeros(len(frames), 0, width)).normalised()
        assert batch.frames is not None
        return self.model.encode(batch.frames)[:, 0]

    def _states(self, proprioception: Sequence[np.ndarray]) -> Float[Tensor, "batch state"]:
        values = np.stack(proprioception).astype(np.float32)
        if values.shape[1] != self.robot.state_width:
            raise PlanningError(
                f"the environment's proprioception has {values.shape[1]} numbers, the state of "
                f"robot {self.robot.name!r} {self.robot.state_width}"
            )
        return torch.from_numpy(self.robot.scaled_states(values))


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
