"""Multiblock masks from their definition: which sets of tokens are unions of boxes."""

import itertools
import math
from collections.abc import Iterable

Size = tuple[int, int, int]
Token = tuple[int, int, int]


def coordinates(numbers: Iterable[int], sides: Size) -> set[Token]:
    _, height, width = sides
    return {(n // (height * width), n // width % height, n % width) for n in numbers}


def sizes(
    sides: Size,
    spatial: tuple[float, float],
    temporal: tuple[float, float],
    aspect: tuple[float, float],
) -> set[Size]:
    """Every size that a box can have: area, aspect and length run through their ranges.

    Height and width change where sqrt(area * aspect) or sqrt(area / aspect) passes a half.
    """
    time, height, width = sides
    low, high = aspect
    frames = set()
    for area in range(int(height * width * spatial[0]), int(height * width * spatial[1]) + 1):
        halves = [(number + 0.5) ** 2 for number in range(height + width)]
        passed = [half / max(area, 1) for half in halves] + [area / half for half in halves]
        near = [at * (1 + nudge) for at in passed for nudge in (-1e-9, 0, 1e-9)]
        for tall in [low, high, *(at for at in near if low <= at <= high)]:
            rows = min(height, max(1, round(math.sqrt(area * tall))))
            columns = min(width, max(1, round(math.sqrt(area / tall))))
            frames.add((rows, columns))
    lengths = range(int(time * temporal[0]), int(time * temporal[1]) + 1)
    return {(max(1, length), *frame) for length in lengths for frame in frames}


def box(corner: Token, size: Size) -> set[Token]:
    return set(itertools.product(*(range(c, c + s) for c, s in zip(corner, size, strict=True))))


def boxes_within(tokens: set[Token], size: Size) -> list[set[Token]]:
    """The boxes of a size that lie in a set of tokens as a whole."""
    return [each for corner in tokens if (each := box(corner, size)) <= tokens]


def is_union(tokens: set[Token], size: Size, most: int) -> bool:
    """Whether a set is the union of at most so many boxes of one size."""
    inside = boxes_within(tokens, size)
    if not inside or set().union(*inside) != tokens:
        return False
    return _covered(tokens, inside, most)


def _covered(left: set[Token], inside: list[set[Token]], most: int) -> bool:
    """Cover the first token that is left in every way there is."""
    if not left:
        return True
    if most == 0:
        return False
    first = min(left)
    return any(_covered(left - each, inside, most - 1) for each in inside if first in each)


def trimmed_at_the_end(sets: list[list[int]]) -> list[list[int]]:
    """The published batching: all as short as the shortest, by what comes first."""
    count = min(len(each) for each in sets)
    return [sorted(each)[:count] for each in sets]
