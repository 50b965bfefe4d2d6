"""Goals of a planner with a world model, as people say them: one environment or robot each.

PictureGoal   what the camera shows in the end
ClipGoal      what it shows on the way: the plan's steps follow the clip's frames one by one
LatentGoal    what the encoder says of the goal, where the picture itself is not at hand
ClassGoal     what a probe takes the latent for: "the drawer is open", wherever all else is
GoalChain     pictures to be reached one after the other: without sub-goals a planner that looks a
              few steps ahead does not pick up what it has to carry (arXiv 2506.09985, section 4)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from nexus.control.goal_cost import LogProbabilities
from nexus.errors import PlanningError

Picture = UInt8[np.ndarray, "height width 3"]
Shown = Picture | Mapping[str, Picture]
"""What the camera shows; where there are several, each by its name."""


@dataclass(frozen=True, eq=False)
class PictureGoal:
    """A picture, and where the robot is in it, in its own units, if that is known."""

    picture: Shown
    proprioception: Float[np.ndarray, " own"] | None = None


@dataclass(frozen=True, eq=False)
class ClipGoal:
    """Pictures a model step apart: the first is to be seen after the first step; the last stays.

    `proprioception` are the robot's own numbers at each.
    """

    frames: Sequence[Shown]
    proprioception: Float[np.ndarray, "time own"] | None = None

    def __post_init__(self) -> None:
        if not len(self.frames):
            raise PlanningError("a goal that is a clip has at least one frame, got none")
        if self.proprioception is not None and len(self.proprioception) != len(self.frames):
            raise PlanningError(
                f"a goal's clip has {len(self.frames)} frames and proprioception of "
                f"{len(self.proprioception)}; expected one each"
            )


@dataclass(frozen=True, eq=False)
class LatentGoal:
    """Tokens as `WorldModel.encode` gives them for one moment, all cameras together."""

    latent: Float[Tensor, "tokens dim"]
    proprioception: Float[np.ndarray, " own"] | None = None


@dataclass(frozen=True, eq=False)
class ClassGoal:
    """A class of a probe; the cost is minus the logarithm of its probability.

    Args:
        log_probabilities: of all classes, from foretold latents.
        number: of the class, counted from 0.
    """

    log_probabilities: LogProbabilities
    number: int


@dataclass(frozen=True, eq=False)
class GoalChain:
    """Sub-goals one after the other; the last one stays.

    Args:
        goals: at least one.
        near: the next one's turn comes when the cost of standing still has fallen to this share of
            what it was one sub-goal before (for the first: at the start); None: never.
        steps: ... and after so many control steps at the latest; None: it may take for ever.

    Both are looked at where a plan begins: at every step of the model.
    """

    goals: Sequence[PictureGoal | LatentGoal]
    near: float | None = 0.25
    steps: int | None = None

    def __post_init__(self) -> None:
        if not len(self.goals):
            raise PlanningError("a chain of sub-goals has at least one, got none")
        if self.near is None and self.steps is None:
            raise PlanningError(
                "a chain with near None and steps None never leaves its first sub-goal; give one"
            )
        if (self.near is not None and not 0 <= self.near < 1) or (self.steps or 1) < 1:
            raise PlanningError(
                f"a chain has near from 0 to below 1 and steps of at least 1; got {self.near} and "
                f"{self.steps}"
            )


WorldGoalKind = PictureGoal | ClipGoal | LatentGoal | ClassGoal | GoalChain
