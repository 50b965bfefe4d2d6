"""Masks that hide what comes later: whole frames, or most of each late frame."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator

from nexus.errors import VideoShapeError
from nexus.masks.places import bounded, draw_places, indices, other_places, tubes
from nexus.masks.token_mask import TokenMask
from nexus.nn.grid import Grid


@dataclass(frozen=True)
class FutureMask:
    """Mask `future`: see (places of) the first time steps, predict the others."""

    mask_ratio: float
    temporal_mask_ratio: float
    context_frames: int | None
    future_frames: int | None
    targets: Literal["hidden", "future"]

    def check_fits(self, grid: Grid, tubelet_size: int) -> None:
        """Raise VideoShapeError for clips of one time step, or without the frames asked for."""
        _check_steps("future", grid, tubelet_size)
        self.steps(grid, tubelet_size)

    def draw(
        self, grid: Grid, batch: int, *, tubelet_size: int, generator: Generator | None
    ) -> tuple[TokenMask, ...]:
        """Beyond the hidden steps, `mask_ratio` hides tubes in the context's own."""
        context, target = self.steps(grid, tubelet_size)
        hidden_steps = grid.time - context
        hidden = max(self.mask_ratio * grid.tokens - hidden_steps * grid.places, 0) / context
        visible = bounded(grid.places - round(hidden), grid.places)
        future_only = self.targets == "future"
        return (future_mask(grid, batch, context, target, visible, future_only, generator),)

    def steps(self, grid: Grid, tubelet_size: int) -> tuple[int, int]:
        """Time steps of the context and of the target.

        Raises:
            VideoShapeError: frames that are not whole tubelets, or that the clip does not have.
        """
        for name in ("context_frames", "future_frames"):
            frames = getattr(self, name)
            if frames is not None and frames % tubelet_size:
                raise VideoShapeError(
                    f"{name} {frames} is not a multiple of tubelet_size {tubelet_size}"
                )
        future = None if self.future_frames is None else self.future_frames // tubelet_size
        if self.context_frames is not None:
            context = self.context_frames // tubelet_size
            future = grid.time - context if future is None else future
        elif future is not None:
            context = grid.time - future
        else:
            future = bounded(round(self.temporal_mask_ratio * grid.time), grid.time - 1)
            context = grid.time - future
        if context < 1 or future < 1 or context + future > grid.time:
            raise VideoShapeError(
                f"a clip of {grid.time * tubelet_size} frames cannot give {context * tubelet_size} "
                f"context frames followed by {future * tubelet_size} future frames"
            )
        return context, future


@dataclass(frozen=True)
class FutureBiasedMask:
    """Mask `future_biased`: see many places of each early step and few of each late one."""

    temporal_mask_ratio: float
    early_mask_ratio: float
    late_mask_ratio: float
    targets: Literal["hidden", "future"]

    def check_fits(self, grid: Grid, tubelet_size: int) -> None:
        """Raise VideoShapeError for clips of one time step."""
        _check_steps("future_biased", grid, tubelet_size)

    def draw(
        self, grid: Grid, batch: int, *, tubelet_size: int, generator: Generator | None
    ) -> tuple[TokenMask, ...]:
        """Each step has places of its own."""
        early = grid.time - bounded(round(self.temporal_mask_ratio * grid.time), grid.time - 1)
        late_visible = min(round((1 - self.late_mask_ratio) * grid.places), grid.places - 1)
        keep = torch.full((grid.time, 1), late_visible)
        keep[:early] = bounded(round((1 - self.early_mask_ratio) * grid.places), grid.places)
        noise = torch.rand(batch, grid.time, grid.places, generator=generator)
        seen = noise.argsort(dim=-1).argsort(dim=-1) < keep
        hidden = ~seen
        if self.targets == "future":
            hidden[:, :early] = False
        return (TokenMask(grid, indices(seen), indices(hidden), None, early - 1),)


def future_mask(
    grid: Grid,
    batch: int,
    context_steps: int,
    target_steps: int,
    visible: int | None = None,
    future_only: bool = False,
    generator: Generator | None = None,
) -> TokenMask:
    """See `visible` places (default: all) of the first steps; predict the hidden rest.

    Targets are all tokens of the `target_steps` steps after the context, and, unless `future_only`,
    the tubes hidden in the context's own steps.
    """
    places = draw_places(grid, batch, grid.places if visible is None else visible, generator)
    context = tubes(grid, places, 0, context_steps)
    future = grid.step_range(context_steps, context_steps + target_steps).expand(batch, -1)
    if not future_only and places.shape[1] < grid.places:
        hidden = tubes(grid, other_places(grid, places), 0, context_steps)
        future = torch.cat([hidden, future], dim=1)
    return TokenMask(grid, context, future.contiguous(), context_steps, context_steps - 1)


def _check_steps(name: str, grid: Grid, tubelet_size: int) -> None:
    if grid.time < 2:
        raise VideoShapeError(
            f"mask {name!r} needs at least two time steps, got {grid.time}: use longer clips (more "
            f"than {tubelet_size} frames) or mask 'tube'"
        )
