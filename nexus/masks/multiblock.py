"""Multiblock masks: the union of a few space-time boxes is hidden (V-JEPA, V-JEPA 2).

    8 x 0.15                    2 x 0.7            a family: so many boxes, each so large a share
    c c t t c c                 c t t t t t        of the frame, in every time step
    c c t t t c                 c t t t t t
    t t c t t c                 t t t t t c

All clips of a batch share one box size and have positions of their own, so their hidden parts
differ in size. They are trimmed to the smallest in the batch **at random**. The published code cuts
the end of the time-major list (`mask_trim="end"`), so that a clip's last patches are rarely seen
and rarely asked for: its predictor knows contexts that thin out with time.

Source: arXiv 2404.08471, section 3.2; arXiv 2506.09985, section 2.
"""

import math
from dataclasses import dataclass
from typing import Literal, Self

import pydantic
import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from nexus.config import Config
from nexus.masks.places import check_places
from nexus.masks.token_mask import TokenMask
from nexus.nn.grid import Grid

Range = tuple[float, float]
Trim = Literal["random", "end"]
_ATTEMPTS = 20


class BlockFamily(Config):
    """One kind of mask: how many boxes, and how large they are."""

    num_blocks: pydantic.PositiveInt = 8
    spatial_scale: Range = (0.15, 0.15)
    """Share of the frame that a box covers: drawn between these two."""
    temporal_scale: Range = (1.0, 1.0)
    """Share of the clip's time steps that a box covers."""
    aspect: Range = (0.75, 1.5)
    """Height over width of a box."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        for name, top in (("spatial_scale", 1.0), ("temporal_scale", 1.0), ("aspect", math.inf)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= top:
                raise ValueError(f"{name} must be 0 < low <= high <= {top:g}, got {[low, high]}")
        return self


PUBLISHED = (BlockFamily(), BlockFamily(num_blocks=2, spatial_scale=(0.7, 0.7)))
"""Eight small boxes, two large ones: each is a mask of its own, and every clip gets both."""


@dataclass(frozen=True)
class MultiblockMask:
    """Mask `multiblock`: one mask a family."""

    mask_blocks: tuple[BlockFamily, ...]
    mask_trim: Trim = "random"

    def check_fits(self, grid: Grid, tubelet_size: int) -> None:
        """Raise VideoShapeError for frames of a single patch."""
        check_places("multiblock", grid)

    def draw(
        self, grid: Grid, batch: int, *, tubelet_size: int, generator: Generator | None
    ) -> tuple[TokenMask, ...]:
        """Each family's boxes, one after the other."""
        drawn = (
            draw_blocks(family, grid, batch, generator, trim=self.mask_trim)
            for family in self.mask_blocks
        )
        return tuple(TokenMask(grid, context, target) for context, target in drawn)


def draw_blocks(
    family: BlockFamily,
    grid: Grid,
    batch: int,
    generator: Generator | None = None,
    *,
    trim: Trim = "random",
) -> tuple[Int[Tensor, "batch context"], Int[Tensor, "batch target"]]:
    """Token numbers, rising, of what each clip's context sees and of what it has to predict."""
    size = _box_size(family, grid, generator)
    hidden = _boxes(family.num_blocks, size, grid, batch, generator)
    for _ in range(_ATTEMPTS):
        blind = hidden.all(dim=1)
        if not blind.any():
            break
        hidden[blind] = _boxes(family.num_blocks, size, grid, int(blind.sum()), generator)
    else:
        # So few places that the boxes cover them all again and again: one stays open.
        places = torch.randint(grid.places, (batch, 1), generator=generator)
        numbers = torch.arange(grid.tokens) % grid.places
        hidden &= ~(hidden.all(dim=1, keepdim=True) & (numbers == places))
    return _pick(~hidden, trim, generator), _pick(hidden, trim, generator)


def _box_size(family: BlockFamily, grid: Grid, generator: Generator | None) -> tuple[int, int, int]:
    draws = torch.rand(3, generator=generator).tolist()
    ranges = (family.temporal_scale, family.spatial_scale, family.aspect)
    temporal, spatial, aspect = (
        low + draw * (high - low) for draw, (low, high) in zip(draws, ranges, strict=True)
    )
    area = int(grid.places * spatial)
    height = min(max(1, round(math.sqrt(area * aspect))), grid.height)
    width = min(max(1, round(math.sqrt(area / aspect))), grid.width)
    return max(1, int(grid.time * temporal)), height, width


def _boxes(
    count: int, size: tuple[int, int, int], grid: Grid, batch: int, generator: Generator | None
) -> Bool[Tensor, "batch tokens"]:
    """The union of boxes of one size at random positions."""
    hidden = torch.ones(batch, count, 1, 1, 1, dtype=torch.bool)
    for axis, (length, side) in enumerate(
        zip(size, (grid.time, grid.height, grid.width), strict=True)
    ):
        start = torch.randint(side - length + 1, (batch, count, 1), generator=generator)
        line = torch.arange(side)
        inside = (line >= start) & (line < start + length)
        shape = [batch, count, 1, 1, 1]
        shape[2 + axis] = side
        hidden = hidden & inside.view(shape)
    return hidden.any(dim=1).flatten(1)


def _pick(member: Tensor, trim: Trim, generator: Generator | None) -> Tensor:
    """As many members of each row as the row with the fewest has, in rising order."""
    count = int(member.sum(dim=1).min())
    if trim == "random":
        score = torch.rand(member.shape, generator=generator)
    else:
        score = torch.linspace(1, 0, member.shape[1], dtype=torch.float64).expand(member.shape)
    score = score.masked_fill(~member, -1.0)
    return score.topk(count, dim=1).indices.sort(dim=1).values
