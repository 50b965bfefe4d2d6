"""Episodes as a world model sees them: latents of their frames beside what was done and where.

One step of the model apart, as in training; the numbers are scaled by the robot's statistics.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from nexus.control.dynamics import Dynamics
from nexus.data.episodes.batch import EpisodeBatch
from nexus.data.episodes.episodes import Episodes
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.stretches import Stretches
from nexus.errors import DataError

FRAMES_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class SeenEpisode:
    """An episode. `truth`: where things were, in its own units; see `truth_of`."""

    index: int
    latents: Float[Tensor, "frames tokens dim"]
    actions: Float[Tensor, "steps action"]
    """As many as lead from one of the frames to another."""
    states: Float[Tensor, "frames state"] | None
    truth: Float64[np.ndarray, "frames numbers"] | None

    def __len__(self) -> int:
        """Frames."""
        return len(self.latents)


@torch.no_grad()
def seen_episodes(
    model: Dynamics, stretches: Stretches, indices: tuple[int, ...]
) -> list[SeenEpisode]:
    """Episodes of a recording, encoded; one that cannot be decoded is left out (`failures`)."""
    episodes = []
    for index in indices:
        if index in stretches.failures:
            continue
        numbers = stretches.numbers(index)
        try:
            frames = stretches.frames(index, 0, len(numbers))
        except DataError as error:
            stretches.failures[index] = str(error)
            continue
        states = stretches.states(index)
        truth = truth_of(stretches.episodes, index)
        episodes.append(
            SeenEpisode(
                index,
                _encoded(model, frames),
                torch.from_numpy(stretches.actions(index))[: len(numbers) - 1],
                None if states is None else torch.from_numpy(states),
                None if truth is None else truth[numbers],
            )
        )
    return episodes


def truth_schema(episodes: Episodes) -> Schema | None:
    """What the numbers of `truth_of` mean; None: nothing of the kind was recorded."""
    return episodes.environment or episodes.state


def truth_of(episodes: Episodes, index: int) -> Float64[np.ndarray, "steps numbers"] | None:
    """A simulator's exact states; else what the robot knows of itself; else None."""
    states = episodes.environment_states(index)
    if states is None:
        states = episodes.states(index)
    return None if states is None else states.astype(np.float64)


def _encoded(model: Dynamics, frames: np.ndarray) -> Float[Tensor, "frames tokens dim"]:
    pixels = torch.from_numpy(frames).permute(0, 1, 4, 2, 3)[None]
    parts = []
    for some in pixels.split(FRAMES_AT_ONCE, dim=2):
        batch = EpisodeBatch(some, torch.zeros(1, 0, 1)).normalised()
        assert batch.frames is not None
        parts.append(model.encode(batch.frames)[0])
    return torch.cat(parts)
