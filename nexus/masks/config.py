"""Which mask is drawn: which tokens the context encoder sees, and which ones are predicted.

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

from dataclasses import fields
from typing import Literal, Self

import pydantic
from torch import Generator

from nexus.config import Config
from nexus.masks.multiblock import PUBLISHED, BlockFamily, Trim
from nexus.masks.token_mask import Mask, TokenMask
from nexus.nn.eager import eager
from nexus.nn.grid import Grid
from nexus.registry import Choice, Registry, split_choice

MASKS = Registry(
    "mask",
    {
        "future": "nexus.masks.future:FutureMask",
        "future_biased": "nexus.masks.future:FutureBiasedMask",
        "tube": "nexus.masks.tubes:TubeMask",
        "random": "nexus.masks.tubes:RandomMask",
        "multiblock": "nexus.masks.multiblock:MultiblockMask",
    },
)


class MaskConfig(Config):
    """Which mask is drawn and how much it hides."""

    mask: Choice = "future"
    """One of `MASKS`, whose settings are the keys below, or your own, with its own settings:
    `package.module:Class` or `{kind: package.module:Class, ...}`."""
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
    mask_trim: Trim = "random"
    """`multiblock`: what a clip loses of a mask that is larger than the smallest of its batch:
    tokens at `random`, or those at the `end` of the clip, as V-JEPA 2 was trained."""
    targets: Literal["hidden", "future"] = "hidden"
    """Predict every hidden token, or only those after the context's last time step (`future`)."""

    @pydantic.field_validator("mask")
    @classmethod
    def _known(cls, mask: Choice) -> Choice:
        name, settings = split_choice(mask, MASKS.what)
        MASKS.find(name)
        if name not in MASKS.own:
            return mask
        if settings:
            raise ValueError(f"the keys of mask {name!r} stand beside it, got {settings} within it")
        return name

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
        if self.targets == "future" and self.mask not in ("future", "future_biased"):
            raise ValueError(
                f"targets 'future' needs a mask with a future; mask {self.mask!r} has none"
            )
        return self


def build_mask(config: MaskConfig) -> Mask:
    """The mask that the settings name.

    Raises:
        ConfigError: your own does not take its settings.
    """
    name, _ = split_choice(config.mask)
    if name not in MASKS.own:
        return MASKS.build(config.mask)
    mask = MASKS.find(name)
    return mask(**{field.name: getattr(config, field.name) for field in fields(mask)})


@eager
def draw_masks(
    mask: Mask | MaskConfig,
    grid: Grid,
    batch: int,
    *,
    tubelet_size: int,
    generator: Generator | None = None,
) -> tuple[TokenMask, ...]:
    """Draw the masks for a batch of clips: mostly one.

    Raises:
        VideoShapeError: the clips are too short or too small for the mask.
    """
    mask = build_mask(mask) if isinstance(mask, MaskConfig) else mask
    mask.check_fits(grid, tubelet_size)
    return mask.draw(grid, batch, tubelet_size=tubelet_size, generator=generator)
