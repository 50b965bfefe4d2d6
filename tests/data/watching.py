"""A picture view that keeps a corner of each picture and remembers what it was given."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


def _same(parts: np.ndarray) -> np.ndarray:
    return parts


@dataclass
class Corner:
    """The first rows and columns of each picture, changed by a function of several of them."""

    rows: int
    columns: int
    change: Callable[[np.ndarray], np.ndarray] = _same
    seen: list[np.ndarray] = field(default_factory=list)
    rooms: list[np.ndarray] = field(default_factory=list)

    def part(self, height: int, width: int) -> tuple[slice, slice]:
        assert self.rows <= height and self.columns <= width
        return slice(self.rows), slice(self.columns)

    def show(self, parts: np.ndarray) -> np.ndarray:
        assert parts.flags.c_contiguous and parts.flags.writeable
        self.seen.extend(parts.copy())
        return self.change(parts)

    def room(self, count: int, out_height: int, out_width: int) -> np.ndarray:
        self.rooms.append(np.full((count, out_height, out_width, 3), 99, np.uint8))
        return self.rooms[-1]
