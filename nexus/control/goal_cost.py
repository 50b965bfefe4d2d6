"""What actions cost, by a world model: how far what they lead to is from the goal.

    z_now -> a_1 -> z'_1 -> a_2 -> z'_2 ...       each z' against z_goal, summed over the horizon

The goal's picture shows the robot as well, and pulls a planner straight to the robot's place in it.
So a cost has terms with weights: the picture as a whole, what in it is not the robot, and where the
robot is. Each can also be looked at by itself.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nexus.config import Config
from nexus.control.dynamics import Dynamics
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


@dataclass(frozen=True, eq=False)
class WorldGoal:
    """Where several environments are to get: latents, and scaled states where they are known."""

    latents: Float[Tensor, "batch tokens dim"]
    states: Float[Tensor, "batch state"] | None = None


class GoalCost:
    """The cost of action sequences from where some environments are, one a row.

    Args:
        model: in eval mode.
        here: a row an environment.
        goal: as many rows.
        scale: mean and spread of a model step's actions, as training scales them.
    """

    def __init__(
        self,
        model: Dynamics,
        here: WorldState,
        goal: WorldGoal,
        config: CostConfig,
        scale: tuple[Tensor, Tensor],
    ) -> None:
        self.model, self.here, self.goal, self.config = model, here, goal, config
        self._mean, self._std = scale
        self._slow = model.config.slow_dim
        if config.things and not self._slow:
            raise PlanningError(
                "the cost weighs things, and this model does not tell them from the robot; train "
                "one with model.slow_dim, or weigh the picture"
            )

    def __call__(
        self, actions: Float[Tensor, "batch candidates horizon action"]
    ) -> Float[Tensor, "batch candidates"]:
        """See `nexus.planning.cost.Cost`."""
        terms = self.terms(actions)
        config = self.config
        weights = torch.tensor([config.picture, config.things, config.proprioception])
        return (terms * weights.to(terms)).sum(dim=-1)

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
                total = total + self._at(state, batch, candidates)
        return total

    def _at(self, state: WorldState, batch: int, candidates: int) -> Tensor:
        config, goal = self.config, self.goal
        zero = state.latent.new_zeros(batch, candidates)
        picture = things = proprioception = zero
        rows = (batch, candidates)
        if config.picture:
            picture = self._far(state.latent.unflatten(0, rows), goal.latents[:, None], 2)
        if config.things:
            slow = state.latent[..., : self._slow].unflatten(0, rows)
            things = self._far(slow, goal.latents[:, None, :, : self._slow], 2)
        if config.proprioception and state.state is not None and goal.states is not None:
            where = state.state.unflatten(0, rows)
            proprioception = self._far(where, goal.states[:, None], 1)
        return torch.stack([picture, things, proprioception], dim=-1)

    def _far(self, here: Tensor, there: Tensor, axes: int) -> Tensor:
        apart = here - there
        apart = apart.square() if self.config.distance == "l2" else apart.abs()
        return apart.flatten(-axes).mean(dim=-1)
