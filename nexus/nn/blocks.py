"""The pre-norm transformer block and its parts."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nexus.nn.attention import SelfAttention
from nexus.nn.rotary import Rotation

LAYER_NORM_EPS = 1e-6
MlpKind = Literal["gelu", "swiglu"]


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them (the tanh form is slower on CPUs)."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, tokens: Float[Tensor, "*rest dim"]) -> Float[Tensor, "*rest dim"]:
        """Apply to each token on its own."""
        return self.fc2(self.act(self.fc1(tokens)))


class SwiGlu(nn.Module):
    """A gated MLP, `fc3(silu(fc1(x)) * fc2(x))`, of about the size of the plain one.

    The inner width is two thirds of the plain one's, rounded up to a multiple of 8 (arXiv
    2002.05202; V-JEPA 2's "wide" option).
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        inner = -(-(2 * hidden_dim // 3) // 8) * 8
        self.fc1 = nn.Linear(dim, inner)
        self.fc2 = nn.Linear(dim, inner)
        self.fc3 = nn.Linear(inner, dim)

    def forward(self, tokens: Float[Tensor, "*rest dim"]) -> Float[Tensor, "*rest dim"]:
        """Apply to each token on its own."""
        return self.fc3(F.silu(self.fc1(tokens)) * self.fc2(tokens))


class DropPath(nn.Module):
    """Stochastic depth: drop a whole residual branch for a sample (arXiv 1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Float[Tensor, "batch *rest"]) -> Float[Tensor, "batch *rest"]:
        """In training, zero each sample's branch with probability `rate` and rescale the others."""
        if not self.training or self.rate == 0.0:
            return branch
        keep = 1.0 - self.rate
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        return branch * branch.new_empty(shape).bernoulli_(keep).div_(keep)


class Block(nn.Module):
    """Pre-norm residual block: attention, then MLP."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        *,
        mlp: MlpKind = "gelu",
        eps: float = LAYER_NORM_EPS,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = SelfAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = (Mlp if mlp == "gelu" else SwiGlu)(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        allowed: Bool[Tensor, "#batch 1 tokens tokens"] | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Transform the tokens; `allowed` and `rotation` as in `SelfAttention`."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens), allowed, rotation))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


def init_weights(module: nn.Module) -> None:
    """Truncated normal (0.02) weights and zero biases, for `module.apply` (published recipe)."""
    if isinstance(module, nn.Linear | nn.Conv3d):
        # A Conv3d whose stride is its kernel is a linear layer over flattened tubelets.
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm) and module.elementwise_affine:
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


@torch.no_grad()
def scale_residual_branches(blocks: Sequence[Block]) -> None:
    """Divide the output layers of block `i` (from 1) by sqrt(2 i), as the published code does."""
    for number, block in enumerate(blocks, start=1):
        block.attn.proj.weight.div_(math.sqrt(2.0 * number))
        last = block.mlp.fc3 if isinstance(block.mlp, SwiGlu) else block.mlp.fc2
        last.weight.div_(math.sqrt(2.0 * number))
