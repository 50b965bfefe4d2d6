"""Encoders of single frames: what a world model knows of one moment, as tokens of a width.

patches    a patch's pixels -> features -> all patches together -> one token       from scratch
keypoints  places of learned features, two numbers each (`nexus.models.worlds.keypoints`)
vit        a small vision transformer, a token a patch                             from scratch
frozen     an encoder that was trained before, shown each frame as a still clip    not trained
"""

from typing import Any, Protocol, runtime_checkable

import pydantic
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nexus.config import Config
from nexus.models.contract import Encoder, Module
from nexus.models.encoder import EncoderConfig, VideoEncoder, build_encoder
from nexus.nn.grid import Grid
from nexus.nn.tubelet import split_tubelets
from nexus.registry import Registry

FRAME_ENCODERS = Registry(
    "encoder of frames",
    {
        "patches": "nexus.models.worlds.frame_encoder:PatchEncoder",
        "keypoints": "nexus.models.worlds.keypoints:KeypointEncoder",
        "vit": "nexus.models.worlds.frame_encoder:VitEncoder",
        "frozen": "nexus.models.worlds.frame_encoder:FrozenEncoder",
    },
)

NORM_EPS = 1e-12
"""So small that shrinking what comes in shrinks nothing of what goes out."""

Frames = Float[Tensor, "batch channels height width"]
Positive = pydantic.PositiveInt


@runtime_checkable
class FrameEncoder(Module, Protocol):
    """Turns frames into tokens."""

    @property
    def grid(self) -> Grid:
        """Rows and columns of a frame's tokens; its time is 1."""
        ...

    @property
    def dim(self) -> int:
        """Width of a token."""
        ...

    def forward(self, frames: Frames) -> Float[Tensor, "batch tokens dim"]:
        """Tokens of each frame, pixels normalised as in training."""
        ...


class PatchEncoderConfig(Config):
    """A frame as one token."""

    patch_size: Positive = 8
    patch_dim: Positive = 32
    """Width of a patch's features."""
    hidden: Positive = 256
    dim: Positive = 64
    """Width of the token."""


class PatchEncoder(nn.Module):
    """Two layers a patch, two layers over all of them; the token has mean 0 and spread 1.

    The last is a batch norm without scale: its running statistics are those of training frames.

    Args:
        img_size: height and width of a frame.
    """

    Config = PatchEncoderConfig

    def __init__(self, *, img_size: tuple[int, int], in_chans: int, **settings: Any) -> None:
        super().__init__()
        self.config = config = PatchEncoderConfig.from_mapping(settings)
        self._grid = frame_grid(img_size, config.patch_size)
        self.embed = nn.Linear(in_chans * config.patch_size**2, config.patch_dim)
        self.place = nn.Parameter(torch.randn(self._grid.places, config.patch_dim) * 0.02)
        self.patch = nn.Linear(config.patch_dim, config.patch_dim)
        self.join = nn.Linear(self._grid.places * config.patch_dim, config.hidden)
        self.out = nn.Linear(config.hidden, config.dim)
        self.norm = nn.BatchNorm1d(config.dim, eps=NORM_EPS, affine=False)

    @property
    def grid(self) -> Grid:
        """One token."""
        return Grid(1, 1, 1)

    @property
    def dim(self) -> int:
        """Width of the token."""
        return self.config.dim

    def forward(self, frames: Frames) -> Float[Tensor, "batch 1 dim"]:
        """The token of each frame."""
        patches = split_tubelets(frames.unsqueeze(2), 1, self.config.patch_size)
        patches = F.gelu(self.patch(F.gelu(self.embed(patches) + self.place)))
        joined = F.gelu(self.join(patches.flatten(1)))
        return self.norm(self.out(joined)).unsqueeze(1)


class VitEncoderConfig(Config):
    """A small vision transformer, a token a patch."""

    patch_size: Positive = 16
    dim: Positive = 64
    depth: Positive = 3
    heads: Positive = 4


class VitEncoder(nn.Module):
    """`VideoEncoder` on clips of one frame."""

    Config = VitEncoderConfig

    def __init__(self, *, img_size: tuple[int, int], in_chans: int, **settings: Any) -> None:
        super().__init__()
        self.config = config = VitEncoderConfig.from_mapping(settings)
        self._grid = frame_grid(img_size, config.patch_size)
        self.encoder = VideoEncoder(
            EncoderConfig.from_mapping(
                {
                    "img_size": img_size,
                    "num_frames": 1,
                    "in_chans": in_chans,
                    "tubelet_size": 1,
                    "patch_size": config.patch_size,
                    "encoder_dim": config.dim,
                    "num_heads": config.heads,
                    "factorized": False,
                    "num_spatial_layers": config.depth,
                    "num_temporal_layers": 0,
                }
            )
        )

    @property
    def grid(self) -> Grid:
        """A token a patch."""
        return self._grid

    @property
    def dim(self) -> int:
        """Width of a token."""
        return self.config.dim

    def forward(self, frames: Frames) -> Float[Tensor, "batch tokens dim"]:
        """The tokens of each frame."""
        return self.encoder(frames.unsqueeze(2))


class FrozenEncoder(nn.Module):
    """An encoder that was trained before; every frame is shown as a clip in which nothing moves.

    Source: arXiv 2506.09985, section 3 (V-JEPA 2-AC): each frame is repeated to a tubelet, and its
    tokens are normalised to mean 0 and spread 1.

    Args:
        model: the settings of the encoder's model, with its `kind`.
    """

    def __init__(self, *, img_size: tuple[int, int], in_chans: int, model: dict[str, Any]) -> None:
        super().__init__()
        settings = {**model, "img_size": img_size, "in_chans": in_chans}
        self.settings = EncoderConfig.from_mapping(
            {key: each for key, each in settings.items() if key in EncoderConfig.model_fields}
        )
        self.encoder: Encoder = build_encoder(self.settings)
        self.requires_grad_(False)

    @property
    def grid(self) -> Grid:
        """A token a patch."""
        return self.settings.grid_for(self._frames, self.settings.image_sides)

    @property
    def dim(self) -> int:
        """Width of a token."""
        return self.encoder.embed_dim

    @property
    def _frames(self) -> int:
        return 1 if self.settings.image_input else self.settings.tubelet_size

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Never in training mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, frames: Frames) -> Float[Tensor, "batch tokens dim"]:
        """The normalised tokens of each frame."""
        still = frames.unsqueeze(2).expand(-1, -1, self._frames, -1, -1)
        tokens = self.encoder(still)
        return F.layer_norm(tokens, tokens.shape[-1:])


def frame_grid(img_size: tuple[int, int], patch: int) -> Grid:
    """The grid of a frame's patches.

    Raises:
        ValueError: the frame does not divide into them.
    """
    height, width = img_size
    if height % patch or width % patch:
        raise ValueError(
            f"frames of {height} x {width} pixels do not divide into patches of {patch}"
        )
    return Grid(1, height // patch, width // patch)
