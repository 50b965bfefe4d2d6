"""The attentive pooler against a slow loop written from the formula."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from nexus.nn.pooling import AttentivePooler


def attend_slowly(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """softmax(q k / sqrt(d)) v, one head, one query at a time."""
    size = queries.shape[-1] // heads
    out = torch.zeros_like(queries)
    for b in range(queries.shape[0]):
        for i in range(queries.shape[1]):
            for h in range(heads):
                part = slice(h * size, (h + 1) * size)
                scores = torch.stack(
                    [queries[b, i, part] @ key[part] / math.sqrt(size) for key in keys[b]]
                )
                weights = scores.exp() / scores.exp().sum()
                out[b, i, part] = sum(
                    w * value[part] for w, value in zip(weights, values[b], strict=True)
                )
    return out


def norm_slowly(tokens: Tensor, norm: nn.LayerNorm) -> Tensor:
    centred = tokens - tokens.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return centred / (variance + norm.eps).sqrt() * norm.weight + norm.bias


def pool_slowly(pooler: AttentivePooler, tokens: Tensor, heads: int) -> Tensor:
    dim = tokens.shape[-1]
    for block in pooler.blocks:
        q, k, v = block.attn.qkv(norm_slowly(tokens, block.norm1)).split(dim, dim=-1)
        tokens = tokens + block.attn.proj(attend_slowly(q, k, v, heads))
        tokens = tokens + block.mlp(norm_slowly(tokens, block.norm2))
    queries = pooler.queries.expand(tokens.shape[0], -1, -1)
    k, v = pooler.cross.kv(norm_slowly(tokens, pooler.norm1)).split(dim, dim=-1)
    pooled = queries + attend_slowly(pooler.cross.q(queries), k, v, heads)
    hidden = F.gelu(pooler.mlp.fc1(norm_slowly(pooled, pooler.norm2)))
    return pooled + pooler.mlp.fc2(hidden)


def lively(pooler: AttentivePooler, seed: int = 0) -> AttentivePooler:
    """Parameters that are all far from their neutral values, so that none can be forgotten."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in pooler.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).double() * 0.4
    return pooler


@settings(max_examples=12, deadline=None)
@given(
    eps=st.sampled_from([1e-6, 1e-2]),
    heads=st.sampled_from([1, 2, 4]),
    queries=st.integers(1, 3),
    depth=st.integers(1, 3),
    tokens=st.integers(1, 6),
)
def test_equals_the_slow_loop(
    eps: float, heads: int, queries: int, depth: int, tokens: int
) -> None:
    pooler = lively(AttentivePooler(8, heads, queries, depth, eps=eps))
    norms = [module for module in pooler.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 2 * depth and all(norm.eps == eps for norm in norms)
    bag = torch.randn(2, tokens, 8, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(pooler(bag), pool_slowly(pooler, bag, heads))


def test_the_order_of_the_tokens_does_not_matter() -> None:
    pooler = lively(AttentivePooler(8, 2, depth=2))
    bag = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(pooler(bag), pooler(bag[:, [3, 1, 4, 0, 2]]))


def test_every_parameter_gets_a_gradient() -> None:
    pooler = lively(AttentivePooler(8, 2, num_queries=2, depth=2))
    weights = torch.randn(2, 2, 8, generator=torch.Generator().manual_seed(2)).double()
    tokens = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1)).double()
    (pooler(tokens) * weights).sum().backward()
    for name, parameter in pooler.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("depth", [1, 4])
def test_fresh_weights_have_the_published_spread(depth: int) -> None:
    """0.02, less in what is added to the residual stream: the later the block, the less."""
    torch.manual_seed(0)
    pooler = AttentivePooler(192, 4, depth=depth)
    scaled = {"mlp.fc2": max(1, depth - 1)}
    for number in range(1, depth):
        for layer in ("attn.proj", "mlp.fc2"):
            scaled[f"blocks.{number - 1}.{layer}"] = number
    for name, layer in pooler.named_modules():
        if isinstance(layer, nn.Linear):
            share = math.sqrt(2 * scaled[name]) if name in scaled else 1.0
            # A normal of 0.02 cut off at 2 is a normal of 0.02.
            assert layer.weight.std().item() == pytest.approx(0.02 / share, rel=0.03), name
            assert not layer.bias.any()
    assert pooler.queries.std().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("wrong", [{"num_queries": 0}, {"depth": 0}, {"num_heads": 3}])
def test_impossible_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"got|does not divide"):
        AttentivePooler(**{"dim": 8, "num_heads": 2, **wrong})
