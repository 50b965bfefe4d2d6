"""Attention against a loop over heads and queries."""

import pytest
import torch
from oracles.attention import affine, self_attention, softmax_attention

from nexus.nn.attention import CrossAttention, SelfAttention
from nexus.nn.blocks import Block


@pytest.mark.parametrize(("dim", "heads"), [(8, 1), (12, 3), (6, 6)])
def test_self_attention_is_the_formula(dim: int, heads: int) -> None:
    torch.manual_seed(0)
    block = Block(dim, heads).double()
    tokens = torch.randn(2, 5, dim, dtype=torch.float64)
    expected = torch.stack([self_attention(block, clip) for clip in tokens])
    torch.testing.assert_close(block.attn(tokens), expected)


def test_a_mask_leaves_out_what_it_forbids() -> None:
    """Attending under a mask is attending to a shorter sequence."""
    torch.manual_seed(0)
    attention = SelfAttention(8, 2).double()
    tokens = torch.randn(1, 6, 8, dtype=torch.float64)
    groups = torch.tensor([0, 1, 0, 0, 1, 1])
    allowed = (groups.unsqueeze(1) == groups.unsqueeze(0)).view(1, 1, 6, 6)
    masked = attention(tokens, allowed)
    for group in (0, 1):
        rows = (groups == group).nonzero().flatten()
        torch.testing.assert_close(masked[:, rows], attention(tokens[:, rows]))


def test_cross_attention_is_the_formula() -> None:
    torch.manual_seed(0)
    dim, heads = 12, 3
    attention = CrossAttention(dim, heads).double()
    queries = torch.randn(2, 3, dim, dtype=torch.float64)
    tokens = torch.randn(2, 7, dim, dtype=torch.float64)
    got = attention(queries, tokens)
    for clip in range(2):
        query, kv = affine(attention.q, queries[clip]), affine(attention.kv, tokens[clip])
        mixed = []
        for head in range(heads):
            part = slice(head * dim // heads, (head + 1) * dim // heads)
            key, value = kv[:, :dim][:, part], kv[:, dim:][:, part]
            mixed.append(softmax_attention(query[:, part], key, value))
        torch.testing.assert_close(got[clip], torch.cat(mixed, dim=1))


@pytest.mark.parametrize("make", [SelfAttention, CrossAttention])
@pytest.mark.parametrize("heads", [0, 5, -1])
def test_heads_that_do_not_divide_the_width_are_refused(make, heads: int) -> None:
    with pytest.raises(ValueError, match=f"width 12 does not divide into {heads}"):
        make(12, heads)
