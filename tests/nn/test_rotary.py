"""Rotary positions of both kinds against the formula, token by token."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import rope as slow
from torch import Tensor

from nexus.nn.grid import Grid, TokenLayout
from nexus.nn.rotary import RotaryKind, Rotation, part_of, rotation, turns

KINDS: tuple[RotaryKind, ...] = ("tiled", "interleaved")
SIDES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
HEAD_DIM = st.integers(3, 20).map(lambda half: 2 * half)
SEED = st.integers(0, 1000)
MANY = settings(max_examples=20, deadline=None)
EXACT = {"rtol": 1e-10, "atol": 1e-10}
SINGLE = {"rtol": 1e-5, "atol": 1e-5}


def values(layout: TokenLayout, head_dim: int, *, batch: int = 2, seed: int = 0) -> Tensor:
    """Queries and keys of one head."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, layout.length, 2, 1, head_dim)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def ragged(grid: Grid, count: int, seed: int, batch: int = 2) -> TokenLayout:
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(grid.tokens, generator=generator)[:count] for _ in range(batch)]
    return TokenLayout(grid, torch.stack(rows))


def turned_slowly(
    given: Tensor, layout: TokenLayout, kind: str, stretch_to: int | None = None
) -> Tensor:
    grid = layout.grid
    sides = (grid.time, grid.height, grid.width)
    out = torch.empty_like(given)
    for clip in range(given.shape[0]):
        numbers = range(grid.tokens) if layout.index is None else layout.index[clip].tolist()
        for row, number in enumerate(numbers):
            at = slow.stretched(slow.place(number, sides), sides, stretch_to)
            for part in range(2):
                out[clip, row, part, 0] = slow.turned(given[clip, row, part, 0], at, kind)
    return out


@MANY
@given(
    sides=SIDES, head_dim=HEAD_DIM, kind=st.sampled_from(KINDS), share=st.floats(0, 1),
    stretch_to=st.sampled_from([None, 1, 3, 16]), whole=st.booleans(), seed=SEED,
)  # fmt: skip
def test_the_turns_are_the_formula(
    sides: tuple[int, int, int],
    head_dim: int,
    kind: RotaryKind,
    share: float,
    stretch_to: int | None,
    whole: bool,
    seed: int,
) -> None:
    """Any grid, square or not, one patch wide or not; any tokens of it, in any order."""
    grid = Grid(*sides)
    layout = ragged(grid, max(1, round(share * grid.tokens)), seed)
    if whole:
        layout = TokenLayout.full(grid)
    given = values(layout, head_dim, seed=seed)
    turn = rotation(layout, head_dim, kind, stretch_to=stretch_to, like=given)
    expected = turned_slowly(given, layout, kind, stretch_to)
    torch.testing.assert_close(turn(given), expected, **EXACT)
    # The products for compiled code, which has no complex numbers.
    assert turn.straight is not None
    torch.testing.assert_close(Rotation(turn.cos, turn.sin)(given), expected, **EXACT)
    single = given.float()
    turn = rotation(layout, head_dim, kind, stretch_to=stretch_to, like=single)
    torch.testing.assert_close(turn(single), expected.float(), **SINGLE)
    torch.testing.assert_close(Rotation(turn.cos, turn.sin)(single), expected.float(), **SINGLE)


@MANY
@given(head_dim=HEAD_DIM, kind=st.sampled_from(KINDS))
def test_what_is_left_of_a_head_is_not_turned(head_dim: int, kind: RotaryKind) -> None:
    part = part_of(head_dim)
    assert part % 2 == 0
    assert 3 * part <= head_dim < 3 * (part + 2)
    layout = TokenLayout.full(Grid(3, 2, 2))
    given = values(layout, head_dim)
    turned = rotation(layout, head_dim, kind, like=given)(given)
    assert torch.equal(turned[..., 3 * part :], given[..., 3 * part :])
    assert torch.equal(turned[:, 0], given[:, 0]), "the first token stands at 0, 0, 0"
    moved = (turned != given).any(dim=(0, 2, 3, 4))
    assert moved[1:].all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_coordinate_turns_a_part_of_its_own(kind: RotaryKind, axis: int) -> None:
    """Conditions of a world model have a time but no place: rows and columns do not turn them."""
    at = [torch.zeros(1, 1, dtype=torch.float64) for _ in range(3)]
    at[axis] += 2.5
    given = torch.randn(1, 1, 2, 1, 20, generator=torch.Generator().manual_seed(0)).double()
    turned = turns((at[0], at[1], at[2]), 20, kind)(given)
    moved = (turned != given).flatten(0, 3).any(dim=0).nonzero().flatten().tolist()
    assert moved == list(range(6 * axis, 6 * axis + 6))
    expected = [0.0, 0.0, 0.0]
    expected[axis] = 2.5
    for part in range(2):
        vector = given[0, 0, part, 0]
        torch.testing.assert_close(
            turned[0, 0, part, 0], slow.turned(vector, (*expected,), kind), **EXACT
        )


