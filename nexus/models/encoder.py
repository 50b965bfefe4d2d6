"""The video encoder: tubelets, positions, a space-time stack, a final norm."""

from typing import Literal, Self

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nexus.config import Config
from nexus.errors import VideoShapeError
from nexus.nn.blocks import LAYER_NORM_EPS, Block, init_weights, scale_residual_branches
from nexus.nn.eager import eager
from nexus.nn.grid import Grid, TokenLayout
from nexus.nn.positions import LearnedPositions, SinCosPositions
from nexus.nn.stacks import FactorizedStack, JointStack
from nexus.nn.tubelet import TubeletEmbed

Positive = pydantic.PositiveInt


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
    factorized: bool = True
    """True: spatial blocks, then temporal blocks. False: as many blocks of joint attention."""
    num_spatial_layers: pydantic.NonNegativeInt = 8
    num_temporal_layers: pydantic.NonNegativeInt = 4
    drop_path: float = pydantic.Field(0.0, ge=0.0, lt=1.0)
    """Stochastic-depth rate of the last block; earlier blocks' rates grow linearly up to it."""
    positions: Literal["learned", "sincos"] = "learned"

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        height, width = self.image_sides
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"img_size {self.img_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.num_frames % self.tubelet_size:
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
            self.num_frames // self.tubelet_size,
            height // self.patch_size,
            width // self.patch_size,
        )


class VideoEncoder(nn.Module):
    """Turns a clip, or the visible part of one, into one feature vector a token.

    Other resolutions and clip lengths than the config's are accepted; see `nexus.nn.positions`.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        dim, depth = config.encoder_dim, config.depth
        self.embed = TubeletEmbed(
            in_chans=config.in_chans,
            dim=dim,
            patch_size=config.patch_size,
            tubelet_size=config.tubelet_size,
        )
        make_positions = LearnedPositions if config.positions == "learned" else SinCosPositions
        self.positions = make_positions(config.grid, dim)
        blocks = [
            Block(dim, config.num_heads, config.mlp_ratio, config.drop_path * i / max(depth - 1, 1))
            for i in range(depth)
        ]
        if config.factorized:
            spatial = config.num_spatial_layers
            self.stack = FactorizedStack(blocks[:spatial], blocks[spatial:])
        else:
            self.stack = JointStack(blocks)
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.apply(init_weights)
        scale_residual_branches(blocks)

    @property
    def embed_dim(self) -> int:
        """Width of the features."""
        return self.config.encoder_dim

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
        return self.embed.grid_of(video)

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
        grid = self.grid_of(video)
        if layout is None:
            layout = TokenLayout.full(grid)
        tokens = self.embed(video, layout)
        tokens = tokens + self.positions(layout).to(tokens.dtype)
        return self.norm(self.stack(tokens, layout))


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
    if frames == 0 or frames % config.tubelet_size:
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
