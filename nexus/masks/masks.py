"""Masks: which tokens the context encoder sees and which ones the predictor must predict.

    future, mask_ratio = temporal_mask_ratio        future, mask_ratio above it
    time  0 1 2 3 | 4 5 6 7                         time  0 1 2 3 | 4 5 6 7
    place c c c c | t t t t                         place c c c c | t t t t
    place c c c c | t t t t                         place t t t t | t t t t   <- a hidden tube

    future_biased                                   tube                      random
    place c c t c | t t c t                         place c c c c c c c c     place c t t c t t c t
    place t c c c | t t t t                         place t t t t t t t t     place t t c t t c t t

    multiblock: boxes over all time steps, in two families (see `nexus.masks.multiblock`)

- `temporal_mask_ratio` is the share of time steps that are hidden entirely, always the last ones.
- `mask_ratio` is the share of **all** tokens that are hidden from the context encoder. What the
  hidden time steps do not account for is hidden as tubes: the same places in every visible time
  step, drawn anew for each clip. With 0.5 and 0.7 the context sees 60 % of the places of the first
  half.

Ratios are rounded to whole time steps and whole places; at least one of each stays visible and at
least one is hidden. Masks are drawn on the CPU, so that a seed gives the same masks on any device.
"""

from dataclasses import dataclass
from typing import Literal, Self

import pydantic
import torch
from torch import Generator, Tensor

from nexus.config import Config
from nexus.errors import VideoShapeError
from nexus.masks.multiblock import PUBLISHED, BlockFamily, draw_blocks
from nexus.nn.eager import eager
from nexus.nn.grid import Grid, TokenLayout


class MaskConfig(Config):
    """Which mask is drawn and how much it hides."""

    mask: Literal["future", "future_biased", "tube", "random", "multiblock"] = "future"
    mask_ratio: float = pydantic.Field(0.7, gt=0.0, lt=1.0)
    """Share of all tokens that is hidden (`future`, `tube`, `random`)."""
    temporal_mask_ratio: float = pydantic.Field(0.5, gt=0.0, lt=1.0)
    """Share of time steps hidden entirely (`future`) or counted as late (`future_biased`)."""
    context_frames: pydantic.PositiveInt | None = None
    """`future`: see the first t frames; overrides `temporal_mask_ratio`."""
    future_frames: pydantic.PositiveInt | None = None
    """`future`: predict the k frames after the context; frames after those are not used. Without
    `context_frames`, the context is everything up to the last k frames. With either of these two
    keys, tubes hide only what `mask_ratio` asks beyond the frames that the context lacks."""
    early_mask_ratio: float = pydantic.Field(0.2, ge=0.0, lt=1.0)
    """`future_biased`: share of the tokens hidden in each early time step."""
    late_mask_ratio: float = pydantic.Field(0.8, gt=0.0, le=1.0)
    """`future_biased`: share of the tokens hidden in each late time step."""
    mask_blocks: tuple[BlockFamily, ...] = pydantic.Field(PUBLISHED, min_length=1)
    """`multiblock`: the families of boxes; every clip is predicted once under each."""
    targets: Literal["hidden", "future"] = "hidden"
    """Predict every hidden token, or only those after the context's last time step (`future`)."""

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        frames_given = self.context_frames is not None or self.future_frames is not None
        if self.mask == "future":
            if not frames_given and self.mask_ratio < self.temporal_mask_ratio - 1e-9:
                raise ValueError(
                    f"mask_ratio {self.mask_ratio} is the share of all patches hidden and cannot "
                    f"be below temporal_mask_ratio {self.temporal_mask_ratio}, which hides whole "
                    "time steps; raise mask_ratio or lower temporal_mask_ratio"
                )
        elif frames_given:
            raise ValueError(
                f"context_frames and future_frames belong to mask 'future', got mask {self.mask!r}"
            )
        if self.targets == "future" and self.mask in ("tube", "random", "multiblock"):
            raise ValueError(
                f"targets 'future' needs a mask with a future; mask {self.mask!r} has none"
            )
        return self


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


@eager
def draw_masks(
    config: MaskConfig,
    grid: Grid,
    batch: int,
    *,
    tubelet_size: int,
    generator: Generator | None = None,
) -> tuple[TokenMask, ...]:
    """Draw the configured masks for a batch of clips: one, or one a family of boxes.

    Raises:
        VideoShapeError: the clips are too short or too small for the mask.
    """
    check_fits(config, grid, tubelet_size)
    if config.mask == "multiblock":
        return tuple(
            TokenMask(grid, *draw_blocks(family, grid, batch, generator))
            for family in config.mask_blocks
        )
    return (_draw_one(config, grid, batch, tubelet_size, generator),)


def _draw_one(
    config: MaskConfig, grid: Grid, batch: int, tubelet_size: int, generator: Generator | None
) -> TokenMask:
    if config.mask == "tube":
        return tube_mask(grid, batch, visible_places(grid, config.mask_ratio), generator)
    if config.mask == "random":
        visible = _bounded(round((1 - config.mask_ratio) * grid.tokens), grid.tokens - 1)
        return random_mask(grid, batch, visible, generator)
    if config.mask == "future_biased":
        early = grid.time - _bounded(round(config.temporal_mask_ratio * grid.time), grid.time - 1)
        return future_biased_mask(
            grid,
            batch,
            early,
            early_visible=_bounded(round((1 - config.early_mask_ratio) * grid.places), grid.places),
            late_visible=min(round((1 - config.late_mask_ratio) * grid.places), grid.places - 1),
            future_only=config.targets == "future",
            generator=generator,
        )
    context, target = future_steps(config, grid, tubelet_size)
    hidden_steps = grid.time - context
    tubes = max(config.mask_ratio * grid.tokens - hidden_steps * grid.places, 0) / context
    visible = _bounded(grid.places - round(tubes), grid.places)
    future_only = config.targets == "future"
    return future_mask(grid, batch, context, target, visible, future_only, generator)


