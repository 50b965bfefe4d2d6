"""Transformer blocks and stacks as loops: one head, one query, one frame, one place at a time."""

import math

import torch
from torch import Tensor, nn

from nexus.nn.blocks import Block
from nexus.nn.grid import TokenLayout
from nexus.nn.stacks import FactorizedStack, JointStack


def softmax_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k / sqrt(d)) v for one head: `(n, d)`, `(m, d)`, `(m, d)` to `(n, d)`."""
    rows = []
    for one in query:
        weights = torch.stack([torch.exp(one @ other / math.sqrt(len(one))) for other in key])
        weights = weights / weights.sum()
        rows.append(sum(weight * row for weight, row in zip(weights, value, strict=True)))
    return torch.stack(rows)


def layer_norm(norm: nn.LayerNorm, tokens: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + eps), scaled and shifted, one token at a time."""
    rows = []
    for token in tokens:
        centred = token - token.sum() / len(token)
        variance = (centred * centred).sum() / len(token)
        rows.append(centred / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias)
    return torch.stack(rows)


def gelu(x: Tensor) -> Tensor:
    """x times the standard normal's distribution function."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def affine(layer: nn.Linear, tokens: Tensor) -> Tensor:
    return tokens @ layer.weight.T + layer.bias


def self_attention(block: Block, tokens: Tensor) -> Tensor:
    """Multi-head self-attention of one sequence `(n, dim)`."""
    dim, heads = tokens.shape[1], block.attn.num_heads
    size = dim // heads
    qkv = affine(block.attn.qkv, tokens)
    mixed = []
    for head in range(heads):
        query, key, value = (
            qkv[:, part * dim + head * size : part * dim + (head + 1) * size] for part in range(3)
        )
        mixed.append(softmax_attention(query, key, value))
    return affine(block.attn.proj, torch.cat(mixed, dim=1))


def transform(block: Block, tokens: Tensor) -> Tensor:
    """A pre-norm block over one sequence `(n, dim)`, without dropping anything."""
    tokens = tokens + self_attention(block, layer_norm(block.norm1, tokens))
    hidden = gelu(affine(block.mlp.fc1, layer_norm(block.norm2, tokens)))
    return tokens + affine(block.mlp.fc2, hidden)


def token_numbers(layout: TokenLayout, clip: int) -> list[int]:
    """Which tokens of the grid a clip's sequence holds, in its order."""
    if layout.index is None:
        return list(range(layout.grid.tokens))
    return layout.index[clip].tolist()


def joint(stack: JointStack, tokens: Tensor) -> Tensor:
    """Every block over each clip's whole sequence."""
    clips = []
    for clip in tokens:
        for block in stack.blocks:
            clip = transform(block, clip)
        clips.append(clip)
    return torch.stack(clips)


def factorized(stack: FactorizedStack, tokens: Tensor, layout: TokenLayout) -> Tensor:
    """Each spatial block frame by frame, then each temporal block place by place.

    Only tokens that are there take part; nothing is padded.
    """
    places = layout.grid.places
    clips = []
    for number, clip in enumerate(tokens):
        index = token_numbers(layout, number)
        for blocks, group_of in (
            (stack.spatial, lambda token: token // places),
            (stack.temporal, lambda token: token % places),
        ):
            for block in blocks:
                after = clip.clone()
                for group in sorted({group_of(token) for token in index}):
                    rows = [row for row, token in enumerate(index) if group_of(token) == group]
                    after[rows] = transform(block, clip[rows])
                clip = after
        clips.append(clip)
    return torch.stack(clips)
