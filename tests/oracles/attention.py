"""Transformer blocks and stacks as loops: one head, one query, one frame, one place at a time."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nexus.nn.blocks import Block, Mlp, SwiGlu
from nexus.nn.grid import TokenLayout
from nexus.nn.stacks import FactorizedStack, JointStack

Turn = Callable[[int, Tensor], Tensor]
"""Row of a sequence and a query or key of it: the same, turned by its position."""
Allowed = Callable[[int, int], bool]
"""Whether a row of a sequence may look at another."""


def softmax_attention(
    query: Tensor, key: Tensor, value: Tensor, allowed: Allowed | None = None
) -> Tensor:
    """softmax(q k / sqrt(d)) v for one head: `(n, d)`, `(m, d)`, `(m, d)` to `(n, d)`."""
    rows = []
    for i, one in enumerate(query):
        seen = [j for j in range(len(key)) if allowed is None or allowed(i, j)]
        weights = torch.stack([torch.exp(one @ key[j] / math.sqrt(len(one))) for j in seen])
        weights = weights / weights.sum()
        rows.append(sum(weight * value[j] for weight, j in zip(weights, seen, strict=True)))
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


def self_attention(
    block: Block, tokens: Tensor, turn: Turn | None = None, allowed: Allowed | None = None
) -> Tensor:
    """Multi-head self-attention of one sequence `(n, dim)`."""
    dim, heads = tokens.shape[1], block.attn.num_heads
    size = dim // heads
    qkv = affine(block.attn.qkv, tokens)
    mixed = []
    for head in range(heads):
        query, key, value = (
            qkv[:, part * dim + head * size : part * dim + (head + 1) * size] for part in range(3)
        )
        if turn is not None:
            query, key = (
                torch.stack([turn(row, vector) for row, vector in enumerate(part)])
                for part in (query, key)
            )
        mixed.append(softmax_attention(query, key, value, allowed))
    return affine(block.attn.proj, torch.cat(mixed, dim=1))


def feed_forward(mlp: Mlp | SwiGlu, tokens: Tensor) -> Tensor:
    """The plain MLP, or the gated one: `fc3(silu(fc1(x)) * fc2(x))`."""
    inner = affine(mlp.fc1, tokens)
    if isinstance(mlp, Mlp):
        return affine(mlp.fc2, gelu(inner))
    return affine(mlp.fc3, inner / (1 + torch.exp(-inner)) * affine(mlp.fc2, tokens))


def transform(
    block: Block, tokens: Tensor, turn: Turn | None = None, allowed: Allowed | None = None
) -> Tensor:
    """A pre-norm block over one sequence `(n, dim)`, without dropping anything."""
    tokens = tokens + self_attention(block, layer_norm(block.norm1, tokens), turn, allowed)
    return tokens + feed_forward(block.mlp, layer_norm(block.norm2, tokens))


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
