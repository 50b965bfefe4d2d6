"""Search for actions: a cost of action sequences goes in, the best sequence comes out.

    space = ActionSpace.within(low, high)
    plan = CEM().plan(cost, space, horizon=6, seeds=[0])
    plan.actions[0, 0]  # the first action of the first environment

Planners know no model: they see `cost(actions) -> (batch, candidates)` and nothing else.
"""

from nexus.planning.action_space import ActionSpace
from nexus.planning.cost import Cost
from nexus.planning.gradient import Gradient
from nexus.planning.plan import Plan
from nexus.planning.planner import PLANNERS, Planner
from nexus.planning.sampling import CEM, ICEM, MPPI, RandomShooting

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "PLANNERS",
    "ActionSpace",
    "Cost",
    "Gradient",
    "Plan",
    "Planner",
    "RandomShooting",
]
