"""Where the true actions stand among random ones, if the goal is what they led to.

The goal is the real latent some steps later. Random actions spread as those of the training
episodes do: over all steps together, so that who moves on in one direction there does so here; a
candidate of independent noise would end where it began, and be beaten without any knowledge.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nexus.control.dynamics import Dynamics
from nexus.control.goal_cost import TERMS, CostConfig, GoalCost, WorldGoal
from nexus.control.trust.bootstrap import ratio
from nexus.control.trust.excerpts import Excerpts
from nexus.control.trust.rollouts import rows_at_once, start_of
from nexus.control.trust.seen import SeenEpisode
from nexus.planning import ActionSpace
from nexus.runs.world import WorldRankRow

Actions = Float[Tensor, "excerpts candidates horizon action"]


def rank_rows(
    model: Dynamics,
    excerpts: Excerpts,
    robot: int,
    horizons: Sequence[int],
    like: Float[Tensor, "sequences steps action"],
    candidates: int,
    space: ActionSpace,
    seed: int,
) -> tuple[WorldRankRow, ...]:
    """A row for each horizon and term of the cost that the model has.

    Args:
        like: scaled action sequences whose spread the candidates have, as long as the horizons.
        space: bounds of a model step's action; its mean and spread are those of the scaling.
    """
    draw = torch.Generator().manual_seed(seed)
    rows = []
    for horizon in horizons:
        shape = (len(excerpts), candidates)
        drawn = random_actions(like[:, :horizon], shape, space, draw)
        first = excerpts.context - 1
        true = excerpts.actions[:, first : first + horizon] * space.std + space.mean
        ranks = true_ranks(model, excerpts, robot, torch.cat([true[:, None], drawn], dim=1), space)
        for number, term in enumerate(TERMS):
            if not ranks[:, number].isnan().any():
                rank = ratio(ranks[:, number].double().numpy(), None, excerpts.episode, seed)
                count = len(excerpts)
                rows.append(WorldRankRow(steps=horizon, term=term, rank=rank, excerpts=count))
    return tuple(rows)


@torch.no_grad()
def true_ranks(
    model: Dynamics, excerpts: Excerpts, robot: int, actions: Actions, space: ActionSpace
) -> Float[Tensor, "excerpts terms"]:
    """The share of the candidates after the first that are nearer to the goal than the first.

    Equal ones count half. NaN: the model has no such term.

    Args:
        actions: in the environment's units, the true ones first.
    """
    here, slow = actions.shape[2], model.config.slow_dim
    known = (True, bool(slow), excerpts.states is not None)
    weights = dict(zip(TERMS, map(float, known), strict=True))
    cost = CostConfig(over="end", **weights)  # pyright: ignore
    place = excerpts.context - 1 + here
    at_once = max(1, rows_at_once(excerpts.latents.shape[2]) // actions.shape[1])
    parts = []
    for first in range(0, len(excerpts), at_once):
        part = excerpts.part(first, first + at_once)
        states = None if part.states is None else part.states[:, place]
        goal = WorldGoal(part.latents[:, place], states)
        start = start_of(model, part, robot)
        energy = GoalCost(model, start, goal, cost, (space.mean, space.std)).terms(
            actions[first : first + at_once]
        )
        true, others = energy[:, :1], energy[:, 1:]
        parts.append((others < true).float().mean(dim=1) + (others == true).float().mean(dim=1) / 2)
    ranks = torch.cat(parts)
    return torch.where(torch.tensor(known), ranks, torch.nan)


def action_sequences(
    episodes: Sequence[SeenEpisode], steps: int, most: int = 1000
) -> Float[Tensor, "sequences steps action"]:
    """Scaled actions of so many steps in a row, of all places where there are as many, or evenly
    of these; at least one episode is that long."""
    parts = [one.actions.unfold(0, steps, 1) for one in episodes if len(one.actions) >= steps]
    rows = torch.cat(parts).transpose(1, 2)
    return rows[torch.linspace(0, len(rows) - 1, min(most, len(rows))).round().long()]


def random_actions(
    like: Float[Tensor, "sequences steps action"],
    shape: tuple[int, int],
    space: ActionSpace,
    draw: torch.Generator,
) -> Actions:
    """Action sequences in the environment's units, within its bounds, that spread as others do.

    Gaussian with mean and covariance of the given sequences, all their numbers together.

    Args:
        like: scaled.
    """
    count, steps, width = like.shape
    flat = like.flatten(1)
    mean = flat.mean(dim=0)
    # Sums of all of them with random weights have just their covariance.
    weights = torch.randn(shape[0] * shape[1], count, generator=draw) / np.sqrt(count)
    scaled = (weights @ (flat - mean) + mean).unflatten(1, (steps, width))
    actions = scaled * space.std + space.mean
    return space.actions(space.units(actions)).unflatten(0, shape)
