"""3D rotary positions from the formula: one token, one pair of dimensions at a time."""

import math

import torch
from torch import Tensor

Sides = tuple[int, int, int]
Place = tuple[float, float, float]


def place(number: int, sides: Sides) -> tuple[int, int, int]:
    """Time, row and column of a token of a grid of `(time, height, width)`: places within steps."""
    _, height, width = sides
    for time in range(sides[0]):
        for row in range(height):
            for column in range(width):
                if number == 0:
                    return time, row, column
                number -= 1
    raise IndexError("no such token")


def stretched(at: tuple[int, int, int], sides: Sides, side: int | None) -> Place:
    """Rows and columns moved so that the last ones lie at `side - 1`; a single one stays at 0."""
    time, row, column = at
    if side is None:
        return time, row, column
    moved = [
        (side - 1) * number / (count - 1) if count > 1 else 0.0
        for number, count in ((row, sides[1]), (column, sides[2]))
    ]
    return time, moved[0], moved[1]


def turned(vector: Tensor, at: Place, kind: str) -> Tensor:
    """A head's query or key at `(time, row, column)`.

    Three parts of equal, even width, then a remainder that stays. In a part of m dimensions, pair k
    is (2k, 2k + 1). `interleaved`: both turn by p / 10000^(k / (m/2)). `tiled`: dimension j takes
    the frequency number j mod m/2, so that the two of a pair may turn by different angles.
    """
    old = vector.tolist()
    new = list(old)
    part = len(old) // 3
    part -= part % 2
    for axis, position in enumerate(at):
        for pair in range(part // 2):
            even = axis * part + 2 * pair
            if kind == "interleaved":
                numbers = pair, pair
            else:
                numbers = (2 * pair) % (part // 2), (2 * pair + 1) % (part // 2)
            one, two = (position / 10_000 ** (number / (part / 2)) for number in numbers)
            new[even] = old[even] * math.cos(one) - old[even + 1] * math.sin(one)
            new[even + 1] = old[even + 1] * math.cos(two) + old[even] * math.sin(two)
    return torch.tensor(new, dtype=vector.dtype)
