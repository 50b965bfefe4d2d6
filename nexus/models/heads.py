"""Classification heads that stand on an encoder's tokens."""

from jaxtyping import Float
from torch import Tensor, nn

from nexus.nn.blocks import LAYER_NORM_EPS, init_weights
from nexus.nn.pooling import AttentivePooler


class LinearHead(nn.Module):
    """Mean over the tokens, layer norm, one linear layer."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.linear = nn.Linear(dim, num_classes)
        init_weights(self.linear)

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch classes"]:
        """Class scores (logits)."""
        return self.linear(self.norm(tokens.mean(dim=1)))


class AttentiveHead(nn.Module):
    """Attentive pooling with a single query, then one linear layer (arXiv 2404.08471)."""

    def __init__(
        self, dim: int, num_classes: int, num_heads: int, depth: int = 1, mlp_ratio: float = 4.0
    ) -> None:
        super().__init__()
        self.pooler = AttentivePooler(dim, num_heads, depth=depth, mlp_ratio=mlp_ratio)
        self.linear = nn.Linear(dim, num_classes)
        init_weights(self.linear)

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch classes"]:
        """Class scores (logits)."""
        return self.linear(self.pooler(tokens).squeeze(1))
