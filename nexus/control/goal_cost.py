"""What actions cost, by a world model: how far what they lead to is from the goal.

    z_now -> a_1 -> z'_1 -> a_2 -> z'_2 ...       each z' against z_goal, summed over the horizon

The goal's picture shows the robot as well, and pulls a planner straight to the robot's place in it.
So a cost has terms with weights: the picture as a whole, what in it is not the robot, and where the
robot is. Each can also be looked at by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nexus.config import Config
from nexus.control.dynamics import Dynamics
from nexus.control.patch_weights import Weights, balanced, changed, moved_by_actions
from nexus.errors import PlanningError
from nexus.models.worlds.world import WorldState

TERMS = ("picture", "things", "proprioception")


class CostConfig(Config):
    """Weights of the terms, each in units of how much it spreads over training frames.

    `picture`: the latents as they are. `things`: those of their dimensions that change slowly (see
    `WorldConfig.slow_dim`): the things, not the robot. `proprioception`: the robot's state, as the
    model foretells it.
    """

    picture: float = 1.0
    things: float = 0.0
    proprioception: float = 0.0
    distance: Literal["l2", "l1"] = "l2"
    over: Literal["horizon", "end"] = "horizon"
    """Summed over all steps, or at the last one alone."""
    patches: Literal["alike", "changed", "changed_not_robot"] = "alike"
    """How much each patch counts in `picture` and `things`: alike; by how far it is now from what
    it is in the goal; the same, but less where it is the robot's (see
    `nexus.control.patch_weights`). For models with a token a patch."""


@dataclass(frozen=True, eq=False)
class WorldGoal:
    """Where several environments are to get: latents, and scaled states where they are known."""

    latents: Float[Tensor, "batch tokens dim"]
    states: Float[Tensor, "batch state"] | None = None


LogProbabilities = Callable[[Float[Tensor, "n tokens dim"]], Float[Tensor, "n classes"]]
"""A probe: the logarithms of the classes' probabilities, from latents."""


@dataclass(frozen=True, eq=False)
class WorldClass:
    """What a probe is to take several environments for: the number of a class for each."""

    log_probabilities: LogProbabilities
    numbers: Int[Tensor, " batch"]

    def to(self, device: torch.device) -> "WorldClass":
        """The same for latents on a device; where the probe lies is its maker's business."""
        return WorldClass(self.log_probabilities, self.numbers.to(device))

    def surprise(
        self, latents: Float[Tensor, "batch candidates tokens dim"]
    ) -> Float[Tensor, "batch candidates"]:
        """Minus the logarithm of the probability of each environment's class.

        Raises:
            PlanningError: the probe answers in another shape, or has no such class.
        """
        rows = latents.shape[:2]
        told = self.log_probabilities(latents.flatten(0, 1))
        if told.ndim != 2 or len(told) != rows[0] * rows[1]:
            raise PlanningError(
                f"the goal's probe answers {tuple(told.shape)} for latents "
                f"{tuple(latents.flatten(0, 1).shape)}; expected a row of log-probabilities each"
            )
        if not 0 <= int(self.numbers.min()) <= int(self.numbers.max()) < told.shape[1]:
            raise PlanningError(
                f"the goal is class {self.numbers.tolist()} of a probe of {told.shape[1]} classes; "
                "they are counted from 0"
            )
        numbers = self.numbers[:, None].expand(*rows)
        return -told.unflatten(0, rows).gather(-1, numbers[..., None]).squeeze(-1)


Target = WorldGoal | WorldClass


