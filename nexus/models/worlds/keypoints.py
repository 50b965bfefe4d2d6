"""A frame as a few places in it: where each of some learned features is seen.

    pixels -> patches -> convolutions -> a map a point -> softmax over the map -> its mean place

What a robot moves, and the robot itself, are somewhere. An encoder that can only answer with places
finds them in a few hundred steps, to a fraction of a patch, and leaves a predictor few numbers to
foretell. It says nothing of what a thing looks like.

Sources: arXiv 1504.00702 (spatial softmax), arXiv 1509.06113 (places as a state to plan with).
"""

from typing import Any

import pydantic
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nexus.config import Config
from nexus.models.worlds.frame_encoder import NORM_EPS, frame_grid
from nexus.nn.grid import Grid

Positive = pydantic.PositiveInt


class KeypointEncoderConfig(Config):
    """A frame as one token, two numbers a point."""

    points: Positive = 4
    """How many places a frame is told by: those that move, and some to spare."""
    patch_size: Positive = 4
    """Pixels of a side of the maps' cells; smaller is more exact and dearer."""
    width: Positive = 32
    """Channels of the convolutions."""
    depth: Positive = 1
    """Convolutions over 3 x 3 cells."""


class KeypointEncoder(nn.Module):
    """The token is each point's column and row, one point after the other.

    Columns and rows have mean 0 and spread 1 over training frames: the last layer is a batch norm
    without scale.

    Args:
        img_size: height and width of a frame.
    """

    Config = KeypointEncoderConfig
    columns: Tensor
    rows: Tensor

    def __init__(self, *, img_size: tuple[int, int], in_chans: int, **settings: Any) -> None:
        super().__init__()
        self.config = config = KeypointEncoderConfig.from_mapping(settings)
        maps = frame_grid(img_size, config.patch_size)
        self.embed = nn.Conv2d(in_chans, config.width, config.patch_size, config.patch_size)
        self.mix = nn.ModuleList(
            nn.Conv2d(config.width, config.width, 3, padding=1) for _ in range(config.depth)
        )
        self.maps = nn.Conv2d(config.width, config.points, 1)
        self.register_buffer("columns", torch.linspace(-1, 1, maps.width), persistent=False)
        self.register_buffer("rows", torch.linspace(-1, 1, maps.height), persistent=False)
        self.norm = nn.BatchNorm1d(self.dim, eps=NORM_EPS, affine=False)

    @property
    def grid(self) -> Grid:
        """One token."""
        return Grid(1, 1, 1)

    @property
    def dim(self) -> int:
        """Two numbers a point."""
        return 2 * self.config.points

    def places(
        self, frames: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch points 2"]:
        """Column and row of each point, from -1 (left, top) to 1."""
        # On a CPU the convolutions take half the time in this order.
        features = self.embed(frames.contiguous(memory_format=torch.channels_last))
        for layer in self.mix:
            features = layer(F.gelu(features))
        maps = self.maps(F.gelu(features))
        shares = maps.flatten(2).softmax(dim=-1).view_as(maps)
        column = shares.sum(dim=2) @ self.columns
        row = shares.sum(dim=3) @ self.rows
        return torch.stack([column, row], dim=-1)

    def forward(
        self, frames: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch 1 dim"]:
        """The token of each frame."""
        return self.norm(self.places(frames).flatten(1)).unsqueeze(1)
