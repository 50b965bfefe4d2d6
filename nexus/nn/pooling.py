"""Attentive pooling: learned queries gather what a task needs from a bag of tokens."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nexus.nn.attention import CrossAttention
from nexus.nn.blocks import LAYER_NORM_EPS, Block, Mlp, init_weights, scale_residual_branches

QUERY_STD = 0.02


class AttentivePooler(nn.Module):
    """Self-attention blocks over the tokens, then learned queries that attend to them.

        tokens (B, N, D) -> [Block] * (depth - 1) -> norm -> key, value
                                                                |
        queries (1, Q, D) --------------------- cross-attention-+-> + -> MLP -> (B, Q, D)

    As published (arXiv 2404.08471, appendix; arXiv 2506.09985 uses depth 4 and one query): the
    queries are not normed and the cross-attention has no output projection. The result does not
    depend on the order of the tokens.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_queries: int = 1,
        depth: int = 1,
        mlp_ratio: float = 4.0,
        eps: float = LAYER_NORM_EPS,
    ) -> None:
        """Build a pooler; `depth` counts the cross-attention block, so 1 has no self-attention.

        Raises:
            ValueError: fewer than one query or block, or heads that do not divide the width.
        """
        super().__init__()
        if num_queries < 1 or depth < 1:
            raise ValueError(
                f"an attentive pooler needs at least one query and one block, "
                f"got num_queries={num_queries}, depth={depth}"
            )
        self.queries = nn.Parameter(torch.empty(1, num_queries, dim))
        blocks = [Block(dim, num_heads, mlp_ratio, eps=eps) for _ in range(depth - 1)]
        self.blocks = nn.ModuleList(blocks)
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.cross = CrossAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Draw fresh weights (from torch's own generator) as the published code does."""
        self.apply(init_weights)
        nn.init.trunc_normal_(self.queries, std=QUERY_STD)
        scale_residual_branches(list(self.blocks))  # pyright: ignore[reportArgumentType]
        self.mlp.fc2.weight.div_(math.sqrt(2.0 * max(1, len(self.blocks))))

    def forward(
        self, tokens: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch queries dim"]:
        """Pool the tokens of each sample into one vector a query."""
        for block in self.blocks:
            tokens = block(tokens)
        pooled = self.queries.expand(tokens.shape[0], -1, -1)
        pooled = pooled + self.cross(pooled, self.norm1(tokens))
        return pooled + self.mlp(self.norm2(pooled))
