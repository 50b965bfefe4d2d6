"""Where good actions are thought to lie: a distribution for each environment, step and dimension.

In the planner's units: a normal distribution, its tails cut at the bounds; of a binary dimension
the probability of its upper bound, which holds for blocks of steps.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from nexus.errors import PlanningError
from nexus.planning.action_space import ActionSpace
from nexus.planning.noise import Draws
from nexus.planning.plan import Plan

SURE = 0.05
"""The least probability of either value of a binary dimension: a search stays open to both."""


@dataclass(frozen=True, eq=False)
class Belief:
    """`mean` and `std`: the planner's units; of a binary dimension the mean is a probability.

    `hold`: steps for which a binary dimension keeps its value.
    """

    space: ActionSpace
    mean: Float[Tensor, "batch horizon action"]
    std: Float[Tensor, "batch horizon action"]
    hold: int = 1

    @classmethod
    def at_start(
        cls,
        space: ActionSpace,
        start: Plan | None,
        *,
        horizon: int,
        environments: int,
        std: float | tuple[float, ...],
        hold: int,
    ) -> "Belief":
        """Around the plan to start from, or the mean action, with noise of this deviation.

        Raises:
            PlanningError: the horizon or the number of environments makes no sense, the plan has
                others or another width of the action, or `std` has another width.
        """
        if horizon < 1 or environments < 1:
            raise PlanningError(
                "a plan needs a horizon and an environment (a seed) at least, got horizon "
                f"{horizon} and {environments} seeds"
            )
        shape = (environments, horizon, len(space))
        if start is not None and start.actions.shape != shape:
            raise PlanningError(
                f"the plan to start from has actions {tuple(start.actions.shape)}; expected "
                f"{shape}: environments, horizon, dimensions"
            )
        units = space.unit_mean.expand(shape) if start is None else space.units(start.actions)
        return cls(space, units, space.per_dimension("std", std).expand(shape), hold)

    def sample(
        self, draws: Draws, count: int, *, exponent: float = 0.0
    ) -> Float[Tensor, "batch count horizon action"]:
        """Candidates, in the planner's units and within the bounds."""
        _, horizon, width = self.mean.shape
        noise = draws.coloured(count, horizon, width, exponent)
        drawn = self.mean[:, None] + self.std[:, None] * noise
        drawn = drawn.clamp(self.space.unit_low, self.space.unit_high)
        if not self.space.binary.any():
            return drawn
        block = torch.arange(horizon, device=drawn.device) // self.hold
        blocks = int(block[-1]) + 1
        chance = torch.stack([self.mean[:, block == n].mean(dim=1) for n in range(blocks)], dim=1)
        chance = chance.clamp(SURE, 1 - SURE)[:, None]
        upper = (draws.uniform(count, blocks, width) < chance).to(drawn.dtype)[:, :, block]
        return torch.where(self.space.binary, upper, drawn)

    def refit(
        self,
        candidates: Float[Tensor, "batch count horizon action"],
        weights: Float[Tensor, "batch count"],
        *,
        floor: Float[Tensor, " action"],
        momentum: float = 0.0,
    ) -> "Belief":
        """The weighted mean and deviation of candidates.

        Args:
            weights: of each, adding up to 1.
            floor: the least deviation, in each dimension.
            momentum: share of the belief so far that is kept.
        """
        share = weights[..., None, None]
        mean = (share * candidates).sum(dim=1)
        std = (share * (candidates - mean[:, None]) ** 2).sum(dim=1).sqrt()
        return replace(
            self,
            mean=momentum * self.mean + (1 - momentum) * mean,
            std=torch.maximum(momentum * self.std + (1 - momentum) * std, floor.expand_as(std)),
        )

    @property
    def central(self) -> Float[Tensor, "batch horizon action"]:
        """Its middle as one candidate: the mean, and the likelier value of a binary dimension."""
        if not self.space.binary.any():
            return self.mean
        likelier = (self.mean > 0.5).to(self.mean.dtype)
        return torch.where(self.space.binary, likelier, self.mean)
