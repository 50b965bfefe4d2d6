"""How far off a world model is after so many steps, beside what anybody could have said."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from nexus.control.dynamics import Dynamics
from nexus.control.trust.bootstrap import ratio
from nexus.control.trust.excerpts import Excerpts
from nexus.control.trust.rollouts import rolled_out
from nexus.runs.world import WorldErrorRow

Errors = Float64[np.ndarray, "excerpts steps"]


@dataclass(frozen=True, eq=False)
class StepErrors:
    """Mean squared errors of latents, an excerpt and step each.

    `copy`: of the last frame that was seen; `shuffled`: of the model with the actions of other
    excerpts; `mean`: with the mean action; `state`, `state_copy`: of the scaled states.
    """

    model: Errors
    copy: Errors
    shuffled: Errors
    mean: Errors
    state: Errors | None
    state_copy: Errors | None


def step_errors(
    model: Dynamics,
    excerpts: Excerpts,
    robot: int,
    seed: int,
    foretold: tuple[Tensor, Tensor | None] | None = None,
) -> StepErrors:
    """Errors on excerpts, of which there are at least two where shuffling is to mean anything.

    Args:
        foretold: what `rolled_out` says follows on the true actions; None: it is asked.
    """
    context, targets = excerpts.context, excerpts.targets
    told, states = foretold or rolled_out(model, excerpts, robot)
    actions = excerpts.actions[:, context - 1 :]
    others, _ = rolled_out(model, excerpts, robot, actions[_elsewhere(len(excerpts), seed)])
    still, _ = rolled_out(model, excerpts, robot, torch.zeros_like(actions))
    last = excerpts.latents[:, context - 1, None].expand_as(targets)
    state = state_copy = None
    if states is not None and excerpts.states is not None:
        where = excerpts.states[:, context:]
        state = squares(states, where)
        state_copy = squares(excerpts.states[:, context - 1, None].expand_as(where), where)
    return StepErrors(
        squares(told, targets),
        squares(last, targets),
        squares(others, targets),
        squares(still, targets),
        state,
        state_copy,
    )


def error_rows(
    errors: StepErrors, excerpts: Excerpts, rate: float, seed: int, training: Errors | None = None
) -> tuple[WorldErrorRow, ...]:
    """A row a step, with intervals over episodes.

    Args:
        rate: steps of the model a second.
        training: errors of the model on excerpts of training episodes.
    """
    rows = []
    for step in range(errors.model.shape[1]):
        own = errors.model[:, step]

        def beside(other: Errors, own: np.ndarray = own, step: int = step):
            return ratio(own, other[:, step], excerpts.episode, seed)

        state = None
        if errors.state is not None and errors.state_copy is not None:
            state = ratio(errors.state[:, step], errors.state_copy[:, step], excerpts.episode, seed)
        rows.append(
            WorldErrorRow(
                steps=step + 1,
                seconds=(step + 1) / rate,
                error=ratio(own, None, excerpts.episode, seed),
                vs_copy=beside(errors.copy),
                vs_shuffled=beside(errors.shuffled),
                vs_mean=beside(errors.mean),
                state_vs_copy=state,
                training=None if training is None else float(training[:, step].mean()),
            )
        )
    return tuple(rows)


def episode_spread(errors: Errors, episode: np.ndarray) -> tuple[float, float]:
    """The 10th and 90th percentile of the episodes' mean errors, in parts of their mean."""
    means = np.array([errors[episode == one].mean() for one in np.unique(episode)])
    low, high = np.quantile(means / max(means.mean(), 1e-12), (0.1, 0.9))
    return float(low), float(high)


def _elsewhere(count: int, seed: int) -> np.ndarray:
    """For each excerpt another one: no excerpt keeps its own."""
    order = np.random.default_rng(seed).permutation(count)
    chosen = np.empty(count, np.int64)
    chosen[order] = np.roll(order, 1)
    return chosen


def squares(told: Tensor, true: Tensor) -> Errors:
    """Mean squares of what is apart, an excerpt and step each."""
    return (told - true).square().flatten(2).mean(dim=-1).double().numpy()
