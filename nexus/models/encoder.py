"""The video encoder: tubelets, positions, a space-time stack, a final norm."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Self

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nexus.config import Config
from nexus.errors import VideoShapeError
from nexus.nn.blocks import (
    LAYER_NORM_EPS,
    Block,
    MlpKind,
    init_weights,
    scale_residual_branches,
)
from nexus.nn.eager import eager
from nexus.nn.grid import Grid, TokenLayout
from nexus.nn.positions import LearnedPositions, SinCosPositions
from nexus.nn.rotary import RotaryKind, Rotation, part_of, rotation
from nexus.nn.stacks import FactorizedStack, JointStack
from nexus.nn.tubelet import TubeletEmbed

Positive = pydantic.PositiveInt
PositionKind = Literal["learned", "sincos", "rope_tiled", "rope_interleaved"]
MODALITY_STD = 1e-6
"""Spread of fresh modality embeddings (published)."""


class EncoderConfig(Config):
    """What a `VideoEncoder` is made of; the defaults are the seed's."""

    img_size: Positive | tuple[Positive, Positive] = 224
    """Height and width in pixels that the position table is made for (one number: a square)."""
    num_frames: Positive = 16
    """Frames a clip that the position table is made for."""
    in_chans: Positive = 3
    patch_size: Positive = 16
    tubelet_size: Positive = 2
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
    image_input: bool = False
    """Clips of one frame are images with a patch embedding of their own (2.1)."""
    modality_embedding: bool = False
    """A learned vector, added to every token, tells images from videos (2.1)."""
    feature_levels: tuple[pydantic.NonNegativeInt, ...] = ()
    """Blocks (from 0) whose outputs have a norm of their own, the last block among them (2.1)."""
    predicted_levels: Positive = 1
    """How many of the last levels, side by side, the predictor sees and has to predict (2.1: 4)."""

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        height, width = self.image_sides
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"img_size {self.img_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.num_frames % self.tubelet_size and not (self.image_input and self.num_frames == 1):
            raise ValueError(
                f"num_frames {self.num_frames} is not a multiple of tubelet_size "
                f"{self.tubelet_size}"
            )
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
    def image_sides(self) -> tuple[int, int]:
        """Height and width in pixels."""
        size = self.img_size
        return (size, size) if isinstance(size, int) else size

    @property
    def depth(self) -> int:
        """Transformer blocks in all."""
        return self.num_spatial_layers + self.num_temporal_layers

    @property
    def grid(self) -> Grid:
        """The token grid that the position table is made for."""
        height, width = self.image_sides
        return Grid(
            max(1, self.num_frames // self.tubelet_size),
            height // self.patch_size,
            width // self.patch_size,
        )

    @property
    def rotary_kind(self) -> RotaryKind | None:
        """The kind of rotary positions, if there are any."""
        return {"rope_tiled": "tiled", "rope_interleaved": "interleaved"}.get(self.positions)  # pyright: ignore

    @property
    def level_dim(self) -> int:
        """Width of what the predictor sees: all predicted levels side by side."""
        return self.encoder_dim * self.predicted_levels


class VideoEncoder(nn.Module):
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

    @property
    def patch_size(self) -> int:
        """Side of a tubelet in pixels."""
        return self.config.patch_size

    @property
    def tubelet_size(self) -> int:
        """Length of a tubelet in frames."""
        return self.config.tubelet_size

    def grid_of(self, video: Tensor) -> Grid:
        """The token grid of a video `(B, C, T, H, W)`.

        Raises:
            VideoShapeError: the video does not fit this encoder.
        """
        check_video_shape(video, self.config)
        return self._embed_of(video).grid_of(video)

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

    def levels(
        self, video: Tensor, layout: TokenLayout | None = None
    ) -> Float[Tensor, "batch tokens level_dim"]:
        """The features that the predictor sees: the last `predicted_levels` levels side by side."""
        count = self.config.predicted_levels
        if count == 1:
            return self(video, layout)
        blocks = self.config.feature_levels[-count:]
        return torch.cat(self.features(video, layout, blocks), dim=-1)

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


def check_video_shape(video: Tensor, config: EncoderConfig) -> None:
    """Check the dimensions and the type of a video.

    Raises:
        VideoShapeError: saying what was got, what was expected and what to do.
    """
    layout = "(batch, channels, frames, height, width)"
    got = f"got a {str(video.dtype).removeprefix('torch.')} tensor of shape {tuple(video.shape)}"
    if video.ndim != 5:
        raise VideoShapeError(f"a video has 5 dimensions {layout}, {got}")
    if not video.is_floating_point():
        raise VideoShapeError(
            f"a video holds normalised floating-point values, {got}; "
            "convert it, for example (video.float() / 255 - mean) / std"
        )
    batch, chans, frames, height, width = video.shape
    if batch == 0:
        raise VideoShapeError(f"a batch holds at least one clip, {got}")
    if chans != config.in_chans:
        hint = ""
        if config.in_chans in (video.shape[2], video.shape[4]):
            hint = f"; the order of the dimensions is {layout}"
        raise VideoShapeError(f"expected {config.in_chans} channels, {got}{hint}")
    image = config.image_input and frames == 1
    if frames == 0 or (frames % config.tubelet_size and not image):
        raise VideoShapeError(
            f"expected frames in multiples of tubelet_size {config.tubelet_size}, {got}"
        )
    if min(height, width) == 0 or height % config.patch_size or width % config.patch_size:
        raise VideoShapeError(
            f"expected height and width in multiples of patch_size {config.patch_size}, {got}; "
            "resize or crop the clip"
        )


@eager
def check_video_values(video: Tensor) -> None:
    """Raise VideoShapeError if a video holds NaN or infinite values."""
    finite = torch.isfinite(video).flatten(1).all(dim=1)
    if not bool(finite.all()):
        bad = (~finite).nonzero().flatten().tolist()
        raise VideoShapeError(
            f"the video holds NaN or infinite values in {len(bad)} of {len(finite)} clips of the "
            f"batch (positions {bad[:8]}); check the decoding and the normalisation"
        )


def clip_grid(config: EncoderConfig, num_frames: int, sides: tuple[int, int]) -> Grid:
    """The token grid of clips of a size (frames; height and width in pixels)."""
    height, width = sides[0] // config.patch_size, sides[1] // config.patch_size
    return Grid(max(1, num_frames // config.tubelet_size), height, width)


def off_distribution(config: EncoderConfig, grid: Grid) -> str | None:
    """One sentence on how a token grid differs from the trained one, or None if it does not.

    Another grid is allowed: rotary positions go on counting (or, in 2.1, are stretched to the
    trained range), position tables are interpolated. Still, the features are of a kind that
    training has not seen. An image is as trained where the encoder takes images.
    """
    trained, patch = config.grid, config.patch_size
    image = config.image_input and grid.time == 1
    same_length = image or grid.time == trained.time
    if same_length and (grid.height, grid.width) == (trained.height, trained.width):
        return None
    parts = []
    if not same_length:
        frames = grid.time * config.tubelet_size
        parts.append(f"clips of {frames} frames, not {config.num_frames}")
    if (grid.height, grid.width) != (trained.height, trained.width):
        height, width = config.image_sides
        parts.append(
            f"pictures of {grid.height * patch} x {grid.width * patch} pixels, "
            f"not {height} x {width}"
        )
    return (
        f"these are {' and '.join(parts)} as the weights were trained with: positions are "
        "extrapolated or interpolated, and the features may be worse"
    )
