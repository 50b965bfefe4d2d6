"""Classification heads that stand on an encoder's tokens."""

from typing import Self

import pydantic
from jaxtyping import Float
from torch import Tensor, nn

from nexus.config import Config
from nexus.nn.blocks import init_weights
from nexus.nn.pooling import AttentivePooler

Positive = pydantic.PositiveInt
META_EPS, HUGGINGFACE_EPS = 1e-5, 1e-6
"""Epsilon of the layer norms in the published probes, by who publishes them."""


class AttentiveHeadConfig(Config):
    """What an `AttentiveHead` is made of; the defaults are those of V-JEPA 2's own probes."""

    dim: Positive
    num_classes: Positive
    num_heads: Positive = 16
    depth: Positive = 4
    """Attention blocks, the cross-attention included."""
    mlp_ratio: pydantic.PositiveFloat = 4.0
    eps: pydantic.PositiveFloat = META_EPS
    """Of the layer norms: 1e-5 in Meta's probes, 1e-6 in those of Hugging Face."""

    @pydantic.model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.dim % self.num_heads:
            raise ValueError(f"dim {self.dim} does not divide into num_heads {self.num_heads}")
        return self


class AttentiveHead(nn.Module):
    """Attentive pooling with a single query, then one linear layer (arXiv 2404.08471)."""

    def __init__(self, config: AttentiveHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.pooler = AttentivePooler(
            config.dim,
            config.num_heads,
            depth=config.depth,
            mlp_ratio=config.mlp_ratio,
            eps=config.eps,
        )
        self.linear = nn.Linear(config.dim, config.num_classes)
        init_weights(self.linear)

    def pooled(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch dim"]:
        """The pooled vector that the classes are read from."""
        return self.pooler(tokens).squeeze(1)

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch classes"]:
        """Class scores (logits)."""
        return self.linear(self.pooled(tokens))
