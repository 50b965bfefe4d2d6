"""How a stored picture must be turned or mirrored to stand upright."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Orientation:
    """Swap rows and columns if `transpose`, then mirror left-right and/or top-bottom."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def from_display_matrix(cls, matrix: Sequence[int] | None) -> Self:
        """Read an MP4/FFmpeg display matrix: nine integers, 16.16 fixed point, row by row.

        A point moves as `x' = a x + c y`, `y' = b x + d y` for rows `(a b u) (c d v) (x y w)`.
        Turns by quarter circles and mirrorings are exact; any other angle is left as it is stored.
        """
        if matrix is None:
            return cls()
        a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
        if min(abs(a), abs(d)) > 20 * max(abs(b), abs(c)):
            return cls(False, mirror_x=a < 0, mirror_y=d < 0)
        if min(abs(b), abs(c)) > 20 * max(abs(a), abs(d)):
            return cls(True, mirror_x=c < 0, mirror_y=b < 0)
        return cls()

    @classmethod
    def from_rotation(cls, degrees: float) -> Self:
        """Turned counter-clockwise by quarter circles; any other angle is left as it is stored.

        An angle does not tell a mirrored picture from one that stands on its head.
        """
        turns = {90: cls(True, mirror_y=True), 180: cls(False, True, True), 270: cls(True, True)}
        return turns.get(int(degrees) % 360, cls())

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the upright picture."""
        return (width, height) if self.transpose else (height, width)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """A view of `picture` (height, width, channels) that stands upright."""
        if self.transpose:
            picture = picture.swapaxes(0, 1)
        if self.mirror_x:
            picture = picture[:, ::-1]
        if self.mirror_y:
            picture = picture[::-1]
        return picture
