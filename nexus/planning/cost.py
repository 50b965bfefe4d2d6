"""What a planner minimises, and how it is asked: in pieces, with an eye on the clock."""

import time
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from nexus.errors import PlanningError
from nexus.planning.plan import Plan

FIRST = 8
"""Candidates judged first where there is a deadline, to learn what one costs."""
PIECE = 0.5
"""Share of the time left that one piece of the candidates may take: a call costs something whatever
its size, so that many small ones judge few candidates."""
SAFETY = 1.5
"""A piece may take so many times longer than the last ones let expect."""


class Cost(Protocol):
    """What sequences of actions cost, in one environment or in several at once."""

    def __call__(
        self, actions: Float[Tensor, "batch candidates horizon action"]
    ) -> Float[Tensor, "batch candidates"]:
        """The cost of each candidate in its environment; lower is better.

        Args:
            actions: in the environment's own units, within its bounds.
        """
        ...


class Judge:
    """Asks a cost, keeps the best candidate of each environment, and stops in time.

    Args:
        cost: what is minimised. What is not a number counts as infinitely dear.
        deadline: seconds from now after which nothing more is asked; None: there is none.
        piece: candidates asked at once, for the sake of memory; None: all of them.
    """

    def __init__(self, cost: Cost, deadline: float | None = None, piece: int | None = None) -> None:
        self._cost = cost
        self._began = time.perf_counter()
        self._deadline = deadline
        self._piece = piece
        self._seconds_each: float | None = None
        self._least_seconds = float("inf")
        self.judged = 0
        self.best_cost: Float[Tensor, " batch"] | None = None
        self.best: Float[Tensor, "batch horizon action"] | None = None

    @property
    def seconds(self) -> float:
        """Since the search began."""
        return time.perf_counter() - self._began

    def __call__(
        self, candidates: Float[Tensor, "batch candidates horizon action"]
    ) -> Float[Tensor, "batch candidates"] | None:
        """Their costs; None if the time ran out before all were judged.

        Raises:
            PlanningError: the cost answers in another shape, or with no number at all for any
                candidate of an environment.
        """
        count, costs, start = candidates.shape[1], [], 0
        while start < count:
            size = self._next_piece(count - start)
            if size == 0:
                return None
            costs.append(self._ask(candidates[:, start : start + size]))
            start += size
        return torch.cat(costs, dim=1)

    def plan(
        self,
        otherwise: Float[Tensor, "batch horizon action"],
        finished: int,
        kept: Float[Tensor, "batch kept horizon action"] | None = None,
    ) -> Plan:
        """The best candidate met, in each environment.

        Args:
            otherwise: the actions where no candidate has a finite cost.
            finished: iterations.
            kept: see `Plan`.
        """
        actions, cost = otherwise, torch.full_like(otherwise[:, 0, 0], torch.inf)
        if self.best is not None and self.best_cost is not None:
            reached = self.best_cost.isfinite()
            actions = torch.where(reached[:, None, None], self.best, actions)
            cost = self.best_cost
        kept = otherwise[:, None][:, :0] if kept is None else kept
        return Plan(actions, cost, kept, finished, self.judged, self.seconds)

    def _next_piece(self, remaining: int) -> int:
        size = remaining if self._piece is None else min(remaining, self._piece)
        if self._deadline is None:
            return size
        if self._seconds_each is None:
            return min(size, FIRST) if self.seconds < self._deadline else 0
        left, each = self._deadline - self.seconds, SAFETY * self._seconds_each
        if left < SAFETY * self._least_seconds:
            return 0
        return min(size, max(1, int(PIECE * left / each)))

    def _ask(self, candidates: Tensor) -> Tensor:
        began = time.perf_counter()
        costs = self._cost(candidates)
        if costs.shape != candidates.shape[:2]:
            raise PlanningError(
                f"the cost answers {tuple(costs.shape)} for actions {tuple(candidates.shape)}; "
                "expected one number a candidate: (batch, candidates)"
            )
        costs = costs.detach().to(candidates.dtype)
        costs = torch.where(costs.isnan(), torch.inf, costs)
        best, place = costs.min(dim=1)
        chosen = candidates[torch.arange(len(candidates)), place]
        if self.best is None or self.best_cost is None:
            self.best_cost, self.best = best, chosen.clone()
        else:
            better = best < self.best_cost
            self.best_cost = torch.where(better, best, self.best_cost)
            self.best = torch.where(better[:, None, None], chosen, self.best)
        self.judged += candidates.shape[1]
        if self._deadline is not None:
            best.tolist()  # a GPU answers before it has worked: wait for it
        # What a piece costs grows less than its size: the last one tells most of the next, and
        # none, however small, is cheaper than the cheapest so far.
        took = max(time.perf_counter() - began, 1e-9)
        self._seconds_each = took / candidates.shape[1]
        self._least_seconds = min(self._least_seconds, took)
        return costs