class GoalCost:
    """The cost of action sequences from where some environments are, one a row.

    Args:
        model: in eval mode.
        here: a row an environment.
        goal: as many rows; or one for each step of the plan, the last of which is held.
        scale: mean and spread of a model step's actions, as training scales them.

    Raises:
        PlanningError: the cost weighs what the model or the goal does not tell.
    """

    def __init__(
        self,
        model: Dynamics,
        here: WorldState,
        goal: Target | Sequence[Target],
        config: CostConfig,
        scale: tuple[Tensor, Tensor],
    ) -> None:
        self.model, self.here, self.config = model, here, config
        self.goals: Sequence[Target] = [goal] if isinstance(goal, Target) else goal
        self._mean, self._std = scale
        if config.things and not model.config.slow_dim:
            raise PlanningError(
                "the cost weighs things, and this model does not tell them from the robot; train "
                "one with model.slow_dim, or weigh the picture"
            )
        self._robot_now: Weights | None = None
        weighs_patches = config.patches != "alike"
        self._weights = [self._patches(one) if weighs_patches else None for one in self.goals]

    def __call__(
        self, actions: Float[Tensor, "batch candidates horizon action"]
    ) -> Float[Tensor, "batch candidates"]:
        """See `nexus.planning.cost.Cost`."""
        return weighed(self.terms(actions), self.config)

    def terms(
        self, actions: Float[Tensor, "batch candidates horizon action"]
    ) -> Float[Tensor, "batch candidates terms"]:
        """The three terms of each candidate, in the order of `TERMS`, unweighted; those without
        weight are 0."""
        batch, candidates, horizon = actions.shape[:3]
        scaled = ((actions - self._mean) / self._std).flatten(0, 1)
        state = self.here.spread(candidates)
        total = actions.new_zeros(batch, candidates, len(TERMS))
        for step in range(horizon):
            state = self.model.step(state, scaled[:, step])
            if self.config.over == "horizon" or step == horizon - 1:
                number = min(step, len(self.goals) - 1)
                goal, weights = self.goals[number], self._weights[number]
                rows = (batch, candidates)
                latents = state.latent.unflatten(0, rows)
                states = None if state.state is None else state.state.unflatten(0, rows)
                slow = self.model.config.slow_dim
                total = total + apart(latents, states, goal, self.config, slow, weights)
        return total

    @torch.no_grad()
    def _patches(self, goal: Target) -> Weights | None:
        """How much each patch counts against a goal."""
        if isinstance(goal, WorldClass):
            return None
        now, config = self.here.latent, self.config
        if now.shape[1] == 1:
            raise PlanningError(
                f"the cost weighs patches ({config.patches}), and this model has one token a "
                "frame; train one with model.encoder vit or frozen, or weigh them alike"
            )
        weights = changed(now, goal.latents)
        if config.patches == "changed_not_robot":
            if self._robot_now is None:
                self._robot_now = moved_by_actions(self.model, self.here, len(self._mean))
            states = None if goal.states is None else goal.states[:, None]
            none = now.new_zeros(len(now), 0, len(self._mean))
            there = self.model.begin(goal.latents[:, None], none, states, self.here.robot)
            robot_there = moved_by_actions(self.model, there, len(self._mean))
            weights = weights * (1 - torch.maximum(self._robot_now, robot_there))
        return balanced(weights)


def apart(
    latents: Float[Tensor, "batch candidates tokens dim"],
    states: Float[Tensor, "batch candidates state"] | None,
    goal: Target,
    config: CostConfig,
    slow_dim: int,
    weights: Weights | None = None,
) -> Float[Tensor, "batch candidates terms"]:
    """The terms at one step: how far candidates are from the goal of their environment.

    Args:
        slow_dim: the first so many dimensions tell the things.
        weights: how much each patch counts, 1 in the mean; None: alike.

    Raises:
        PlanningError: the goal is a class, and something else than the picture is weighed.
    """
    zero = latents.new_zeros(latents.shape[:2])
    picture = things = proprioception = zero
    if isinstance(goal, WorldClass):
        if config.things or config.proprioception or not config.picture:
            raise PlanningError(
                "a goal that is a probe's class says nothing of things or of the robot's state; "
                "weigh the picture alone"
            )
        return torch.stack([goal.surprise(latents), zero, zero], dim=-1)
    if config.picture:
        picture = _over_patches(latents, goal.latents[:, None], config, weights)
    if config.things:
        there = goal.latents[:, None, :, :slow_dim]
        things = _over_patches(latents[..., :slow_dim], there, config, weights)
    if config.proprioception and states is not None and goal.states is not None:
        proprioception = _distance(states, goal.states[:, None], config)
    return torch.stack([picture, things, proprioception], dim=-1)


def weighed(terms: Float[Tensor, "*rest terms"], config: CostConfig) -> Float[Tensor, "*rest"]:
    """The sum of the terms by their weights."""
    weights = torch.tensor([config.picture, config.things, config.proprioception])
    return (terms * weights.to(terms)).sum(dim=-1)


def _over_patches(
    here: Tensor, there: Tensor, config: CostConfig, weights: Weights | None
) -> Float[Tensor, "batch candidates"]:
    each = _distance(here, there, config)
    return (each if weights is None else each * weights[:, None]).mean(dim=-1)


def _distance(here: Tensor, there: Tensor, config: CostConfig) -> Tensor:
    difference = here - there
    difference = difference.square() if config.distance == "l2" else difference.abs()
    return difference.mean(dim=-1)
