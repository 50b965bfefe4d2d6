"""What a world model gets: frames or their latents, what was done between them, where it was.

frame     0        1        2       ...   time
state     0        1        2
action       0        1             ...   time - 1: action i leads from frame i to frame i + 1
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from nexus.data.loading.batch import normalise


@dataclass(frozen=True)
class EpisodeBatch:
    """Stretches of episodes of one robot, `time` model steps long.

    `frames` are pixels as they were decoded (uint8) or, after `normalised()`, as an encoder takes
    them; None where `latents`, what a frozen encoder says of them, stand in their place. Actions
    and states are scaled by the robot's statistics; no states, no `states`. `robot`: its number
    among the model's.
    """

    frames: Shaped[Tensor, "batch cameras time channels height width"] | None
    actions: Float[Tensor, "batch steps action"]
    states: Float[Tensor, "batch time state"] | None = None
    latents: Float[Tensor, "batch time tokens dim"] | None = None
    robot: int = 0

    def __post_init__(self) -> None:
        if (self.frames is None) == (self.latents is None):
            raise ValueError("a batch holds frames or latents: one of the two")

    def __len__(self) -> int:
        """Stretches."""
        return len(self.actions)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """The same on a device; `non_blocking` as in `torch.Tensor.to`."""

        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pinned(self) -> Self:
        """The same in page-locked memory, for a GPU to fetch."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        kept = {name: getattr(self, name) for name in ("frames", "actions", "states", "latents")}
        changed = {name: None if it is None else change(it) for name, it in kept.items()}
        return dataclasses.replace(self, **changed)

    def normalised(self) -> Self:
        """The same, pixels as encoders take them; see `nexus.data.loading.batch.normalise`."""
        if self.frames is None or self.frames.dtype != torch.uint8:
            return self
        batch, cameras = self.frames.shape[:2]
        clips = normalise(self.frames.flatten(0, 1).transpose(1, 2))
        frames = clips.transpose(1, 2).unflatten(0, (batch, cameras))
        return dataclasses.replace(self, frames=frames)
