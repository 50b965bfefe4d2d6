"""Pictures to model inputs: one random draw per clip, applied to all of its frames.

uint8 goes in and uint8 comes out; floats are made of it on the training device, so that a quarter
of the bytes travels (`nexus.data.loading.batch`).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pydantic
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from nexus.config import Config

Interpolation = Literal["bilinear", "bicubic"]
Range = tuple[float, float]

# ITU-R BT.601 luma, then the two colour axes: hue is an angle in the plane of the latter.
_TO_YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]],
    dtype=torch.float64,
)


class AugmentConfig(Config):
    """Random changes of a clip's pictures. The defaults are V-JEPA 2's (crop and flip only).

    - `scale`, `aspect`: the crop's area as a share of the picture, and its width / height.
    - `flip`, `vertical_flip`, `transpose`: probabilities of a left-right mirror, of an upside-down
      one, and of rows becoming columns; all three at 0.5 give the eight ways to lay a square. Each
      clip is laid one way as a whole, so its motion stays a motion. Set them to 0 where a clip
      comes with something that knows left from right: robot actions, text.
    - `brightness`, `contrast`, `saturation`: factors are drawn from [1 - x, 1 + x].
    - `hue`: a turn of up to this share of the colour circle (0 to 0.5).
    - `grayscale`: probability of losing all colour.
    - `invert`: probability of a negative: light for dark in the whole clip.
    - `interpolation`: how crops are resized; always antialiased.
    """

    scale: Range = (0.3, 1.0)
    aspect: Range = (3 / 4, 4 / 3)
    flip: float = pydantic.Field(default=0.5, ge=0, le=1)
    vertical_flip: float = pydantic.Field(default=0.0, ge=0, le=1)
    transpose: float = pydantic.Field(default=0.0, ge=0, le=1)
    brightness: float = pydantic.Field(default=0.0, ge=0, le=1)
    contrast: float = pydantic.Field(default=0.0, ge=0, le=1)
    saturation: float = pydantic.Field(default=0.0, ge=0, le=1)
    hue: float = pydantic.Field(default=0.0, ge=0, le=0.5)
    grayscale: float = pydantic.Field(default=0.0, ge=0, le=1)
    invert: float = pydantic.Field(default=0.0, ge=0, le=1)
    interpolation: Interpolation = "bilinear"

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "AugmentConfig":
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale: got {self.scale}; expected 0 < low <= high <= 1")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(f"aspect: got {self.aspect}; expected 0 < low <= high")
        return self


@dataclass(frozen=True)
class Augmentation:
    """One draw, ready to be applied (and applied again, to another clip of the same size)."""

    top: int
    left: int
    height: int
    width: int
    flip: bool = False
    vertical_flip: bool = False
    transpose: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    invert: bool = False

    @property
    def part(self) -> tuple[slice, slice]:
        """The rows and columns of the crop."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )

    @property
    def changes_colour(self) -> bool:
        """Whether the colours differ from the original's."""
        return self.invert or self.changes_hues or (self.brightness, self.contrast) != (1.0, 1.0)

    @property
    def changes_hues(self) -> bool:
        """Whether red, green and blue are mixed."""
        return (self.saturation, self.hue) != (1.0, 0.0)


def draw_augmentation(
    config: AugmentConfig, height: int, width: int, rng: np.random.Generator
) -> Augmentation:
    """Draw one augmentation for a clip whose pictures are `height` x `width` pixels."""
    top, left, crop_height, crop_width = _draw_crop(config, height, width, rng)
    factors = [
        1.0 + spread * rng.uniform(-1, 1) if spread else 1.0
        for spread in (config.brightness, config.contrast, config.saturation)
    ]
    hue = config.hue * rng.uniform(-1, 1) if config.hue else 0.0
    if config.grayscale and rng.random() < config.grayscale:
        factors[2], hue = 0.0, 0.0
    return Augmentation(
        top,
        left,
        crop_height,
        crop_width,
        flip=_happens(config.flip, rng),
        vertical_flip=_happens(config.vertical_flip, rng),
        transpose=_happens(config.transpose, rng),
        brightness=factors[0],
        contrast=factors[1],
        saturation=factors[2],
        hue=hue,
        invert=_happens(config.invert, rng),
    )


def _happens(probability: float, rng: np.random.Generator) -> bool:
    # What never happens draws no number, so that the other draws stay as they are.
    return bool(probability and rng.random() < probability)


