"""A plan: what to do in the next steps, in each environment, and what it is thought to cost."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nexus.errors import PlanningError


@dataclass(frozen=True, eq=False)
class Plan:
    """The outcome of a search.

    `actions`: in the environment's units, within its bounds; `cost`: of the actions, inf where
    nothing was judged before the deadline; `kept`: good candidates, for the next search to begin
    with; `iterations`: finished ones; `judged`: candidates an environment; `seconds`: the search.
    """

    actions: Float[Tensor, "batch horizon action"]
    cost: Float[Tensor, " batch"]
    kept: Float[Tensor, "batch kept horizon action"]
    iterations: int
    judged: int
    seconds: float

    def after(self, steps: int) -> "Plan":
        """What is left after so many actions were executed; the last one is repeated.

        Raises:
            PlanningError: a negative number of steps.
        """
        if steps < 0:
            raise PlanningError(f"a plan goes on after 0 or more steps, got {steps}")
        return Plan(
            _shifted(self.actions, steps),
            torch.full_like(self.cost, torch.inf),
            _shifted(self.kept, steps),
            0,
            0,
            0.0,
        )


def _shifted(actions: Tensor, steps: int) -> Tensor:
    horizon = actions.shape[-2]
    place = (torch.arange(horizon, device=actions.device) + steps).clamp(max=horizon - 1)
    return actions.index_select(-2, place)
