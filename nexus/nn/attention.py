"""Multi-head attention on PyTorch's fused `scaled_dot_product_attention`."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nexus.nn.rotary import Rotation

PLAIN_SCORES = 600 * 600
"""Scores of a head up to which two plain products are the faster way in bf16 on a CPU."""


def attend(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads tokens head_dim"],
    value: Float[Tensor, "batch heads tokens head_dim"],
    allowed: Bool[Tensor, "#batch 1 queries tokens"] | None = None,
    *,
    plain_scores: int = PLAIN_SCORES,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Each query's mixture of the values, weighted by the softmax of scaled scores.

    In bf16 on a CPU, two plain products are two to three times as fast as the fused kernel (which
    does not use the CPU's bf16 units) as long as the scores are few, `plain_scores` at the most;
    they cost memory that the fused kernel does not need, and the scores are rounded to bf16.
    """
    few = query.shape[-2] * key.shape[-2] <= plain_scores
    on_cpu = query.device.type == "cpu" and not torch.compiler.is_compiling()
    if not (few and on_cpu and query.dtype == torch.bfloat16):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    return scores.softmax(dim=-1).to(value.dtype) @ value


class SelfAttention(nn.Module):
    """Self-attention with one fused query-key-value projection."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        allowed: Bool[Tensor, "#batch 1 tokens tokens"] | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Attend among the tokens.

        Args:
            allowed: `allowed[b, 0, i, j]`: whether token i may look at token j.
            rotation: turns queries and keys by their tokens' positions.
        """
        batch, length, dim = tokens.shape
        qkv = self.qkv(tokens).view(batch, length, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.unbind(2)
        if rotation is not None:
            query, key = rotation(qkv[:, :, :2]).unbind(2)
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        mixed = attend(query, key, value, allowed)
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, dim))


class CrossAttention(nn.Module):
    """Queries attend to another sequence; no projection after the heads (V-JEPA's poolers)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)

    def forward(
        self, queries: Float[Tensor, "batch queries dim"], tokens: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch queries dim"]:
        """Each query's attention-weighted mixture of the tokens."""
        batch, count, dim = queries.shape
        head_dim = dim // self.num_heads
        query = self.q(queries).view(batch, count, self.num_heads, head_dim).transpose(1, 2)
        kv = self.kv(tokens).view(batch, tokens.shape[1], 2, self.num_heads, head_dim)
        key, value = kv.permute(2, 0, 3, 1, 4).unbind(0)
        return attend(query, key, value).transpose(1, 2).reshape(batch, count, dim)


def check_heads(dim: int, num_heads: int) -> None:
    """Raise ValueError unless the width divides into the heads."""
    if num_heads < 1 or dim % num_heads:
        raise ValueError(f"width {dim} does not divide into {num_heads} attention heads")
