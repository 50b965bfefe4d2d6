"""The predictor: a narrow transformer that fills in the features of masked tokens."""

from typing import Self

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nexus.config import Config
from nexus.nn.blocks import LAYER_NORM_EPS, Block, init_weights, scale_residual_branches
from nexus.nn.grid import Grid, TokenLayout
from nexus.nn.positions import LearnedPositions, SinCosPositions
from nexus.nn.stacks import JointStack


class PredictorConfig(Config):
    """What a `MaskedPredictor` is made of; the defaults are the seed's."""

    predictor_dim: pydantic.PositiveInt = 384
    num_predictor_layers: pydantic.PositiveInt = 6
    predictor_heads: pydantic.PositiveInt = 8
    predictor_mlp_ratio: pydantic.PositiveFloat = 4.0

    @pydantic.model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.predictor_dim % self.predictor_heads:
            raise ValueError(
                f"predictor_dim {self.predictor_dim} does not divide into predictor_heads "
                f"{self.predictor_heads}"
            )
        return self


class MaskedPredictor(nn.Module):
    """Predicts the features at target positions from the features at context positions.

    The context is projected to the predictor's width *before* it is joined with the mask tokens,
    and both carry positions: without them every prediction would be the same (the seed's snippet
    leaves out both).
    """

    def __init__(
        self, config: PredictorConfig, *, grid: Grid, in_dim: int, out_dim: int, positions: str
    ) -> None:
        super().__init__()
        dim = config.predictor_dim
        self.embed = nn.Linear(in_dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        make_positions = LearnedPositions if positions == "learned" else SinCosPositions
        self.positions = make_positions(grid, dim)
        blocks = [
            Block(dim, config.predictor_heads, config.predictor_mlp_ratio)
            for _ in range(config.num_predictor_layers)
        ]
        self.stack = JointStack(blocks)
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.proj = nn.Linear(dim, out_dim)
        self.apply(init_weights)
        scale_residual_branches(blocks)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(
        self,
        context: Float[Tensor, "batch context in_dim"],
        context_layout: TokenLayout,
        target_layout: TokenLayout,
    ) -> Float[Tensor, "batch target out_dim"]:
        """Predictions for the target layout's tokens, in its order."""
        seen = self.embed(context)
        seen = seen + self.positions(context_layout).to(seen.dtype)
        asked = self.mask_token + self.positions(target_layout)
        asked = asked.to(seen.dtype).expand(seen.shape[0], -1, -1)
        tokens = torch.cat([seen, asked], dim=1)
        tokens = self.stack(tokens, TokenLayout.full(context_layout.grid))
        return self.proj(self.norm(tokens[:, seen.shape[1] :]))
