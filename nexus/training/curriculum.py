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

from nexus.data.clip_spec import ClipSpec, Size


def _in_one_line(row: Any, validate: Callable[[Any], Any]) -> Any:
    """Say once what a row is, not once for each form that it could have."""
    try:
        return validate(row)
    except pydantic.ValidationError:
        raise ValueError(
            f"got {row!r}; expected [first step, frames] or [first step, frames, picture size], "
            "whole numbers; the size may be [height, width]"
        ) from None


Row = Annotated[
    tuple[pydantic.NonNegativeInt, pydantic.PositiveInt]
    | tuple[pydantic.NonNegativeInt, pydantic.PositiveInt, Size],
    pydantic.WrapValidator(_in_one_line),
]


@dataclass(frozen=True)
class Stage:
    """From this step on, clips are cut so."""

    first_step: int
    clip: ClipSpec


def stages_of(table: Sequence[Row], clip: ClipSpec) -> tuple[Stage, ...]:
    """The stages that a curriculum's rows describe: `clip` with the frames and the size of each."""
    stages = []
    for first_step, num_frames, *sizes in table:
        size = sizes[0] if sizes else clip.size
        stages.append(Stage(first_step, clip.with_changes(num_frames=num_frames, size=size)))
    return tuple(stages)


def clip_at(stages: Sequence[Stage], step: int) -> ClipSpec:
    """What clips are at a step: as in the last stage whose first step has come."""
    return stages[bisect_right([stage.first_step for stage in stages], step) - 1].clip


def clip_of_batch(stages: Sequence[Stage], batches_per_step: int, number: int) -> ClipSpec:
    """What the clips of the loader's batch with this number, counted from 0, are."""
    return clip_at(stages, number // batches_per_step)


def check_table(table: Sequence[Row]) -> None:
    """Check the order of a curriculum's rows; whether a model can follow it, the model says.

    Raises:
        ValueError: the first row does not start at step 0, or starts do not rise.
    """
    starts = [row[0] for row in table]
    if starts[0] != 0:
        raise ValueError(f"the curriculum's first row must start at step 0, got {starts[0]}")
    if any(later <= earlier for earlier, later in pairwise(starts)):
        raise ValueError(f"the curriculum's first steps must rise from row to row, got {starts}")
