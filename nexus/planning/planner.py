"""What every planner answers, and the planners by name."""

from collections.abc import Sequence
from typing import Protocol

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
