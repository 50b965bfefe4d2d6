"""A planner that follows the gradient of the cost through the model, from several starts."""

from collections.abc import Sequence

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor

from nexus.config import Config
from nexus.errors import PlanningError
from nexus.planning.action_space import ActionSpace
from nexus.planning.belief import Belief
from nexus.planning.cost import Cost, Judge
from nexus.planning.noise import Draws
from nexus.planning.plan import Plan
from nexus.planning.sampling import Widths


class Gradient(Config):
    """Adam on the actions themselves, brought back within the bounds after each step.

    The first start is the plan so far, the others lie around it at random. A binary dimension has
    no gradient: it keeps the value that its start has drawn.
    """

    starts: int = pydantic.Field(16, ge=1)
    iterations: int = pydantic.Field(50, ge=1)
    lr: pydantic.PositiveFloat = 0.1
    """Size of a step, in deviations of the training episodes' actions."""
    std: Widths = 1.0
    """Deviation of the starts; one number, or one a dimension."""
    hold: int = pydantic.Field(1, ge=1)
    """Steps for which a binary dimension, such as a gripper, keeps its value."""

    def plan(
        self,
        cost: Cost,
        space: ActionSpace,
        *,
        horizon: int,
        seeds: Sequence[int],
        start: Plan | None = None,
        deadline: float | None = None,
    ) -> Plan:
        """See `Planner.plan`; the cost must be differentiable."""
        slopes = _Slopes(cost)
        judge = Judge(slopes, deadline)
        belief = Belief.at_start(
            space, start, horizon=horizon, environments=len(seeds), std=self.std, hold=self.hold
        )
        drawn = belief.sample(Draws(seeds, space.low.device), self.starts)[:, 1:]
        moving = torch.cat([belief.central[:, None], drawn], dim=1)
        optimizer = torch.optim.Adam([moving], lr=self.lr)
        finished = 0
        for _ in range(self.iterations):
            if judge(space.actions(moving)) is None:
                break
            slope = slopes.taken() * space.std
            moving.grad = torch.where(space.binary, 0.0, slope.nan_to_num(0.0, 0.0, 0.0))
            optimizer.step()
            moving.clamp_(space.unit_low, space.unit_high)
            finished += 1
        return judge.plan(space.actions(belief.central), finished)


class _Slopes:
    """A cost that remembers its gradient, of one piece of the candidates after the other."""

    def __init__(self, cost: Cost) -> None:
        self._cost = cost
        self._pieces: list[Tensor] = []

    def __call__(
        self, actions: Float[Tensor, "batch candidates horizon action"]
    ) -> Float[Tensor, "batch candidates"]:
        with torch.enable_grad():
            actions = actions.detach().requires_grad_()
            costs = self._cost(actions)
            if not costs.requires_grad:
                raise PlanningError(
                    "the cost does not depend on the actions in a way that can be differentiated; "
                    "use cem, icem or mppi"
                )
            self._pieces += torch.autograd.grad(costs.sum(), actions)
        return costs.detach()

    def taken(self) -> Float[Tensor, "batch candidates horizon action"]:
        """The gradients since the last time."""
        slopes, self._pieces = torch.cat(self._pieces, dim=1), []
        return slopes
