"""Clips cut into tubelets: sizes, the token grid, and checks of a video that is given."""

from typing import Self

import pydantic
import torch
from torch import Tensor

from nexus.errors import VideoShapeError
from nexus.models.contract import SeenClips
from nexus.nn.eager import eager
from nexus.nn.grid import Grid


class TubeletConfig(SeenClips):
    """The clips that a model is made for, and the tubelets that they are cut into."""

    patch_size: pydantic.PositiveInt = 16
    tubelet_size: pydantic.PositiveInt = 2

    @pydantic.model_validator(mode="after")
    def _divides(self) -> Self:
        if any(side % self.patch_size for side in self.image_sides):
            raise ValueError(
                f"img_size {self.img_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.num_frames % self.tubelet_size and not (self.image_input and self.num_frames == 1):
            raise ValueError(
                f"num_frames {self.num_frames} is not a multiple of tubelet_size "
                f"{self.tubelet_size}"
            )
        return self

    @property
    def grid(self) -> Grid:
        """The token grid that the position table is made for."""
        return self.grid_for(self.num_frames, self.image_sides)

    def grid_for(self, num_frames: int, sides: tuple[int, int], got: str | None = None) -> Grid:
        """The token grid of clips of a length and size (height and width in pixels).

        Raises:
            VideoShapeError: they cannot be cut into tubelets; `got` says what they are.
        """
        height, width = sides
        got = got or f"got {num_frames} frames of {height} x {width} pixels"
        image = self.image_input and num_frames == 1
        if num_frames == 0 or (num_frames % self.tubelet_size and not image):
            raise VideoShapeError(
                f"expected frames in multiples of tubelet_size {self.tubelet_size}, {got}"
            )
        if min(height, width) == 0 or height % self.patch_size or width % self.patch_size:
            raise VideoShapeError(
                f"expected height and width in multiples of patch_size {self.patch_size}, {got}; "
                "resize or crop the clip"
            )
        time = 1 if image else num_frames // self.tubelet_size
        return Grid(time, height // self.patch_size, width // self.patch_size)


def check_video_shape(video: Tensor, config: TubeletConfig) -> Grid:
    """The token grid of a video, once its dimensions and its type are known to fit.

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
    return config.grid_for(frames, (height, width), got)


@eager
def check_video_values(video: Tensor) -> None:
    """Raise VideoShapeError if a video holds NaN or infinite values."""
    if bool(video.sum().isfinite()):  # one pass, where a mask of finite values takes four
        return
    finite = torch.isfinite(video).flatten(1).all(dim=1)
    if not bool(finite.all()):  # else only the sum was too large
        bad = (~finite).nonzero().flatten().tolist()
        raise VideoShapeError(
            f"the video holds NaN or infinite values in {len(bad)} of {len(finite)} clips of the "
            f"batch (positions {bad[:8]}); check the decoding and the normalisation"
        )
