"""Curriculum: short clips of small pictures first, because they are cheap, larger ones later.

The seed's formula (`8 + epoch // 50`) gives odd lengths and contradicts its own table; here the
curriculum is the table: rows of (first step, frames) or (first step, frames, picture size). So
V-JEPA 2 was trained: 16 frames of 256 pixels, at the end 64 of up to 384 (arXiv 2506.09985).
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import pydantic

from nexus.data.shape import ClipShape


def _in_one_line(row: Any, validate: Callable[[Any], Any]) -> Any:
    """Say once what a row is, not once for each form that it could have."""
    try:
        return validate(row)
    except pydantic.ValidationError:
        raise ValueError(
            f"got {row!r}; expected [first step, frames] or [first step, frames, picture size], "
            "whole numbers; the size may be [height, width]"
        ) from None


ImageSize = pydantic.PositiveInt | tuple[pydantic.PositiveInt, pydantic.PositiveInt]
Row = Annotated[
    tuple[pydantic.NonNegativeInt, pydantic.PositiveInt]
    | tuple[pydantic.NonNegativeInt, pydantic.PositiveInt, ImageSize],
    pydantic.WrapValidator(_in_one_line),
]


@dataclass(frozen=True)
class Stage:
    """From this step on, clips have this shape."""

    first_step: int
    shape: ClipShape


@dataclass(frozen=True)
class ShapeByBatch:
    """The shape of a clip by the loader's batch number; a plain value, so workers can hold it."""

    stages: tuple[Stage, ...]
    batches_per_step: int = 1

    def __call__(self, batch_number: int) -> ClipShape:
        """What the clips of the batch with this number, counted from 0, measure."""
        return shape_at(self.stages, batch_number // self.batches_per_step)


def stages_of(table: Sequence[Row], size: tuple[int, int]) -> tuple[Stage, ...]:
    """The stages that a curriculum's rows describe; rows without a picture size have `size`."""
    stages = []
    for first_step, num_frames, *sides in table:
        height, width = size
        if sides:
            height, width = (sides[0],) * 2 if isinstance(sides[0], int) else sides[0]
        stages.append(Stage(first_step, ClipShape(num_frames, (height, width))))
    return tuple(stages)


def shape_at(stages: Sequence[Stage], step: int) -> ClipShape:
    """The shape of a clip at a step: that of the last stage whose first step has come."""
    return stages[bisect_right([stage.first_step for stage in stages], step) - 1].shape


def check_table(table: Sequence[Row], *, tubelet_size: int, patch_size: int) -> None:
    """Check a curriculum's rows.

    Raises:
        ValueError: the first row does not start at step 0, starts do not rise, or a length or a
            picture size is not a multiple of the tubelet's.
    """
    stages = stages_of(table, (patch_size, patch_size))
    starts = [stage.first_step for stage in stages]
    if starts[0] != 0:
        raise ValueError(f"the curriculum's first row must start at step 0, got {starts[0]}")
    if any(later <= earlier for earlier, later in pairwise(starts)):
        raise ValueError(f"the curriculum's first steps must rise from row to row, got {starts}")
    frames = [stage.shape.num_frames for stage in stages]
    if wrong := [number for number in frames if number % tubelet_size]:
        raise ValueError(
            f"the curriculum's frames must be multiples of tubelet_size {tubelet_size}, got {wrong}"
        )
    sides = [side for stage in stages for side in stage.shape.size]
    if wrong := [side for side in sides if side % patch_size]:
        raise ValueError(
            f"the curriculum's picture sizes must be multiples of patch_size {patch_size}, got "
            f"{sorted(set(wrong))}"
        )
