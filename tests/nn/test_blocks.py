"""Blocks, stochastic depth and initialisation."""

import math

import torch
from oracles.attention import transform
from oracles.tiny import stir
from torch import nn

from nexus.nn.blocks import Block, DropPath, init_weights, scale_residual_branches


def test_a_block_is_the_formula() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, mlp_ratio=1.5).double()
    stir(block)
    assert block.mlp.fc1.out_features == 12
    tokens = torch.randn(2, 5, 8, dtype=torch.float64)
    expected = torch.stack([transform(block, clip) for clip in tokens])
    torch.testing.assert_close(block(tokens), expected)


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
