"""Masks without a future: tubes (arXiv 2203.12602), and tokens anywhere."""

from dataclasses import dataclass

import torch
from torch import Generator

from nexus.errors import VideoShapeError
from nexus.masks.places import bounded, check_places, draw_places, other_places, tubes
from nexus.masks.token_mask import TokenMask
from nexus.nn.grid import Grid


@dataclass(frozen=True)
class TubeMask:
    """Mask `tube`: see the same random places in every time step."""

    mask_ratio: float

    def check_fits(self, grid: Grid, tubelet_size: int) -> None:
        """Raise VideoShapeError for frames of a single patch."""
        check_places("tube", grid)

    def draw(
        self, grid: Grid, batch: int, *, tubelet_size: int, generator: Generator | None
    ) -> tuple[TokenMask, ...]:
        """Each clip has places of its own."""
        visible = bounded(round((1 - self.mask_ratio) * grid.places), grid.places - 1)
        places = draw_places(grid, batch, visible, generator)
        context = tubes(grid, places, 0, grid.time)
        target = tubes(grid, other_places(grid, places), 0, grid.time)
        return (TokenMask(grid, context, target, grid.time),)


@dataclass(frozen=True)
class RandomMask:
    """Mask `random`: see tokens drawn anywhere in the clip."""

    mask_ratio: float

    def check_fits(self, grid: Grid, tubelet_size: int) -> None:
        """Raise VideoShapeError for clips of a single token."""
        if grid.tokens < 2:
            raise VideoShapeError(
                "mask 'random' needs at least two tokens, got one: use longer clips"
            )

    def draw(
        self, grid: Grid, batch: int, *, tubelet_size: int, generator: Generator | None
    ) -> tuple[TokenMask, ...]:
        """Each clip has tokens of its own."""
        visible = bounded(round((1 - self.mask_ratio) * grid.tokens), grid.tokens - 1)
        order = torch.rand(batch, grid.tokens, generator=generator).argsort(dim=-1)
        seen, hidden = order[:, :visible].sort().values, order[:, visible:].sort().values
        return (TokenMask(grid, seen, hidden),)
