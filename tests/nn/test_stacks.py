"""Joint and factorized stacks against loops over clips, frames and places."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import attention as slow
from oracles.tiny import stir
from torch import Tensor

from nexus.nn.blocks import Block
from nexus.nn.grid import Grid, TokenLayout
from nexus.nn.stacks import FactorizedStack, JointStack

DIM, HEADS = 8, 2


def blocks(count: int, drop_path: float = 0.0) -> list[Block]:
    return [Block(DIM, HEADS, 1.5, drop_path) for _ in range(count)]


def make(kind: str, spatial: int = 2, temporal: int = 2):
    torch.manual_seed(0)
    if kind == "joint":
        stack = JointStack(blocks(spatial + temporal))
    else:
        stack = FactorizedStack(blocks(spatial), blocks(temporal))
    stir(stack)
    return stack.double()


def tokens_for(layout: TokenLayout, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, layout.length, DIM, generator=generator, dtype=torch.float64)


def regular(grid: Grid, batch: int, frames: list[int], seed: int) -> TokenLayout:
    """The same places in each of some frames; other places for each clip."""
    generator = torch.Generator().manual_seed(seed)
    kept = max(1, grid.places // 2)
    rows = []
    for _ in range(batch):
        places = torch.randperm(grid.places, generator=generator)[:kept].sort().values.tolist()
        rows.append([frame * grid.places + place for frame in frames for place in places])
    return TokenLayout(grid, torch.tensor(rows), len(frames))


def ragged(grid: Grid, batch: int, count: int, seed: int) -> TokenLayout:
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(grid.tokens, generator=generator)[:count] for _ in range(batch)]
    return TokenLayout(grid, torch.stack(rows).sort(dim=-1).values)


def check(stack: FactorizedStack, layout: TokenLayout, batch: int) -> None:
    tokens = tokens_for(layout, batch)
    torch.testing.assert_close(stack(tokens, layout)[-1], slow.factorized(stack, tokens, layout))


@pytest.mark.parametrize("layers", [(2, 2), (0, 2), (2, 0)])
def test_factorized_over_a_whole_grid(layers: tuple[int, int]) -> None:
    check(make("factorized", *layers), TokenLayout.full(Grid(3, 2, 2)), batch=2)


@pytest.mark.parametrize("frames", [[0, 1], [0, 1, 2, 3], [2], [1, 3]])
def test_factorized_over_a_regular_part(frames: list[int]) -> None:
    check(make("factorized"), regular(Grid(4, 2, 3), 2, frames, seed=3), batch=2)


@settings(max_examples=12, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)),
    share=st.floats(0.0, 1.0),
    seed=st.integers(0, 99),
)
def test_factorized_over_a_ragged_part(
    sides: tuple[int, int, int], share: float, seed: int
) -> None:
    """Any tokens of any grid; frames and places may be empty."""
    grid = Grid(*sides)
    count = max(1, round(share * grid.tokens))
    check(make("factorized", 1, 1), ragged(grid, 2, count, seed), batch=2)


def test_a_ragged_layout_that_is_regular_gives_the_same_numbers() -> None:
    """Both routes through the factorized stack meet where both apply."""
    stack, grid = make("factorized"), Grid(4, 2, 3)
    layout = regular(grid, 2, [0, 1, 2], seed=3)
    tokens = tokens_for(layout, 2)
    torch.testing.assert_close(
        stack(tokens, layout)[-1], stack(tokens, TokenLayout(grid, layout.index))[-1]
    )


def test_joint_attends_to_everything() -> None:
    stack = make("joint")
    layout = ragged(Grid(3, 2, 2), 2, 7, seed=0)
    tokens = tokens_for(layout, 2)
    torch.testing.assert_close(stack(tokens, layout)[-1], slow.joint(stack, tokens))


def test_factorized_keeps_space_and_time_apart() -> None:
    """A spatial block carries nothing across time, a temporal one nothing across places."""
    grid = Grid(3, 2, 2)
    layout = TokenLayout.full(grid)
    tokens = tokens_for(layout, 1)
    nudged = tokens.clone()
    nudged[0, 5] += 1.0  # time 1, place 1
    at = torch.arange(grid.tokens)
    for layers, reach in (((2, 0), at // grid.places == 1), ((0, 2), at % grid.places == 1)):
        stack = make("factorized", *layers)
        moved = (stack(tokens, layout)[-1] != stack(nudged, layout)[-1]).any(dim=-1)[0]
        assert torch.equal(moved, reach)


def begun(stack: JointStack | FactorizedStack, depth: int) -> JointStack | FactorizedStack:
    """The first blocks of a stack, as a stack of their own."""
    if isinstance(stack, JointStack):
        return JointStack(list(stack.blocks)[:depth])
    spatial, temporal = list(stack.spatial), list(stack.temporal)
    return FactorizedStack(spatial[:depth], temporal[: max(0, depth - len(spatial))])


TAPS = [(-1,), (0,), (3,), (0, 1, 2, 3), (1, 2), (0, 3), (2, -1), (-4, -2)]


@pytest.mark.parametrize("kind", ["joint", "factorized"])
@pytest.mark.parametrize("shape", ["full", "regular", "ragged"])
@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_tapped_blocks_hand_out_what_a_shorter_stack_ends_with(
    kind: str, shape: str, taps: tuple[int, ...], checkpointing: bool
) -> None:
    grid = Grid(3, 2, 2)
    layout = {
        "full": TokenLayout.full(grid),
        "regular": regular(grid, 2, [0, 1], seed=0),
        "ragged": ragged(grid, 2, 7, seed=0),
    }[shape]
    stack, tokens = make(kind), tokens_for(layout, 2)
    stack.checkpointing = checkpointing
    outputs = stack(tokens, layout, taps=taps)
    assert len(outputs) == len(taps)
    for tap, output in zip(taps, outputs, strict=True):
        shorter = begun(stack, tap % 4 + 1)
        torch.testing.assert_close(output, shorter(tokens, layout)[-1])


@pytest.mark.parametrize("shape", ["full", "ragged"])
@pytest.mark.parametrize("layers", [(2, 2), (0, 2), (2, 0)])
def test_taps_of_a_factorized_stack_are_the_formula(shape: str, layers: tuple[int, int]) -> None:
    grid = Grid(3, 2, 2)
    layout = TokenLayout.full(grid) if shape == "full" else ragged(grid, 2, 7, seed=0)
    stack, tokens = make("factorized", *layers), tokens_for(layout, 2)
    taps = range(sum(layers))
    for tap, output in zip(taps, stack(tokens, layout, taps=taps), strict=True):
        expected = slow.factorized(begun(stack, tap + 1), tokens, layout)
        torch.testing.assert_close(output, expected)


def test_blocks_after_the_last_tap_are_not_run() -> None:
    stack, layout = make("joint"), TokenLayout.full(Grid(3, 2, 2))
    ran: list[int] = []
    for number, block in enumerate(stack.blocks):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    stack(tokens_for(layout, 2), layout, taps=(0, 2))
    assert ran == [0, 1, 2]


@pytest.mark.parametrize("kind", ["joint", "factorized"])
@pytest.mark.parametrize("shape", ["full", "regular", "ragged"])
def test_checkpointing_changes_no_gradient(kind: str, shape: str) -> None:
    grid = Grid(3, 2, 2)
    layout = {
        "full": TokenLayout.full(grid),
        "regular": regular(grid, 2, [0, 1], seed=0),
        "ragged": ragged(grid, 2, 7, seed=0),
    }[shape]
    stack = make(kind)
    gradients = []
    for checkpointing in (False, True):
        stack.checkpointing = checkpointing
        tokens = tokens_for(layout, 2).requires_grad_()
        stack.zero_grad()
        stack(tokens, layout)[-1].square().sum().backward()
        gradients.append([tokens.grad, *(p.grad.clone() for p in stack.parameters())])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def test_checkpointing_repeats_the_same_dropped_branches() -> None:
    torch.manual_seed(0)
    stack = JointStack(blocks(3, drop_path=0.5))
    layout = TokenLayout.full(Grid(2, 2, 2))
    tokens = torch.randn(6, 8, DIM)
    gradients = []
    for checkpointing in (False, True):
        stack.checkpointing = checkpointing
        stack.zero_grad()
        torch.manual_seed(5)
        stack(tokens, layout)[-1].square().sum().backward()
        gradients.append([p.grad.clone() for p in stack.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def test_checkpointing_keeps_fewer_activations() -> None:
    stack, layout = make("joint"), TokenLayout.full(Grid(3, 2, 2))
    kept = []
    for checkpointing in (False, True):
        stack.checkpointing = checkpointing
        sizes: list[int] = []

        def pack(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            stack(tokens_for(layout, 2).requires_grad_(), layout)
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 3