def check_fits(config: MaskConfig, grid: Grid, tubelet_size: int) -> None:
    """Check that clips of a token grid can be masked as configured.

    Raises:
        VideoShapeError: naming what is too short or too small.
    """
    if config.mask in ("future", "future_biased"):
        if grid.time < 2:
            raise VideoShapeError(
                f"mask {config.mask!r} needs at least two time steps, got {grid.time}: use longer "
                f"clips (more than {tubelet_size} frames) or mask 'tube'"
            )
        if config.mask == "future":
            future_steps(config, grid, tubelet_size)
    elif config.mask in ("tube", "multiblock") and grid.places < 2:
        raise VideoShapeError(
            f"mask {config.mask!r} needs at least two places, got frames of a single patch: use "
            "larger frames or mask 'future'"
        )
    elif grid.tokens < 2:
        raise VideoShapeError(
            f"mask {config.mask!r} needs at least two tokens, got one: use longer clips"
        )


def future_steps(config: MaskConfig, grid: Grid, tubelet_size: int) -> tuple[int, int]:
    """Time steps of the context and of the target for mask `future`.

    Raises:
        VideoShapeError: frames that are not whole tubelets, or that the clip does not have.
    """
    for name in ("context_frames", "future_frames"):
        frames = getattr(config, name)
        if frames is not None and frames % tubelet_size:
            raise VideoShapeError(
                f"{name} {frames} is not a multiple of tubelet_size {tubelet_size}"
            )
    future = None if config.future_frames is None else config.future_frames // tubelet_size
    if config.context_frames is not None:
        context = config.context_frames // tubelet_size
        future = grid.time - context if future is None else future
    elif future is not None:
        context = grid.time - future
    else:
        future = _bounded(round(config.temporal_mask_ratio * grid.time), grid.time - 1)
        context = grid.time - future
    if context < 1 or future < 1 or context + future > grid.time:
        raise VideoShapeError(
            f"a clip of {grid.time * tubelet_size} frames cannot give {context * tubelet_size} "
            f"context frames followed by {future * tubelet_size} future frames"
        )
    return context, future


def visible_places(grid: Grid, mask_ratio: float) -> int:
    """Places that stay visible under tubes that hide a share of them."""
    return _bounded(round((1 - mask_ratio) * grid.places), grid.places - 1)


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
    places = _draw_places(grid, batch, grid.places if visible is None else visible, generator)
    context = _tubes(grid, places, 0, context_steps)
    future = grid.step_range(context_steps, context_steps + target_steps).expand(batch, -1)
    if not future_only and places.shape[1] < grid.places:
        tubes = _tubes(grid, _other_places(grid, places), 0, context_steps)
        future = torch.cat([tubes, future], dim=1)
    return TokenMask(grid, context, future.contiguous(), context_steps, context_steps - 1)


def future_biased_mask(
    grid: Grid,
    batch: int,
    early_steps: int,
    *,
    early_visible: int,
    late_visible: int,
    future_only: bool = False,
    generator: Generator | None = None,
) -> TokenMask:
    """See many random places of each early step and few of each late one; predict the others."""
    noise = torch.rand(batch, grid.time, grid.places, generator=generator)
    rank = noise.argsort(dim=-1).argsort(dim=-1)
    keep = torch.full((grid.time, 1), late_visible)
    keep[:early_steps] = early_visible
    seen = rank < keep
    wanted = ~seen
    if future_only:
        wanted[:, :early_steps] = False
    return TokenMask(grid, _indices(seen), _indices(wanted), None, early_steps - 1)


def tube_mask(
    grid: Grid, batch: int, visible: int, generator: Generator | None = None
) -> TokenMask:
    """See the same random places in every time step (arXiv 2203.12602)."""
    places = _draw_places(grid, batch, visible, generator)
    context = _tubes(grid, places, 0, grid.time)
    target = _tubes(grid, _other_places(grid, places), 0, grid.time)
    return TokenMask(grid, context, target, grid.time)


def random_mask(
    grid: Grid, batch: int, visible: int, generator: Generator | None = None
) -> TokenMask:
    """See tokens drawn anywhere in the clip."""
    order = torch.rand(batch, grid.tokens, generator=generator).argsort(dim=-1)
    return TokenMask(grid, order[:, :visible].sort().values, order[:, visible:].sort().values)


def _bounded(count: int, most: int) -> int:
    return max(1, min(count, most))


def _draw_places(grid: Grid, batch: int, count: int, generator: Generator | None) -> Tensor:
    if count == grid.places:
        return torch.arange(grid.places).expand(batch, -1)
    order = torch.rand(batch, grid.places, generator=generator).argsort(dim=-1)
    return order[:, :count].sort().values


def _other_places(grid: Grid, places: Tensor) -> Tensor:
    left = torch.ones(places.shape[0], grid.places, dtype=torch.bool).scatter(1, places, False)
    return _indices(left)


def _tubes(grid: Grid, places: Tensor, start: int, stop: int) -> Tensor:
    """The tokens of some places in time steps `start` to `stop`, time-major."""
    steps = torch.arange(start, stop).view(1, -1, 1) * grid.places
    return (steps + places.unsqueeze(1)).flatten(1)


def _indices(chosen: Tensor) -> Tensor:
    """Sorted token numbers of a bool tensor in which every clip chooses equally many."""
    chosen = chosen.flatten(1)
    return chosen.nonzero()[:, 1].view(chosen.shape[0], -1)
