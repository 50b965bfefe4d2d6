"""Planners that draw candidates, judge them, and draw again where the good ones lie.

    belief  ->  candidates  ->  costs  ->  weights of candidates  ->  belief  ->  ...

CEM, iCEM and MPPI differ in how candidates are drawn and in what weight each one gets.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor

from nexus.config import Config
from nexus.planning.action_space import ActionSpace
from nexus.planning.belief import Belief
from nexus.planning.cost import Cost, Judge
from nexus.planning.noise import Draws
from nexus.planning.plan import Plan

Widths = pydantic.PositiveFloat | tuple[pydantic.PositiveFloat, ...]
Weigh = Callable[[Float[Tensor, "batch count"]], Float[Tensor, "batch count"]]
"""From what candidates cost, the best first, to the weights that they have in the next belief."""


@dataclass(frozen=True)
class Rules:
    """How a search goes from one iteration to the next.

    `weigh` is given the elites' costs; so many `kept` elites are candidates again; there are
    `shrink` times fewer new candidates with each iteration, but at least `least`.
    """

    elites: int
    weigh: Weigh
    kept: int = 0
    shrink: float = 1.0
    least: int = 1


class Search(Config):
    """A search by drawing: what all planners of this file have in common."""

    candidates: int = pydantic.Field(300, ge=2)
    """Sequences drawn in the first iteration."""
    iterations: int = pydantic.Field(10, ge=1)
    std: Widths = 1.0
    """Noise at the start, in deviations of the training episodes' actions; one number, or one a
    dimension."""
    std_floor: Widths = 0.05
    """The noise never falls below it: a search that has settled can still move."""
    momentum: float = pydantic.Field(0.0, ge=0.0, lt=1.0)
    """Share of the last mean and deviation that is kept from one iteration to the next."""
    colour: float = pydantic.Field(0.0, ge=0.0)
    """Exponent of the noise over time: 0 is white, 2 and more goes on in one direction."""
    hold: int = pydantic.Field(1, ge=1)
    """Steps for which a binary dimension, such as a gripper, keeps its value."""
    returns: Literal["best", "mean"] = "best"
    """The best candidate met, or the middle of the last belief, which trusts the model less."""
    piece: pydantic.PositiveInt | None = None
    """Candidates judged at once, where memory is short; None: all."""

    @property
    @abstractmethod
    def rules(self) -> Rules:
        """How the search goes on."""

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
        """See `Planner.plan`."""
        judge = Judge(cost, deadline, self.piece)
        belief = Belief.at_start(
            space, start, horizon=horizon, environments=len(seeds), std=self.std, hold=self.hold
        )
        floor = space.per_dimension("std_floor", self.std_floor)
        draws, rules = Draws(seeds, space.low.device), self.rules
        kept = belief.mean[:, None][:, :0]
        if start is not None and rules.kept:
            kept = space.units(start.kept)
        finished = 0
        for iteration in range(self.iterations):
            new = max(rules.least, int(self.candidates / rules.shrink**iteration))
            drawn = belief.sample(draws, new, exponent=self.colour)
            # The middle of what is believed is a candidate, too: at first, the plan so far.
            candidates = torch.cat([belief.central[:, None], kept, drawn[:, : new - 1]], dim=1)
            costs = judge(space.actions(candidates))
            if costs is None:
                break
            order = costs.sort(dim=1, stable=True)
            elites = candidates.take_along_dim(order.indices[:, : rules.elites, None, None], dim=1)
            weights = rules.weigh(order.values[:, : rules.elites])
            belief = belief.refit(elites, weights, floor=floor, momentum=self.momentum)
            kept = elites[:, : rules.kept]
            finished += 1
        middle, kept = space.actions(belief.central), space.actions(kept)
        if self.returns == "mean" and finished:
            costs = judge(middle[:, None])
            if costs is not None:
                return Plan(middle, costs[:, 0], kept, finished, judge.judged, judge.seconds)
        return judge.plan(middle, finished, kept)


class RandomShooting(Search):
    """The best of many random sequences: the floor that a search has to beat."""

    candidates: int = pydantic.Field(3000, ge=2)
    iterations: Literal[1] = 1

    @property
    def rules(self) -> Rules:
        """The best one is taken; there is no next iteration."""
        return Rules(1, _alike)


class EliteSearch(Search):
    """A search that goes on where the best candidates of an iteration lie."""

    elites: int = pydantic.Field(30, ge=2)
    """So many are the best; the next belief is made from them."""

    @pydantic.model_validator(mode="after")
    def _fewer_elites(self) -> Self:
        if self.elites > self.candidates:
            raise ValueError(
                f"elites are the best of the candidates: got {self.elites} of {self.candidates}"
            )
        return self


class CEM(EliteSearch):
    """The cross-entropy method: a normal distribution follows the elites.

    Source: arXiv 2506.09985, section 3.2 (800 candidates, 10 iterations, 10 elites).
    """

    @property
    def rules(self) -> Rules:
        """All elites weigh the same; none is kept."""
        return Rules(self.elites, _alike)


class ICEM(EliteSearch):
    """CEM with noise that goes on in one direction, and elites that are kept.

    Elites of an iteration, and of the control step before, are candidates again; there are fewer
    new candidates from one iteration to the next. Source: arXiv 2008.06389.
    """

    candidates: int = pydantic.Field(128, ge=2)
    iterations: int = pydantic.Field(5, ge=1)
    elites: int = pydantic.Field(12, ge=2)
    momentum: float = pydantic.Field(0.1, ge=0.0, lt=1.0)
    colour: float = pydantic.Field(2.0, ge=0.0)
    kept: float = pydantic.Field(0.3, ge=0.0, le=1.0)
    """Share of the elites that are candidates again."""
    shrink: float = pydantic.Field(1.25, ge=1.0)
    """New candidates become so many times fewer with each iteration, down to twice the elites."""

    @property
    def rules(self) -> Rules:
        """All elites weigh the same; some are kept."""
        return Rules(
            self.elites, _alike, round(self.kept * self.elites), self.shrink, 2 * self.elites
        )


class MPPI(EliteSearch):
    """Model predictive path integral: candidates weigh by the exponential of what they cost.

    Source: arXiv 1707.02342; elites as in TD-MPC2, arXiv 2310.16828.
    """

    candidates: int = pydantic.Field(512, ge=2)
    iterations: int = pydantic.Field(6, ge=1)
    elites: int = pydantic.Field(64, ge=2)
    """So many are the best; the others weigh nothing."""
    temperature: pydantic.PositiveFloat = 0.5
    """In deviations of the elites' costs, so that the unit of the cost does not matter."""

    @property
    def rules(self) -> Rules:
        """Elites weigh more, the less they cost."""
        return Rules(self.elites, self._by_cost)

    def _by_cost(self, costs: Float[Tensor, "batch count"]) -> Float[Tensor, "batch count"]:
        finite = costs.isfinite()
        known = torch.where(finite, costs, costs[:, :1])
        spread = known.std(dim=1, keepdim=True).clamp(min=1e-12)
        above = torch.where(finite, known - known[:, :1], torch.inf) / spread
        return torch.softmax(-above / self.temperature, dim=1)


def _alike(costs: Float[Tensor, "batch count"]) -> Float[Tensor, "batch count"]:
    """The same weight for each; none for those of infinite cost, unless all are."""
    finite = costs.isfinite()
    counted = torch.where(finite.any(dim=1, keepdim=True), finite, True).to(costs.dtype)
    return counted / counted.sum(dim=1, keepdim=True)
