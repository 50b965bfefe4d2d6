"""Blocks, stochastic depth and initialisation."""

import math

import pytest
import torch
from oracles.attention import transform
from oracles.rope import turned
from oracles.tiny import stir
from torch import nn

from nexus.nn.blocks import (
    Block,
    DropPath,
    MlpKind,
    SwiGlu,
    init_weights,
    scale_residual_branches,
)
from nexus.nn.rotary import RotaryKind, turns


@pytest.mark.parametrize("mlp", ["gelu", "swiglu"])
def test_a_block_is_the_formula(mlp: MlpKind) -> None:
    torch.manual_seed(0)
    block = Block(8, 2, mlp_ratio=1.5, mlp=mlp).double()
    stir(block)
    assert block.mlp.fc1.out_features == (12 if mlp == "gelu" else 8)
    tokens = torch.randn(2, 5, 8, dtype=torch.float64)
    expected = torch.stack([transform(block, clip) for clip in tokens])
    torch.testing.assert_close(block(tokens), expected)


@pytest.mark.parametrize("kind", ["tiled", "interleaved"])
@pytest.mark.parametrize("masked", [False, True])
def test_a_block_with_rotary_positions_is_the_formula(kind: RotaryKind, masked: bool) -> None:
    """Queries and keys of every head are turned, values are not; a mask works beside it."""
    torch.manual_seed(0)
    block = Block(42, 3, mlp_ratio=1.0).double()
    stir(block, scale=0.1)
    tokens = torch.randn(2, 4, 42, dtype=torch.float64)
    at = [3 * torch.rand(2, 4, dtype=torch.float64) for _ in range(3)]
    allowed = torch.rand(2, 1, 4, 4) < 0.6
    allowed |= torch.eye(4, dtype=torch.bool)
    got = block(tokens, allowed if masked else None, turns((at[0], at[1], at[2]), 14, kind))
    for clip in range(2):
        places = torch.stack([line[clip] for line in at], dim=-1).tolist()
        expected = transform(
            block,
            tokens[clip],
            lambda row, vector, places=places: turned(vector, places[row], kind),
            lambda i, j, clip=clip: not masked or bool(allowed[clip, 0, i, j]),
        )
        torch.testing.assert_close(got[clip], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("hidden", "inner"), [(12, 8), (13, 8), (24, 16), (25, 16), (4096, 2736)])
def test_the_gated_mlp_is_two_thirds_as_wide_in_eights(hidden: int, inner: int) -> None:
    with torch.device("meta"):
        gated = SwiGlu(8, hidden)
    assert gated.fc1.weight.shape == gated.fc2.weight.shape == (inner, 8)
    assert gated.fc3.weight.shape == (8, inner)


def test_drop_path_keeps_the_mean_and_drops_whole_samples() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25)
    branch = torch.ones(4000, 3, 2)
    out = drop(branch)
    per_sample = out.flatten(1)
    assert (per_sample == per_sample[:, :1]).all()
    kept = per_sample[:, 0] > 0
    torch.testing.assert_close(per_sample[kept], torch.full((int(kept.sum()), 6), 1 / 0.75))
    assert abs(kept.float().mean() - 0.75) < 0.03


def test_drop_path_is_silent_in_evaluation_and_at_rate_zero() -> None:
    branch = torch.randn(3, 2)
    assert DropPath(0.9).eval()(branch) is branch
    assert DropPath(0.0)(branch) is branch


def test_drop_path_keeps_the_type() -> None:
    assert DropPath(0.5)(torch.ones(3, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_initial_weights() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(200, 300), nn.LayerNorm(300), nn.Conv3d(3, 64, 4))
    nn.init.constant_(module[1].weight, 7.0)
    module.apply(init_weights)
    for layer in (module[0], module[2]):
        assert abs(layer.weight.std() - 0.02) < 0.001
        assert layer.weight.abs().max() < 2.0
        assert (layer.bias == 0).all()
    assert (module[1].weight == 1).all()
    assert (module[1].bias == 0).all()


def test_residual_branches_shrink_with_depth() -> None:
    torch.manual_seed(0)
    blocks = [Block(8, 2) for _ in range(3)]
    before = [(b.attn.proj.weight.clone(), b.mlp.fc2.weight.clone()) for b in blocks]
    untouched = blocks[2].attn.qkv.weight.clone()
    scale_residual_branches(blocks)
    for number, (block, (proj, fc2)) in enumerate(zip(blocks, before, strict=True), start=1):
        torch.testing.assert_close(block.attn.proj.weight, proj / math.sqrt(2 * number))
        torch.testing.assert_close(block.mlp.fc2.weight, fc2 / math.sqrt(2 * number))
    assert torch.equal(blocks[2].attn.qkv.weight, untouched)


def test_of_a_gated_mlp_the_last_layer_shrinks() -> None:
    torch.manual_seed(0)
    blocks = [Block(8, 2, mlp="swiglu") for _ in range(2)]
    before = [[layer.weight.clone() for layer in block.mlp.children()] for block in blocks]
    scale_residual_branches(blocks)
    for number, (block, (fc1, fc2, fc3)) in enumerate(zip(blocks, before, strict=True), start=1):
        assert torch.equal(block.mlp.fc1.weight, fc1)
        assert torch.equal(block.mlp.fc2.weight, fc2)
        torch.testing.assert_close(block.mlp.fc3.weight, fc3 / math.sqrt(2 * number))
