"""A drawn mask, and what draws one."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from nexus.nn.grid import Grid, TokenLayout


@dataclass(frozen=True)
class TokenMask:
    """A drawn mask: disjoint, sorted context and target tokens for each clip.

    Shapes: `context` `(batch, context)` and `target` `(batch, target)`, int64 token numbers.
    `frames` as in `TokenLayout`, for the context. `last_context_step` is the last time step before
    the hidden future, None where a mask has no future.
    """

    grid: Grid
    context: Tensor
    target: Tensor
    frames: int | None = None
    last_context_step: int | None = None

    def __post_init__(self) -> None:
        hidden = torch.zeros(self.context.shape[0], self.grid.tokens, dtype=torch.bool)
        hidden.scatter_(1, self.target, True)
        if self.context.shape[1] == 0 or self.target.shape[1] == 0:
            raise ValueError("a mask needs at least one context token and one target token")
        if hidden.gather(1, self.context).any():
            raise ValueError("a mask must not hand a target token to the context encoder")

    @property
    def context_layout(self) -> TokenLayout:
        """What the context encoder sees."""
        return TokenLayout(self.grid, self.context, self.frames)

    @property
    def target_layout(self) -> TokenLayout:
        """What the predictor is asked for."""
        return TokenLayout(self.grid, self.target)

    def future_targets(self) -> Tensor:
        """Bool `(batch, target)`: targets that lie after the last context step."""
        if self.last_context_step is None:
            return torch.zeros_like(self.target, dtype=torch.bool)
        return self.target // self.grid.places > self.last_context_step


@runtime_checkable
class Mask(Protocol):
    """One way to hide a part of a clip."""

    def check_fits(self, grid: Grid, tubelet_size: int) -> None:
        """Raise VideoShapeError, naming what is too short or too small, for clips of this grid."""
        ...

    def draw(
        self, grid: Grid, batch: int, *, tubelet_size: int, generator: Generator | None
    ) -> tuple[TokenMask, ...]:
        """Masks for a batch of clips, on the CPU: mostly one; every clip is predicted under each.

        Args:
            grid: one for which `check_fits` is silent.
            tubelet_size: frames that a token covers.
            generator: what is drawn from; None: the CPU's global one.
        """
        ...
