"""The video encoder: tubelets, positions, a space-time stack, a final norm; or one of your own."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Self

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nexus.errors import ConfigError
from nexus.models.contract import Encoder, checked
from nexus.models.stacked import StackedModule
from nexus.models.tubelets import TubeletConfig, check_video_shape
from nexus.nn.blocks import (
    LAYER_NORM_EPS,
    Block,
    MlpKind,
    init_weights,
    scale_residual_branches,
)
from nexus.nn.grid import Grid, TokenLayout
from nexus.nn.positions import LearnedPositions, SinCosPositions
from nexus.nn.rotary import RotaryKind, Rotation, part_of, rotation
from nexus.nn.stacks import FactorizedStack, JointStack
from nexus.nn.tubelet import TubeletEmbed
from nexus.registry import Choice, Registry

ENCODERS = Registry("encoder", {"vit": "nexus.models.encoder:VideoEncoder"})

Positive = pydantic.PositiveInt
PositionKind = Literal["learned", "sincos", "rope_tiled", "rope_interleaved"]
MODALITY_STD = 1e-6
"""Spread of fresh modality embeddings (published)."""


class EncoderConfig(TubeletConfig):
    """What a `VideoEncoder` is made of; the defaults are the seed's."""

    encoder: Choice = "vit"
    """`vit`, made of the keys below, or your own, which gets all of them as `config` beside its own
    settings: `package.module:Class` or `{kind: package.module:Class, ...}`."""
    encoder_dim: Positive = 768
    num_heads: Positive = 12
    mlp_ratio: pydantic.PositiveFloat = 4.0
    mlp: MlpKind = "gelu"
    factorized: bool = True
    """True: spatial blocks, then temporal blocks. False: as many blocks of joint attention."""
    num_spatial_layers: pydantic.NonNegativeInt = 8
    num_temporal_layers: pydantic.NonNegativeInt = 4
    drop_path: float = pydantic.Field(0.0, ge=0.0, lt=1.0)
    """Stochastic-depth rate of the last block; earlier blocks' rates grow linearly up to it."""
    positions: PositionKind = "learned"
    """The two rotary kinds (V-JEPA 2: tiled, 2.1: interleaved) need joint attention."""
    rope_stretch: Positive | None = None
    """Rotary rows and columns are stretched to a grid of this side (2.1: 16), so that another
    resolution spans the range that was trained; none: rows and columns count as they are."""
    modality_embedding: bool = False
    """A learned vector, added to every token, tells images from videos (2.1)."""
    feature_levels: tuple[pydantic.NonNegativeInt, ...] = ()
    """Blocks (from 0) whose outputs have a norm of their own, the last block among them (2.1)."""
    predicted_levels: Positive = 1
    """How many of the last levels, side by side, the predictor sees and has to predict (2.1: 4)."""

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        if self.encoder_dim % self.num_heads:
            raise ValueError(
                f"encoder_dim {self.encoder_dim} does not divide into num_heads {self.num_heads}"
            )
        if self.depth < 1:
            raise ValueError("num_spatial_layers + num_temporal_layers must be at least 1, got 0")
        if self.rotary_kind:
            part_of(self.encoder_dim // self.num_heads)
            if self.factorized:
                raise ValueError(
                    f"positions {self.positions!r} need joint attention: set factorized to false"
                )
        elif self.rope_stretch is not None:
            raise ValueError(f"rope_stretch needs rotary positions, got {self.positions!r}")
        return self

    @pydantic.model_validator(mode="after")
    def _levels_fit(self) -> Self:
        levels = self.feature_levels
        rising = all(low < high for low, high in pairwise(levels))
        if levels and not (rising and levels[-1] == self.depth - 1):
            raise ValueError(
                f"feature_levels must rise and end with the last block, {self.depth - 1}, "
                f"got {list(levels)}"
            )
        if self.predicted_levels > max(1, len(levels)):
            raise ValueError(
                f"predicted_levels is {self.predicted_levels}, but feature_levels names "
                f"{len(levels)} blocks"
            )
        return self

    @property
    def depth(self) -> int:
        """Transformer blocks in all."""
        return self.num_spatial_layers + self.num_temporal_layers

    @property
    def rotary_kind(self) -> RotaryKind | None:
        """The kind of rotary positions, if there are any."""
        return {"rope_tiled": "tiled", "rope_interleaved": "interleaved"}.get(self.positions)  # pyright: ignore

    def spans(self, num_frames: int, sides: tuple[int, int]) -> tuple[bool, bool]:
        """Rotary positions count from the first token: those of shorter and smaller clips are among
        the trained ones; stretched ones span the trained range at any size."""
        if self.rotary_kind is None:
            return super().spans(num_frames, sides)
        within = all(side <= own for side, own in zip(sides, self.image_sides, strict=True))
        return num_frames <= self.num_frames, within or self.rope_stretch is not None

    @property
    def level_dim(self) -> int:
        """Width of what the predictor sees: all predicted levels side by side."""
        return self.encoder_dim * self.predicted_levels


class VideoEncoder(StackedModule):
    """Turns a clip, or the visible part of one, into one feature vector a token.

    Other resolutions and clip lengths than the config's are accepted; see `nexus.nn.positions` and
    `nexus.nn.rotary`.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        dim, depth = config.encoder_dim, config.depth
        self.embed = _tubelets(config, config.tubelet_size)
        self.embed_image = _tubelets(config, 1) if config.image_input else None
        if config.modality_embedding:
            self.video_modality = nn.Parameter(torch.randn(1, 1, dim) * MODALITY_STD)
            self.image_modality = nn.Parameter(torch.randn(1, 1, dim) * MODALITY_STD)
        self.positions = added_positions(config, config.grid, dim)
        blocks = [
            Block(
                dim,
                config.num_heads,
                config.mlp_ratio,
                config.drop_path * i / max(depth - 1, 1),
                mlp=config.mlp,
            )
            for i in range(depth)
        ]
        if config.factorized:
            spatial = config.num_spatial_layers
            self.stack = FactorizedStack(blocks[:spatial], blocks[spatial:])
        else:
            self.stack = JointStack(blocks)
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.level_norms = nn.ModuleList(
            nn.LayerNorm(dim, eps=LAYER_NORM_EPS) for _ in config.feature_levels[:-1]
        )
        self.apply(init_weights)
        scale_residual_branches(blocks)

    @property
    def embed_dim(self) -> int:
        """Width of the features."""
        return self.config.encoder_dim

    @property
    def depth(self) -> int:
        """Transformer blocks."""
        return self.config.depth

    def grid_of(self, video: Tensor) -> Grid:
        """The token grid of a video `(B, C, T, H, W)`.

        Raises:
            VideoShapeError: the video does not fit this encoder.
        """
        return check_video_shape(video, self.config)

    def grid_for(self, num_frames: int, sides: tuple[int, int]) -> Grid:
        """The token grid of clips of a length and size (height and width in pixels).

        Raises:
            VideoShapeError: such clips do not fit this encoder.
        """
        return self.config.grid_for(num_frames, sides)

    def forward(
        self,
        video: Float[Tensor, "batch chans frames rows cols"],
        layout: TokenLayout | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Features of the layout's tokens (default: all, time-major `(t h w)`).

        Tokens outside the layout are never read: masking comes before encoding.

        Args:
            video: float clips, normalised as in training; sides multiples of the tubelet's.
            layout: which tubelets to encode.

        Raises:
            VideoShapeError: the video does not fit this encoder.
        """
        return self.features(video, layout)[0]

    def features(
        self, video: Tensor, layout: TokenLayout | None = None, blocks: Sequence[int] = (-1,)
    ) -> list[Float[Tensor, "batch tokens dim"]]:
        """Normed features after several blocks.

        Args:
            video, layout: as in `forward`.
            blocks: rising block numbers from 0; -1 is the last. A block among `feature_levels` has
                its own norm, others take the final one (as published for 2.0).

        Raises:
            VideoShapeError: the video does not fit this encoder.
            ValueError: there are no such blocks, or they do not rise.
        """
        last = self.config.depth - 1
        numbers = [last if block == -1 else block for block in blocks]
        inside = all(0 <= number <= last for number in numbers)
        if numbers != [last] and not (inside and numbers == sorted(set(numbers))):
            raise ValueError(
                f"blocks: got {list(blocks)}; expected rising numbers from 0 to {last}, or -1 for "
                "the last"
            )
        grid = self.grid_of(video)
        if layout is None:
            layout = TokenLayout.full(grid)
        tokens = self._embed_of(video)(video, layout)
        if self.config.modality_embedding:
            tokens = tokens + self._modality_of(video).to(tokens.dtype)
        if self.positions is not None:
            tokens = tokens + self.positions(layout).to(tokens.dtype)
        turns = rotation_for(self.config, layout, self.config.num_heads, self.embed_dim, tokens)
        outputs = self.stack(tokens, layout, turns, numbers)
        return [self.norm_of(number)(out) for number, out in zip(numbers, outputs, strict=True)]

    def norm_of(self, block: int) -> nn.Module:
        """The norm that stands after a block's output."""
        early = self.config.feature_levels[:-1]
        return self.level_norms[early.index(block)] if block in early else self.norm

    def _is_image(self, video: Tensor) -> bool:
        return self.embed_image is not None and video.shape[2] == 1

    def _embed_of(self, video: Tensor) -> TubeletEmbed:
        return self.embed_image if self._is_image(video) else self.embed  # pyright: ignore

    def _modality_of(self, video: Tensor) -> Tensor:
        return self.image_modality if self._is_image(video) else self.video_modality


def build_encoder(config: EncoderConfig) -> Encoder:
    """The encoder that the settings name.

    Raises:
        ConfigError: your own lacks something, or gives other tokens than the settings say.
    """
    encoder = checked(ENCODERS.build(config.encoder, config=config), Encoder, "encoder")
    grid = encoder.grid_for(config.num_frames, config.image_sides)
    if (encoder.embed_dim, grid) != (config.encoder_dim, config.grid):
        raise ConfigError(
            f"encoder {config.encoder!r} gives features of width {encoder.embed_dim} on {grid}; "
            f"encoder_dim, patch_size and tubelet_size say width {config.encoder_dim} on "
            f"{config.grid}"
        )
    return encoder


def levels_of(
    encoder: Encoder, config: EncoderConfig, video: Tensor, layout: TokenLayout | None = None
) -> Float[Tensor, "batch tokens level_dim"]:
    """The features that the predictor sees: the last `predicted_levels` levels side by side."""
    count = config.predicted_levels
    if count == 1:
        return encoder(video, layout)
    return torch.cat(encoder.features(video, layout, config.feature_levels[-count:]), dim=-1)


def added_positions(
    config: EncoderConfig, grid: Grid, dim: int
) -> LearnedPositions | SinCosPositions | None:
    """The position embeddings that are added to tokens; none where they are rotary."""
    if config.rotary_kind:
        return None
    return (LearnedPositions if config.positions == "learned" else SinCosPositions)(grid, dim)


def rotation_for(
    config: EncoderConfig, layout: TokenLayout, heads: int, dim: int, like: Tensor
) -> Rotation | None:
    """The rotary positions of a layout's tokens for heads of `dim / heads`, if there are any."""
    if config.rotary_kind is None:
        return None
    return rotation(
        layout, dim // heads, config.rotary_kind, stretch_to=config.rope_stretch, like=like
    )


def _tubelets(config: EncoderConfig, tubelet_size: int) -> TubeletEmbed:
    return TubeletEmbed(
        in_chans=config.in_chans,
        dim=config.encoder_dim,
        patch_size=config.patch_size,
        tubelet_size=tubelet_size,
    )
