"""Classification heads that stand on an encoder's tokens."""

from typing import Annotated, Any, Literal, Self

import pydantic
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nexus.config import Config
from nexus.nn.blocks import init_weights
from nexus.nn.pooling import AttentivePooler

Positive = pydantic.PositiveInt
META_EPS, HUGGINGFACE_EPS = 1e-5, 1e-6
"""Epsilon of the layer norms in the published probes, by who publishes them."""


class AttentiveHeadConfig(Config):
    """What an `AttentiveHead` is made of; the defaults are those of V-JEPA 2's own probes."""

    kind: Literal["attentive"] = "attentive"
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

    def build(self) -> "AttentiveHead":
        """A head of this make, its weights drawn at random."""
        return AttentiveHead(self)


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


class PooledHeadConfig(Config):
    """What heads have in common that read the mean over a clip's tokens."""

    dim: Positive
    """Width of a token."""
    num_classes: Positive
    pooling: Literal["mean"] = "mean"
    """Over all tokens, as features of `mean` pooling; those of several layers side by side."""
    num_layers: Positive = 1

    @property
    def width(self) -> int:
        """Numbers that a clip is pooled to."""
        return self.dim * self.num_layers


def mean_of_layers(
    tokens: Float[Tensor, "batch tokens dim"], num_layers: int
) -> Float[Tensor, "batch width"]:
    """The mean of each layer's tokens side by side; layers come one after the other."""
    return tokens.unflatten(1, (num_layers, -1)).mean(dim=2).flatten(1)


class LinearHeadConfig(PooledHeadConfig):
    """What a `LinearHead` is made of."""

    kind: Literal["linear"] = "linear"

    def build(self) -> "LinearHead":
        """A head of this make, all zeros."""
        return LinearHead(self)


class LinearHead(nn.Module):
    """One linear layer on standardised means: `((x - mean) * scale) @ weight.T + bias`."""

    mean: Float[Tensor, " width"]
    scale: Float[Tensor, " width"]
    weight: Float[Tensor, "classes width"]
    bias: Float[Tensor, " classes"]

    def __init__(self, config: LinearHeadConfig) -> None:
        super().__init__()
        self.config = config
        for name in ("mean", "scale"):
            self.register_buffer(name, torch.zeros(config.width))
        self.register_buffer("weight", torch.zeros(config.num_classes, config.width))
        self.register_buffer("bias", torch.zeros(config.num_classes))

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch classes"]:
        """Class scores (logits)."""
        means = mean_of_layers(tokens, self.config.num_layers)
        return F.linear((means - self.mean) * self.scale, self.weight, self.bias)


class NeighbourHeadConfig(PooledHeadConfig):
    """What a `NeighbourHead` is made of."""

    kind: Literal["knn"] = "knn"
    num_clips: Positive
    """Clips of training that it compares with."""
    neighbours: Positive
    """How many of them vote."""
    temperature: pydantic.PositiveFloat

    @pydantic.model_validator(mode="after")
    def _enough_clips(self) -> Self:
        if self.neighbours > self.num_clips:
            raise ValueError(f"{self.neighbours} neighbours are asked of {self.num_clips} clips")
        return self

    def build(self) -> "NeighbourHead":
        """A head of this make that knows no clip yet."""
        return NeighbourHead(self)


class NeighbourHead(nn.Module):
    """The nearest clips of training vote, with weight exp(cosine / temperature).

    `clips` are theirs, centred by `mean` and of length 1; `labels` their classes' numbers.
    """

    mean: Float[Tensor, " width"]
    clips: Float[Tensor, "clips width"]
    labels: Int[Tensor, " clips"]

    def __init__(self, config: NeighbourHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.width))
        self.register_buffer("clips", torch.zeros(config.num_clips, config.width))
        self.register_buffer("labels", torch.zeros(config.num_clips, dtype=torch.int64))

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch classes"]:
        """The logarithm of each class's share of the votes; -inf where it has none."""
        means = mean_of_layers(tokens, self.config.num_layers)
        cosines = F.normalize(means - self.mean, dim=-1) @ self.clips.T
        nearest, rows = cosines.topk(self.config.neighbours)
        weights = (nearest / self.config.temperature).softmax(dim=-1)
        votes = weights.new_zeros(len(means), self.config.num_classes)
        return votes.scatter_add(1, self.labels[rows], weights).log()


Head = AttentiveHead | LinearHead | NeighbourHead
PooledHead = LinearHead | NeighbourHead


def _kind_of(config: Any) -> str:
    """Files of earlier versions hold attentive heads and do not say so."""
    return config.get("kind", "attentive") if isinstance(config, dict) else config.kind


HeadConfig = Annotated[
    Annotated[AttentiveHeadConfig, pydantic.Tag("attentive")]
    | Annotated[LinearHeadConfig, pydantic.Tag("linear")]
    | Annotated[NeighbourHeadConfig, pydantic.Tag("knn")],
    pydantic.Discriminator(_kind_of),
]
"""What a head is made of; `kind` says which one it is, and `build` makes it."""
