"""What every planner answers, and the planners by name."""

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from nexus.errors import PlanningError
from nexus.planning.action_space import ActionSpace
from nexus.planning.cost import Cost
from nexus.planning.plan import Plan
from nexus.registry import Registry

PLANNERS = Registry(
    "planner",
    {
        "cem": "nexus.planning.sampling:CEM",
        "icem": "nexus.planning.sampling:ICEM",
        "mppi": "nexus.planning.sampling:MPPI",
        "random": "nexus.planning.sampling:RandomShooting",
        "gradient": "nexus.planning.gradient:Gradient",
    },
)


class Planner(Protocol):
    """Searches for sequences of actions of low cost."""

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
        """The best that the search meets.

        The same seed gives the same plan, bit for bit, whichever other environments are planned
        for at the same time; with a deadline it depends on the machine how far the search comes.

        Args:
            cost: of candidates in each of `len(seeds)` environments.
            space: bounds and units of an action.
            horizon: actions to plan.
            seeds: one an environment.
            start: the last plan, `plan.after(steps)`; None begins at the mean action.
            deadline: seconds after which the best so far is returned. One call of the cost on eight
                candidates is always made.

        Raises:
            PlanningError: what is asked for makes no sense, or the cost answers in another shape.
        """
        ...


def check_start(start: Plan | None, space: ActionSpace, horizon: int, environments: int) -> None:
    """Check that a plan to start from belongs to this search.

    Raises:
        PlanningError: horizon, environments or width of the action differ, or there are none.
    """
    if horizon < 1 or environments < 1:
        raise PlanningError(
            f"a plan needs a horizon and an environment (a seed) at least, got horizon {horizon} "
            f"and {environments} seeds"
        )
    if start is not None and start.actions.shape != (environments, horizon, len(space)):
        raise PlanningError(
            f"the plan to start from has actions {tuple(start.actions.shape)}; expected "
            f"{(environments, horizon, len(space))}: environments, horizon, dimensions"
        )


def per_dimension(
    name: str, sizes: float | tuple[float, ...], space: ActionSpace
) -> Float[Tensor, " action"]:
    """One number for each dimension of the action.

    Raises:
        PlanningError: there are as many as of another action.
    """
    given = torch.as_tensor(sizes, dtype=space.low.dtype, device=space.low.device)
    if given.ndim and len(given) != len(space):
        raise PlanningError(
            f"{name} has {len(given)} numbers, the action {len(space)} dimensions; give one a "
            "dimension, or one for all"
        )
    return given.expand(len(space))
