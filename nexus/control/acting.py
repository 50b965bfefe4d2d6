"""One robot driven by a world model: what its cameras show goes in, what it is to do comes out.

    actor = Actor("runs/world")
    actor.aim(PictureGoal(picture))
    while ...:
        robot.move(actor.act(camera.read(), robot.state()))

Called once a control step, at the rate of the recording that the model was trained on.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from nexus.control.goal_cost import CostConfig
from nexus.control.model_policy import ModelPolicy, PlanningConfig
from nexus.control.world_goals import Shown, WorldGoalKind
from nexus.control.world_policies import load_world
from nexus.errors import PlanningError
from nexus.models.worlds.world import WorldModel


class Actor:
    """Plans the actions of one robot.

    Args:
        model: a world model, or the folder of its run or checkpoint.
        device: where a folder's model goes, and plans are made.
        robot: which of the model's robots this is.
        cost: the weights of the cost's terms; `nexus plan` tells which are good.
        planning: how plans are searched for, and how long that may take.
        seed: of what the planner draws.

    Raises:
        CheckpointError, RunError: see `load_world`.
    """

    def __init__(
        self,
        model: WorldModel | str | Path,
        *,
        device: str | torch.device = "cpu",
        robot: int = 0,
        cost: CostConfig | None = None,
        planning: PlanningConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.model = model if isinstance(model, WorldModel) else load_world(model, device)
        self._policy = ModelPolicy(
            self.model,
            name="actor",
            cost=cost or CostConfig(),
            robot=robot,
            planning=planning,
        )
        self.robot, self._seed, self._aims = self._policy.robot, seed, False

    def aim(self, goal: WorldGoalKind) -> None:
        """Set a goal; what was seen on the way to the last one is forgotten.

        Raises:
            PlanningError: it does not fit the model, or does not say what the cost weighs.
        """
        self._policy.begin([], [goal], [self._seed])
        self._aims = True

    def act(
        self, shown: Shown, proprioception: Float[np.ndarray, " own"] | None = None
    ) -> Float[np.ndarray, " action"]:
        """What to do in this control step, in the recording's units and within its bounds.

        Args:
            shown: what the camera shows now, or each of several by its name.
            proprioception: the robot's state now, in the recording's units and order; of no use
                where the model was trained without.

        Raises:
            PlanningError: there is no goal, a camera or the state is missing, or the state is far
                from all of the recording: another unit.
        """
        self._check_aimed()
        observation: dict[str, Any] = {"pixels": shown}
        if proprioception is not None:
            observation["proprioception"] = self._checked(np.asarray(proprioception, np.float32))
        [action] = self._policy.act([observation])
        return action

    @property
    def place(self) -> int:
        """The frame of a clip, or the sub-goal of a chain, that is pursued; counted from 0.

        Raises:
            PlanningError: there is no goal.
        """
        self._check_aimed()
        return self._policy.places[0]

    def _check_aimed(self) -> None:
        if not self._aims:
            raise PlanningError("there is no goal to plan for: call `aim` first")

    def _checked(self, own: np.ndarray) -> np.ndarray:
        if not np.isfinite(own).all():
            raise PlanningError(f"the robot's state holds what is not a number: {own.tolist()}")
        spread = self.robot.statistics.state
        if spread is None or own.shape != (len(spread.names),):
            return own  # other numbers than the robot's are told where they are scaled
        if faults := spread.faults(own[None], "training"):
            raise PlanningError(f"the robot's state is not as in training: {'; '.join(faults)}")
        return own
