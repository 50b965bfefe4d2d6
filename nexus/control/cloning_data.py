"""Recorded episodes as pairs to imitate: what was seen, a picture to reach, what was done.

t        t + 1    ...      t + k, k drawn from 1 on, seldom far
now      ----------------> goal                 hindsight: it wanted to where it came
actions of the block from t on
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from nexus.data.episodes.episodes import Episodes
from nexus.errors import DataError


@dataclass(frozen=True, eq=False)
class Pairs:
    """A batch to learn from; pictures are bytes."""

    now: UInt8[Tensor, "batch height width 3"]
    goal: UInt8[Tensor, "batch height width 3"]
    own_now: Float[Tensor, "batch own"]
    own_goal: Float[Tensor, "batch own"]
    block: Float[Tensor, "batch block action"]


@dataclass(frozen=True, eq=False)
class Recorded:
    """The steps of some episodes, one after the other; `left`: steps that follow in the episode.

    `own`: of no width where no proprioception is used.
    """

    frames: UInt8[np.ndarray, "steps height width 3"]
    own: Float32[np.ndarray, "steps own"]
    actions: Float32[np.ndarray, "steps action"]
    left: Int64[np.ndarray, " steps"]

    def pairs(self, rng: np.random.Generator, count: int, *, ahead: float, block: int) -> Pairs:
        """Draw steps, and for each a later one of its episode whose picture is the goal.

        Args:
            ahead: steps that the goal is away in the mean, of a geometric distribution. What leads
                to a near one is all but certain, and is what arriving takes.
            block: actions that are imitated, all of them recorded.

        Raises:
            DataError: no episode is long enough.
        """
        places = np.flatnonzero(self.left >= block)
        if not len(places):
            raise DataError(f"no episode has more than {block} steps; there is nothing to imitate")
        now = rng.choice(places, count)
        # What would lie behind the end of an episode is drawn round to its next steps.
        goal = now + 1 + (rng.geometric(1 / ahead, count) - 1) % self.left[now]
        actions = self.actions[now[:, None] + np.arange(block)]
        parts = self.frames[now], self.frames[goal], self.own[now], self.own[goal], actions
        return Pairs(*map(torch.from_numpy, parts))


def record(
    episodes: Episodes,
    indices: Sequence[int],
    *,
    camera: str,
    size: int,
    proprioception: bool,
) -> Recorded:
    """Read episodes whole; pictures are brought to a square of this size.

    Raises:
        DataError: an episode cannot be read, or proprioception is asked for and none is recorded.
    """
    frames, own, actions, left = [], [], [], []
    for index in indices:
        done, states = episodes.actions(index), episodes.states(index)
        if proprioception and states is None:
            raise DataError(f"{episodes.source}: no states are recorded to take proprioception of")
        frames.append(shrunk(episodes.frames(index, camera, range(len(done))), size))
        used = states if proprioception and states is not None else np.empty((len(done), 0))
        own.append(used.astype(np.float32))
        actions.append(done)
        left.append(np.arange(len(done))[::-1])
    return Recorded(*map(np.concatenate, (frames, own, actions, left)))


def shrunk(
    pictures: UInt8[np.ndarray, "n height width 3"], size: int
) -> UInt8[np.ndarray, "n size size 3"]:
    """Pictures at this size, each pixel the mean over what it covers; unchanged if they have it."""
    if pictures.shape[1:3] == (size, size):
        return pictures
    planes = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    smaller = torch.nn.functional.interpolate(planes, (size, size), mode="area")
    return smaller.round().byte().permute(0, 2, 3, 1).contiguous().numpy()
