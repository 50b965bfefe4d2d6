"""Token numbers, positions, and picking tokens."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nexus.nn.grid import Grid, TokenLayout

SIDES = st.integers(1, 6)


@given(time=SIDES, height=SIDES, width=SIDES)
def test_tokens_are_numbered_time_major(time: int, height: int, width: int) -> None:
    grid = Grid(time, height, width)
    number = 0
    for t in range(time):
        assert grid.step_range(t, t + 1)[0] == number
        for row in range(height):
            for col in range(width):
                assert number // grid.places == t
                assert (number % grid.places) // width == row
                assert (number % grid.places) % width == col
                number += 1
    assert grid.tokens == number
    assert grid.places == height * width


def test_a_range_of_steps_holds_their_tokens_in_order() -> None:
    grid = Grid(4, 2, 3)
    assert grid.step_range(1, 3).tolist() == list(range(6, 18))
    assert grid.step_range(2, 2).tolist() == []


@pytest.mark.parametrize("sides", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 2, 2)])
def test_an_empty_grid_is_refused(sides: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least one token along each side"):
        Grid(*sides)


def test_select_picks_each_clips_own_tokens() -> None:
    grid = Grid(2, 1, 3)
    tokens = torch.arange(2 * 6 * 4).view(2, 6, 4).float()
    index = torch.tensor([[0, 5], [3, 1]])
    picked = TokenLayout(grid, index).select(tokens)
    for clip in range(2):
        for place in range(2):
            assert torch.equal(picked[clip, place], tokens[clip, index[clip, place]])
    full = TokenLayout.full(grid)
    assert full.select(tokens) is tokens
    assert (full.length, full.frames) == (6, 2)
    assert TokenLayout(grid, index).length == 2