@pytest.mark.parametrize("stretch_to", [16, 3])
def test_stretching_spans_the_trained_range_at_any_resolution(stretch_to: int) -> None:
    """The corner of every grid turns as that of the trained one; time is not stretched."""
    corners = []
    for height, width in ((stretch_to, stretch_to), (4, 7), (24, 2)):
        grid = Grid(3, height, width)
        last = TokenLayout(grid, torch.tensor([[grid.tokens - 1]]))
        given = torch.ones(1, 1, 2, 1, 18, dtype=torch.float64)
        corners.append(rotation(last, 18, "interleaved", stretch_to=stretch_to, like=given)(given))
    for corner in corners[1:]:
        torch.testing.assert_close(corner, corners[0], **EXACT)


@pytest.mark.parametrize("sides", [(2, 1, 4), (2, 4, 1), (2, 1, 1)])
def test_a_side_of_one_patch_stays_at_zero(sides: tuple[int, int, int]) -> None:
    layout = TokenLayout.full(Grid(*sides))
    given = values(layout, 12)
    turned = rotation(layout, 12, "interleaved", stretch_to=16, like=given)(given)
    assert turned.isfinite().all()
    for axis in (1, 2):
        if sides[axis] == 1:
            part = slice(4 * axis, 4 * axis + 4)
            assert torch.equal(turned[..., part], given[..., part])


@MANY
@given(head_dim=HEAD_DIM, seed=SEED, shift=st.floats(-20, 20))
def test_interleaved_scores_depend_on_differences_alone(
    head_dim: int, seed: int, shift: float
) -> None:
    """A rotation: lengths stay, and so do scores when both tokens move alike."""
    generator = torch.Generator().manual_seed(seed)
    at = [10 * torch.rand(1, 2, generator=generator, dtype=torch.float64) for _ in range(3)]
    given = torch.randn(1, 2, 2, 1, head_dim, generator=generator, dtype=torch.float64)
    scores = []
    for by in (0.0, shift):
        turned = turns((at[0] + by, at[1] - by, at[2] + 2 * by), head_dim, "interleaved")(given)
        torch.testing.assert_close(turned.norm(dim=-1), given.norm(dim=-1))
        scores.append(turned[0, 0, 0, 0] @ turned[0, 1, 1, 0])
    torch.testing.assert_close(*scores, rtol=1e-8, atol=1e-8)


def test_the_tiled_kind_is_no_rotation() -> None:
    """As published: it changes lengths. Heads of 8 have parts of two, where the kinds are one."""
    at = tuple(torch.full((1, 1), 3.0, dtype=torch.float64) for _ in range(3))
    given = torch.randn(1, 1, 2, 1, 24, generator=torch.Generator().manual_seed(0)).double()
    tiled, interleaved = (turns(at, 24, kind)(given) for kind in KINDS)
    assert (tiled.norm(dim=-1) - given.norm(dim=-1)).abs().min() > 0.01
    torch.testing.assert_close(interleaved.norm(dim=-1), given.norm(dim=-1))
    tiled, interleaved = (turns(at, 8, kind)(given[..., :8]) for kind in KINDS)
    torch.testing.assert_close(tiled, interleaved)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiled", [False, True])
def test_half_precision_is_rounded_only_once(
    kind: RotaryKind, dtype: torch.dtype, compiled: bool
) -> None:
    """Positions beyond 256 do not exist in bfloat16: tables must not be made in it."""
    grid = Grid(300, 1, 2)
    layout = TokenLayout(grid, torch.tensor([[599, 514, 3]]))
    given = values(layout, 18, batch=1).to(dtype)
    turn = rotation(layout, 18, kind, like=given)
    assert turn.cos.dtype == turn.sin.dtype == torch.float32
    if compiled:
        turn = Rotation(turn.cos, turn.sin)
    turned = turn(given)
    assert turned.dtype == dtype
    exact = turned_slowly(given.double(), layout, kind)
    steps = torch.finfo(dtype).eps * exact.abs().clamp(min=0.1)
    assert ((turned.double() - exact).abs() <= 0.51 * steps + 1e-4 * steps.max()).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients(kind: RotaryKind, compiled: bool) -> None:
    layout = TokenLayout(Grid(3, 2, 2), torch.tensor([[11, 5], [2, 6]]))
    given = values(layout, 14).requires_grad_()
    turn = rotation(layout, 14, kind, like=given)
    if compiled:
        turn = Rotation(turn.cos, turn.sin)
    assert torch.autograd.gradcheck(turn, (given,))


@pytest.mark.parametrize("kind", KINDS)
def test_a_slice_of_a_fused_projection_can_be_turned(kind: RotaryKind) -> None:
    """Queries and keys are a view into queries, keys and values."""
    layout = TokenLayout.full(Grid(2, 2, 1))
    fused = torch.randn(2, 4, 3, 2, 10, dtype=torch.float64)
    turn = rotation(layout, 10, kind, like=fused)
    torch.testing.assert_close(turn(fused[:, :, :2]), turn(fused[:, :, :2].contiguous()))


@pytest.mark.parametrize("head_dim", [0, 4, 5, 7, 33])
def test_heads_that_cannot_be_turned(head_dim: int) -> None:
    with pytest.raises(ValueError, match=f"even head width of at least 6, got {head_dim}"):
        part_of(head_dim)
