"""Goals as they are pursued: what a plan's steps are held against, now.

step of the plan      1    2    3    4
picture, latent       g    g    g    g
clip of 3 frames      f0   f1   f2   f2      at the start; one model step later f1 f2 f2 f2
chain                 s0   s0   s0   s0      until s0 is reached; from then on s1 s1 s1 s1
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nexus.control.goal_cost import CostConfig, Target, WorldClass, WorldGoal, apart, weighed
from nexus.control.observing import Observer
from nexus.control.world_goals import (
    ClassGoal,
    ClipGoal,
    GoalChain,
    LatentGoal,
    PictureGoal,
    WorldGoalKind,
)
from nexus.errors import PlanningError


@dataclass
class _Course:
    """The latents that one environment is to come by, and which of them it is at.

    `began`: the control step at which the present one became the goal; `lengths`: of a chain, what
    standing one sub-goal before costs.
    """

    goal: WorldGoalKind
    latents: Float[Tensor, "places tokens dim"]
    states: Float[Tensor, "places state"] | None
    place: int = 0
    began: int = 0
    lengths: Sequence[float] = ()

    def at(self, ahead: int) -> int:
        """The place that the plan's step is held against, 0 its first."""
        along = ahead if isinstance(self.goal, ClipGoal) else 0
        return min(self.place + along, len(self.latents) - 1)

    def part(self, place: int) -> WorldGoal:
        states = None if self.states is None else self.states[place : place + 1]
        return WorldGoal(self.latents[place : place + 1], states)


class Pursuit:
    """The goals of several environments that act side by side.

    Args:
        goals: one an environment.
        observer: encodes their pictures.
        cost: what is weighed; it also says when a sub-goal is near.

    Raises:
        PlanningError: a goal does not say what the cost weighs, does not fit the model, or is a
            class beside goals that are not.
    """

    def __init__(
        self, goals: Sequence[WorldGoalKind], observer: Observer, cost: CostConfig
    ) -> None:
        self._observer, self._cost = observer, cost
        classes = [goal for goal in goals if isinstance(goal, ClassGoal)]
        self._classes = _joined(classes).to(observer.device) if classes else None
        if classes and (len(classes) < len(goals)):
            raise PlanningError(
                f"{len(classes)} of {len(goals)} goals are a probe's class; side by side all are "
                "or none"
            )
        self._courses = [] if classes else [self._course(goal) for goal in goals]
        self._count, self._looks = len(goals), 0

    def look(
        self,
        latents: Float[Tensor, "batch tokens dim"],
        states: Float[Tensor, "batch state"] | None,
        control_step: int,
    ) -> None:
        """Take in what is seen where a plan begins: clips go on, sub-goals may be reached."""
        for row, course in enumerate(self._courses):
            if isinstance(course.goal, ClipGoal):
                course.place = min(self._looks, len(course.latents) - 1)
            elif isinstance(course.goal, GoalChain):
                here = latents[row : row + 1], None if states is None else states[row : row + 1]
                self._go_on(course, course.goal, here, control_step)
        self._looks += 1

    def targets(self, horizon: int) -> list[Target]:
        """Of each step of a plan; the last one is held, so that one may be enough."""
        if self._classes is not None:
            return [self._classes]
        places = [[course.at(ahead) for course in self._courses] for ahead in range(horizon)]
        while len(places) > 1 and places[-1] == places[-2]:
            places.pop()
        return [self._together(each) for each in places]

    @property
    def places(self) -> list[int]:
        """The frame of a clip or the sub-goal of a chain that each environment is at; else 0."""
        return [course.place for course in self._courses] or [0] * self._count

    def _go_on(
        self,
        course: _Course,
        chain: GoalChain,
        here: tuple[Tensor, Tensor | None],
        control_step: int,
    ) -> None:
        if not course.lengths:
            before = [here, *((part.latents, part.states) for part in self._parts(course))]
            ends = zip(before, self._parts(course), strict=False)
            course.lengths = [self._far(start, end) for start, end in ends]
        if course.place == len(course.latents) - 1:
            return
        late = chain.steps is not None and control_step - course.began >= chain.steps
        if not late and chain.near is not None:
            left = self._far(here, course.part(course.place))
            late = left <= chain.near * course.lengths[course.place]
        if late:
            course.place, course.began = course.place + 1, control_step

    @staticmethod
    def _parts(course: _Course) -> list[WorldGoal]:
        return [course.part(place) for place in range(len(course.latents))]

    def _far(self, here: tuple[Tensor, Tensor | None], goal: WorldGoal) -> float:
        """What standing here costs, one environment."""
        latents, states = here
        states = None if states is None else states[:, None]
        slow = self._observer.model.config.slow_dim
        return float(weighed(apart(latents[:, None], states, goal, self._cost, slow), self._cost))

    def _together(self, places: Sequence[int]) -> WorldGoal:
        every = list(zip(self._courses, places, strict=True))
        latents = torch.stack([course.latents[place] for course, place in every])
        states = [course.states[place] for course, place in every if course.states is not None]
        return WorldGoal(latents, torch.stack(states) if states else None)

    def _course(self, goal: WorldGoalKind) -> _Course:
        assert not isinstance(goal, ClassGoal)
        if isinstance(goal, GoalChain):
            parts = [self._course(part) for part in goal.goals]
            states = [part.states for part in parts if part.states is not None]
            latents = torch.cat([part.latents for part in parts])
            return _Course(goal, latents, torch.cat(states) if states else None)
        if isinstance(goal, LatentGoal):
            latents = goal.latent[None].to(self._observer.device, torch.float32)
            expected = self._observer.model.config.latent_shape
            if latents.shape[1:] != expected:
                raise PlanningError(
                    f"a goal's latent has (tokens, width) {tuple(goal.latent.shape)}, the model's "
                    f"{expected}"
                )
        else:
            shown = [goal.picture] if isinstance(goal, PictureGoal) else list(goal.frames)
            latents = self._observer.latents(shown)
        return _Course(goal, latents, self._states(goal))

    def _states(self, goal: PictureGoal | LatentGoal | ClipGoal) -> Tensor | None:
        """Looked at only where they are weighed: a planner of pictures is given nothing else."""
        if not self._cost.proprioception:
            return None
        if goal.proprioception is None:
            raise PlanningError(
                "the cost weighs proprioception, and a goal does not say where the robot is in it; "
                "give its `proprioception`, or weigh the picture alone"
            )
        own = goal.proprioception if isinstance(goal, ClipGoal) else [goal.proprioception]
        return self._observer.states(list(own), "a goal's")


def _joined(goals: Sequence[ClassGoal]) -> WorldClass:
    probes = {id(goal.log_probabilities): goal.log_probabilities for goal in goals}
    if len(probes) > 1:
        raise PlanningError(
            f"the goals are classes of {len(probes)} probes; side by side they are of one"
        )
    numbers = torch.tensor([goal.number for goal in goals])
    return WorldClass(goals[0].log_probabilities, numbers)