def _draw_crop(
    config: AugmentConfig, height: int, width: int, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    for _ in range(10):
        area = height * width * rng.uniform(*config.scale)
        aspect = math.exp(rng.uniform(math.log(config.aspect[0]), math.log(config.aspect[1])))
        crop_height, crop_width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < crop_height <= height and 0 < crop_width <= width:
            top = int(rng.integers(height - crop_height, endpoint=True))
            left = int(rng.integers(width - crop_width, endpoint=True))
            return top, left, crop_height, crop_width
    # Nothing fits (a very wide picture, or scale = 1): the largest middle part of allowed aspect.
    aspect = min(max(width / height, config.aspect[0]), config.aspect[1])
    crop_height = max(1, min(height, round(width / aspect)))
    crop_width = max(1, min(width, round(height * aspect)))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def show_part(
    parts: UInt8[Tensor, "batch part_height part_width 3"],
    change: Augmentation,
    size: tuple[int, int],
    interpolation: Interpolation = "bilinear",
) -> UInt8[Tensor, "batch out_height out_width 3"]:
    """What each picture's part goes through for itself: transpose, resize to `size`, mirror."""
    parts = parts.transpose(1, 2) if change.transpose else parts
    parts = resize(parts, size, interpolation)
    mirrored = [axis for axis, on in ((1, change.vertical_flip), (2, change.flip)) if on]
    return parts.flip(mirrored) if mirrored else parts


def recolour(
    frames: UInt8[Tensor, "time height width 3"], change: Augmentation
) -> UInt8[Tensor, "3 time height width"]:
    """The part of a draw that a clip takes as a whole: its colours."""
    if change.changes_hues:
        return _recolour(frames.permute(0, 3, 1, 2), change).transpose(0, 1)
    shown = _shade(frames, change) if change.changes_colour else frames
    return shown.permute(3, 0, 1, 2)


def center_crop(
    frames: UInt8[Tensor, "batch height width 3"],
    size: tuple[int, int],
    short_side: int | None = None,
) -> UInt8[Tensor, "batch out_height out_width 3"]:
    """The evaluation view of pictures, channels last: resized to `before_crop`, the middle kept."""
    height, width = frames.shape[1:3]
    whole = before_crop(height, width, size, short_side)
    top, left = (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2
    return resize(frames, whole)[:, top : top + size[0], left : left + size[1]]


def before_crop(
    height: int, width: int, size: tuple[int, int], short_side: int | None = None
) -> tuple[int, int]:
    """Height and width that a picture is resized to before `size` is cut out of its middle.

    Its short side becomes `short_side`; None: the picture just covers `size`. The other side is cut
    down to whole pixels, as torchvision's and transformers' resizing does.
    """
    rows, columns = size if short_side is None else (short_side, short_side)
    if rows * width >= columns * height:
        return rows, rows * width // height
    return columns * height // width, columns


def resize(
    frames: UInt8[Tensor, "batch height width 3"],
    size: tuple[int, int],
    interpolation: Interpolation = "bilinear",
) -> UInt8[Tensor, "batch out_height out_width 3"]:
    """Resize with antialiasing; to the same size it returns the very same pixels."""
    if tuple(frames.shape[1:3]) == size:
        return frames
    images = frames.permute(0, 3, 1, 2)
    images = F.interpolate(images, size, mode=interpolation, antialias=True)
    return images.permute(0, 2, 3, 1)


def to_gray(
    video: UInt8[Tensor, "3 time height width"],
) -> UInt8[Tensor, "1 time height width"]:
    """One luma channel (ITU-R BT.601) of RGB."""
    return _mix(video, _TO_YIQ[:1], torch.zeros(1, dtype=torch.float64), channel=0)


def _shade(
    frames: UInt8[Tensor, "time height width 3"], change: Augmentation
) -> UInt8[Tensor, "time height width 3"]:
    """As `_recolour` does where red, green and blue are not mixed: every level has one new one."""
    factor, offset = change.brightness * change.contrast, _contrast_offset(frames, change)
    levels = torch.arange(256, dtype=torch.float32) * factor + offset
    table = (255 - levels if change.invert else levels).round_().clamp_(0, 255).byte()
    return torch.from_numpy(np.take(table.numpy(), frames.numpy()))


def _contrast_offset(frames: UInt8[Tensor, "time height width 3"], change: Augmentation) -> float:
    """Contrast turns about the mean luma of the whole clip: one per frame would make it flicker."""
    if change.contrast == 1.0:
        return 0.0
    mean = frames.mean(dim=(0, 1, 2), dtype=torch.float32).double() @ _TO_YIQ[0]
    return float((1 - change.contrast) * change.brightness * mean)


def _recolour(
    images: UInt8[Tensor, "batch 3 height width"], change: Augmentation
) -> UInt8[Tensor, "batch 3 height width"]:
    """Brightness, contrast, saturation, hue and negative as one affine map of RGB, rounded once."""
    luma = _TO_YIQ[0]
    turn = 2 * math.pi * change.hue
    rotate = torch.eye(3, dtype=torch.float64)
    rotate[1:, 1:] = torch.tensor(
        [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    )
    hue = torch.linalg.inv(_TO_YIQ) @ rotate @ _TO_YIQ
    grays = luma.expand(3, 3)
    saturation = change.saturation * torch.eye(3, dtype=torch.float64)
    saturation = saturation + (1 - change.saturation) * grays
    matrix = change.brightness * change.contrast * (hue @ saturation)
    offset = torch.full((3,), _contrast_offset(images.permute(0, 2, 3, 1), change)).double()
    if change.invert:
        matrix, offset = -matrix, 255 - offset
    return _mix(images, matrix, offset, channel=1)


def _mix(images: Tensor, matrix: Tensor, offset: Tensor, *, channel: int) -> Tensor:
    # Element by element rather than by matmul, whose rounding may depend on a pixel's position:
    # a still picture has to stay still.
    red, green, blue = (plane.float() for plane in images.unbind(channel))
    shape = list(images.shape)
    shape[channel] = len(matrix)
    mixed = torch.empty(shape, dtype=torch.uint8)
    for plane, row, shift in zip(
        mixed.unbind(channel), matrix.tolist(), offset.tolist(), strict=True
    ):
        value = (red * row[0]).add_(green * row[1]).add_(blue * row[2]).add_(shift)
        plane.copy_(value.round_().clamp_(0, 255))
    return mixed
