"""What each dimension of the action does: in the recording, and by the model.

    f(z, a)                     the step after, as the model says
    f(z, a without d)           the same with dimension d at its mean
    effect   f(z, a) - f(z, a without d)      what the model says that d does
    missing  z_next  - f(z, a without d)      what d should have done, and all that is not known

Where the model is right the two point the same way; where it takes the dimension for its opposite,
against each other. And then the error becomes smaller if the dimension is turned round.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nexus.control.dynamics import Dynamics
from nexus.control.trust.bootstrap import correlation, ratio
from nexus.control.trust.excerpts import Excerpts
from nexus.control.trust.reading import explained, pair_reader
from nexus.control.trust.rollouts import rolled_out
from nexus.control.trust.seen import SeenEpisode
from nexus.control.trust.thresholds import is_flipped
from nexus.data.episodes.robot import Robot
from nexus.runs.world import WorldActionRow


def action_rows(
    model: Dynamics,
    robot: Robot,
    number: int,
    fitted: Sequence[SeenEpisode],
    judged: Sequence[SeenEpisode],
    excerpts: Excerpts,
    seed: int,
) -> tuple[WorldActionRow, ...]:
    """A row a dimension of the robot's control steps, those of a block together.

    Args:
        number: of the robot among the model's.
        fitted: episodes that the inverse dynamics are learned from.
        excerpts: of the judged episodes.
    """
    first = excerpts.context - 1
    target, actions = excerpts.latents[:, excerpts.context], excerpts.actions[:, first : first + 1]
    whole = _after(model, excerpts, number, actions)
    error = _product(whole - target, whole - target)
    readable = inverse_r2(fitted, judged, robot.action.width, seed)
    rows = []
    for place, dimension in enumerate(robot.action.dimensions):
        columns = list(range(place, robot.action_width, robot.action.width))
        without = _after(model, excerpts, number, _changed(actions, columns, 0.0))
        effect, missing = whole - without, target - without
        turned = _after(model, excerpts, number, _changed(actions, columns, -1.0))
        own = correlation(
            _product(effect, missing),
            _product(effect, effect),
            _product(missing, missing),
            excerpts.episode,
            seed,
        )
        reversed_error = ratio(
            _product(turned - target, turned - target), error, excerpts.episode, seed
        )
        rows.append(
            WorldActionRow(
                name=dimension.name,
                unit=dimension.unit,
                inverse_r2=None if readable is None else float(readable[place]),
                effect=own,
                reversed=reversed_error,
                flipped=is_flipped(own, reversed_error),
            )
        )
    return tuple(rows)


def inverse_r2(
    fitted: Sequence[SeenEpisode], judged: Sequence[SeenEpisode], width: int, seed: int
) -> Float[np.ndarray, " dimensions"] | None:
    """How well actions are read from neighbouring latents, a dimension each; None: too few pairs.

    Of a block it is the mean over its control steps: two frames say no more.
    """
    if sum(len(one) - 1 for one in fitted) < 20 or sum(len(one) - 1 for one in judged) < 2:
        return None
    read = pair_reader(*_pairs(fitted), _means(fitted, width), seed)
    return explained(read(*_pairs(judged)), _means(judged, width))


def _pairs(episodes: Sequence[SeenEpisode]) -> tuple[np.ndarray, np.ndarray]:
    before = np.concatenate([one.latents[:-1].flatten(1).numpy() for one in episodes])
    after = np.concatenate([one.latents[1:].flatten(1).numpy() for one in episodes])
    return before, after


def _means(episodes: Sequence[SeenEpisode], width: int) -> np.ndarray:
    actions = torch.cat([one.actions for one in episodes])
    return actions.unflatten(-1, (-1, width)).mean(dim=1).numpy()


def _after(model: Dynamics, excerpts: Excerpts, number: int, actions: Tensor) -> Tensor:
    return rolled_out(model, excerpts, number, actions, steps=1)[0][:, 0]


def _changed(actions: Tensor, columns: list[int], factor: float) -> Tensor:
    """Some columns times a factor: scaled actions have mean 0."""
    changed = actions.clone()
    changed[..., columns] *= factor
    return changed


def _product(first: Tensor, second: Tensor) -> np.ndarray:
    return (first * second).flatten(1).mean(dim=1).double().numpy()
