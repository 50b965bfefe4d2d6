"""Clip-length curriculum: short clips first, because they are cheap, longer ones later.

The seed's formula (`8 + epoch // 50`) gives odd lengths and contradicts its own table; here the
curriculum is the table: pairs of (first step, frames).
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Table = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class ClipLength:
    """The frames of a clip by the loader's batch number; a plain value, so workers can hold it."""

    table: tuple[tuple[int, int], ...]
    batches_per_step: int = 1

    def __call__(self, batch_number: int) -> int:
        """Frames of the batch with this number, counted from 0."""
        return frames_at(self.table, batch_number // self.batches_per_step)


def frames_at(table: Table, step: int) -> int:
    """Frames of a clip at a step: those of the last row whose first step has come."""
    return table[bisect_right([start for start, _ in table], step) - 1][1]


def check_table(table: Table, *, tubelet_size: int) -> None:
    """Check a curriculum's rows.

    Raises:
        ValueError: the first row does not start at step 0, starts do not rise, or a length is not a
            positive multiple of the tubelet.
    """
    starts = [start for start, _ in table]
    if starts[0] != 0:
        raise ValueError(f"the curriculum's first row must start at step 0, got {starts[0]}")
    if any(later <= earlier for earlier, later in pairwise(starts)):
        raise ValueError(f"the curriculum's first steps must rise from row to row, got {starts}")
    wrong = [frames for _, frames in table if frames < 1 or frames % tubelet_size]
    if wrong:
        raise ValueError(
            f"the curriculum's frames must be multiples of tubelet_size {tubelet_size}, got {wrong}"
        )
