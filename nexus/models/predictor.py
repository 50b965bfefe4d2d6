"""The predictor: a narrow transformer that fills in the features of masked tokens."""

from typing import Self

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nexus.config import Config
from nexus.models.encoder import MODALITY_STD, EncoderConfig, added_positions, rotation_for
from nexus.models.stacked import StackedModule
from nexus.nn.blocks import LAYER_NORM_EPS, Block, init_weights, scale_residual_branches
from nexus.nn.grid import TokenLayout
from nexus.nn.stacks import JointStack


class PredictorConfig(Config):
    """What a `MaskedPredictor` is made of; the defaults are the seed's."""

    predictor_dim: pydantic.PositiveInt = 384
    num_predictor_layers: pydantic.PositiveInt = 6
    predictor_heads: pydantic.PositiveInt = 8
    predictor_mlp_ratio: pydantic.PositiveFloat = 4.0
    num_mask_tokens: pydantic.PositiveInt = 1
    """Mask tokens to choose from (published: 10 in 2.0, 8 in 2.1)."""
    mask_token: pydantic.NonNegativeInt = 0
    """The mask token that training uses. The published runs of one clip length only ever trained
    token 0, for both mask families."""
    mask_token_std: pydantic.NonNegativeFloat = 0.02
    """Spread of fresh mask tokens; 0: they start as zeros (published)."""

    @pydantic.model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.predictor_dim % self.predictor_heads:
            raise ValueError(
                f"predictor_dim {self.predictor_dim} does not divide into predictor_heads "
                f"{self.predictor_heads}"
            )
        if self.mask_token >= self.num_mask_tokens:
            raise ValueError(
                f"mask_token {self.mask_token} is not among the {self.num_mask_tokens} mask "
                "tokens, which count from 0"
            )
        return self


class MaskedPredictor(StackedModule):
    """Predicts the features at target positions from the features at context positions.

    The context is projected to the predictor's width *before* it is joined with the mask tokens,
    and both carry positions: without them every prediction would be the same (the seed's snippet
    leaves out both).

    Args:
        config: the predictor's own settings.
        encoder: those of the encoder whose features it sees; positions are of the same kind.
        out_dim: width of what is predicted.
        predicts_context: also predict at the context's tokens, with a projection of their own.
    """

    def __init__(
        self,
        config: PredictorConfig,
        encoder: EncoderConfig,
        *,
        out_dim: int,
        predicts_context: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.encoder_config = config, encoder
        dim = config.predictor_dim
        self.embed = _embedding(encoder, dim)
        self.mask_tokens = nn.Parameter(torch.zeros(config.num_mask_tokens, dim))
        if encoder.modality_embedding:
            self.video_modality = nn.Parameter(torch.randn(1, 1, dim) * MODALITY_STD)
            self.image_modality = nn.Parameter(torch.randn(1, 1, dim) * MODALITY_STD)
        self.positions = added_positions(encoder, encoder.grid, dim)
        blocks = [
            Block(dim, config.predictor_heads, config.predictor_mlp_ratio)
            for _ in range(config.num_predictor_layers)
        ]
        self.stack = JointStack(blocks)
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.proj = nn.Linear(dim, out_dim)
        self.proj_context = nn.Linear(dim, out_dim) if predicts_context else None
        self.apply(init_weights)
        scale_residual_branches(blocks)
        if config.mask_token_std:
            nn.init.trunc_normal_(self.mask_tokens, std=config.mask_token_std)

    def forward(
        self,
        context: Float[Tensor, "batch context in_dim"],
        context_layout: TokenLayout,
        target_layout: TokenLayout,
        *,
        mask_token: int | None = None,
        image: bool = False,
    ) -> tuple[
        Float[Tensor, "batch target out_dim"], Float[Tensor, "batch context out_dim"] | None
    ]:
        """Predictions for the target layout's tokens, in its order, and for the context's.

        Args:
            mask_token: which mask token stands in for the targets; none: the config's.
            image: whether the context comes from an image (for the modality embedding).

        Returns:
            Predictions at the targets; those at the context if `predicts_context`, else None.
        """
        chosen = self.config.mask_token if mask_token is None else mask_token
        seen = self.embed(context)
        asked = self.mask_tokens[chosen].to(seen.dtype).expand(1, target_layout.length, -1)
        if self.positions is not None:
            seen = seen + self.positions(context_layout).to(seen.dtype)
            asked = asked + self.positions(target_layout).to(seen.dtype)
        tokens = torch.cat([seen, asked.expand(seen.shape[0], -1, -1)], dim=1)
        if self.encoder_config.modality_embedding:
            modality = self.image_modality if image else self.video_modality
            tokens = tokens + modality.to(tokens.dtype)
        both = joined(context_layout, target_layout, seen.shape[0])
        heads, dim = self.config.predictor_heads, self.config.predictor_dim
        turns = rotation_for(self.encoder_config, both, heads, dim, tokens)
        tokens = self.norm(self.stack(tokens, both, turns)[-1])
        predicted = self.proj(tokens[:, seen.shape[1] :])
        if self.proj_context is None:
            return predicted, None
        return predicted, self.proj_context(tokens[:, : seen.shape[1]])


def joined(first: TokenLayout, second: TokenLayout, batch: int) -> TokenLayout:
    """The tokens of two layouts of one grid, one after the other."""
    indices = [layout.numbers().expand(batch, -1) for layout in (first, second)]
    return TokenLayout(first.grid, torch.cat(indices, dim=1))


def _embedding(encoder: EncoderConfig, dim: int) -> nn.Module:
    """One linear layer for one level; several levels are first brought to the encoder's width."""
    width = encoder.encoder_dim
    if encoder.predicted_levels == 1:
        return nn.Linear(width, dim)
    return nn.Sequential(nn.Linear(encoder.level_dim, width), nn.GELU(), nn.Linear(width, dim))
