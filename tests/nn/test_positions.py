"""Position tables: what each token gets, and what other resolutions and lengths get."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from nexus.nn.grid import Grid, TokenLayout
from nexus.nn.positions import LearnedPositions, SinCosPositions

GRID = Grid(4, 3, 2)


def learned(grid: Grid = GRID, dim: int = 6) -> LearnedPositions:
    """Tables that have learned something: noise."""
    torch.manual_seed(0)
    positions = LearnedPositions(grid, dim)
    torch.nn.init.normal_(positions.spatial)
    torch.nn.init.normal_(positions.temporal)
    return positions


def waves(coordinate: int, count: int) -> list[float]:
    """sin, then cos, of a coordinate at `count` frequencies from 1 down to 1/10000."""
    angles = [coordinate / 10_000 ** (k / count) for k in range(count)]
    return [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]


@pytest.mark.parametrize("dim", [4, 6, 9, 24])
def test_learned_tables_start_as_waves(dim: int) -> None:
    positions = LearnedPositions(GRID, dim)
    for place in range(GRID.places):
        row, col = divmod(place, GRID.width)
        expected = waves(row, dim // 4) + waves(col, dim // 4)
        expected += [0.0] * (dim - len(expected))
        torch.testing.assert_close(positions.spatial[0, place], torch.tensor(expected))
    for step in range(GRID.time):
        expected = waves(step, dim // 2) + [0.0] * (dim % 2)
        torch.testing.assert_close(positions.temporal[0, step], torch.tensor(expected))
    assert all(parameter.requires_grad for parameter in positions.parameters())
    with pytest.raises(ValueError, match="at least 4 dimensions"):
        LearnedPositions(GRID, 3)


def test_a_token_gets_its_place_plus_its_time() -> None:
    positions = learned()
    every = positions(TokenLayout.full(GRID))
    assert every.shape == (1, GRID.tokens, 6)
    for token in range(GRID.tokens):
        time, place = divmod(token, GRID.places)
        expected = positions.spatial[0, place] + positions.temporal[0, time]
        assert torch.equal(every[0, token], expected)


@pytest.mark.parametrize("make", [LearnedPositions, SinCosPositions])
@pytest.mark.parametrize("grid", [GRID, Grid(2, 3, 2), Grid(6, 3, 2), Grid(4, 5, 4)])
def test_a_layout_gets_the_rows_of_the_whole_grid(make, grid: Grid) -> None:
    torch.manual_seed(0)
    positions = make(GRID, 12)
    every = positions(TokenLayout.full(grid))
    index = torch.tensor([[0, 5, grid.tokens - 1], [7, 2, 1]])
    some = positions(TokenLayout(grid, index))
    assert some.shape == (2, 3, 12)
    for clip in range(2):
        assert torch.equal(some[clip], every[0, index[clip]])


def test_a_shorter_clip_is_the_beginning_of_a_longer_one() -> None:
    positions = learned()
    short = positions(TokenLayout.full(Grid(3, 3, 2)))
    every = positions(TokenLayout.full(GRID))
    assert torch.equal(short, every[:, : 3 * GRID.places])


def test_a_longer_clip_stretches_time_linearly() -> None:
    positions = learned()
    _, stretched = positions.tables(Grid(7, 3, 2))
    for step in range(7):
        at = step * (GRID.time - 1) / (7 - 1)  # ends stay at the ends
        low = min(int(at), GRID.time - 2)
        expected = (1 - (at - low)) * positions.temporal[0, low] + (at - low) * positions.temporal[
            0, low + 1
        ]
        torch.testing.assert_close(stretched[0, step], expected)


def cubic(x: float, a: float = -0.75) -> float:
    """The convolution kernel of bicubic interpolation."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def test_another_resolution_resizes_places_bicubically() -> None:
    grid = Grid(4, 5, 4)
    positions = learned()
    spatial, temporal = positions.tables(grid)
    assert torch.equal(temporal, positions.temporal)
    table = positions.spatial[0].view(GRID.height, GRID.width, -1)
    for row in range(grid.height):
        for col in range(grid.width):
            # Pixel centres, as align_corners=False has it; the border is repeated.
            y = (row + 0.5) * GRID.height / grid.height - 0.5
            x = (col + 0.5) * GRID.width / grid.width - 0.5
            value = torch.zeros(6)
            for i in range(math.floor(y) - 1, math.floor(y) + 3):
                for j in range(math.floor(x) - 1, math.floor(x) + 3):
                    cell = table[min(max(i, 0), GRID.height - 1), min(max(j, 0), GRID.width - 1)]
                    value = value + cubic(y - i) * cubic(x - j) * cell
            torch.testing.assert_close(spatial[0, row * grid.width + col], value)


def test_the_grid_it_was_made_for_is_not_interpolated() -> None:
    positions = learned()
    spatial, temporal = positions.tables(GRID)
    assert spatial is positions.spatial
    assert temporal is positions.temporal


@pytest.mark.parametrize("grid", [GRID, Grid(7, 5, 4)])
def test_gradients_reach_the_tables(grid: Grid) -> None:
    positions = learned()
    positions(TokenLayout.full(grid)).square().sum().backward()
    for table in (positions.spatial, positions.temporal):
        assert table.grad is not None
        assert (table.grad.abs().sum(dim=-1) > 0).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(6, 20))
def test_sincos_is_the_formula(time: int, height: int, width: int, dim: int) -> None:
    grid = Grid(time, height, width)
    table = SinCosPositions(grid, dim)(TokenLayout.full(grid))[0]
    part = dim // 6 * 2
    for token in range(grid.tokens):
        step, place = divmod(token, grid.places)
        values: list[float] = []
        for coordinate in (step, place // width, place % width):
            values += waves(coordinate, part // 2)
        values += [0.0] * (dim - 3 * part)
        torch.testing.assert_close(table[token], torch.tensor(values), atol=1e-6, rtol=1e-5)


def test_sincos_has_no_parameters_and_leaves_no_trace_in_the_state() -> None:
    positions = SinCosPositions(GRID, 12)
    assert list(positions.parameters()) == []
    assert positions.state_dict() == {}
    with pytest.raises(ValueError, match="at least 6 dimensions"):
        SinCosPositions(GRID, 5)


def test_every_position_is_different() -> None:
    for positions in (LearnedPositions(GRID, 24), SinCosPositions(GRID, 24)):
        table = positions(TokenLayout.full(GRID))[0]
        apart = torch.cdist(table, table) + torch.eye(GRID.tokens)
        assert apart.min() > 1e-3


def test_tables_keep_their_type() -> None:
    for positions in (learned().bfloat16(), SinCosPositions(GRID, 12).bfloat16()):
        assert positions(TokenLayout.full(Grid(7, 5, 4))).dtype == torch.bfloat16


def test_interpolation_agrees_with_pytorch_on_a_square_enlargement() -> None:
    positions = learned(Grid(2, 2, 2))
    spatial, _ = positions.tables(Grid(2, 4, 4))
    image = positions.spatial.reshape(1, 2, 2, 6).permute(0, 3, 1, 2)
    larger = F.interpolate(image, scale_factor=2, mode="bicubic", align_corners=False)
    torch.testing.assert_close(spatial, larger.permute(0, 2, 3, 1).reshape(1, 16, 6))
