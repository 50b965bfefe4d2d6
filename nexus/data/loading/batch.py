"""What a model gets: clips as one typed value, moved to the device and normalised once.

Only torch is imported here, so that models can name the type. What belongs to a clip beside its
frames will stand beside them: actions, states and cameras of a robot, each a tensor with one row a
clip.
"""

import dataclasses
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Float64, Shaped, UInt8
from torch import Tensor

from nexus.errors import VideoShapeError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
GRAY_MEAN = (0.449,)  # the mean of ImageNet's three
GRAY_STD = (0.226,)
MEAN_AND_STD = {3: (IMAGENET_MEAN, IMAGENET_STD), 1: (GRAY_MEAN, GRAY_STD)}
"""Of pixels from 0 to 1, by the number of channels."""


@dataclass(frozen=True)
class Batch:
    """Clips of one length and size.

    `clips` are pixels as they were decoded (uint8; channels last in memory, as they come from the
    loader) or, after `normalised()`, floats as a model takes them. `times` says when each frame
    comes on screen, in seconds of its video, where that is known.
    """

    clips: Shaped[Tensor, "batch channels time height width"]
    times: Float64[Tensor, "batch time"] | None = None

    def __len__(self) -> int:
        """Clips."""
        return len(self.clips)

    def part(self, clips: slice) -> Self:
        """Some of the clips."""
        times = None if self.times is None else self.times[clips]
        return dataclasses.replace(self, clips=self.clips[clips], times=times)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """The same clips on a device; `non_blocking` as in `torch.Tensor.to`."""
        times = None if self.times is None else self.times.to(device, non_blocking=non_blocking)
        clips = self.clips.to(device, non_blocking=non_blocking)
        return dataclasses.replace(self, clips=clips, times=times)

    def normalised(self) -> Self:
        """The same clips as a model takes them; see `normalise`."""
        return dataclasses.replace(self, clips=normalise(self.clips))


def clips_of(video: Tensor | Batch) -> Tensor:
    """The clips, however they were given to a model."""
    return video.clips if isinstance(video, Batch) else video


def normalise(
    video: UInt8[Tensor, "batch channels time height width"],
) -> Float[Tensor, "batch channels time height width"]:
    """Turn uint8 pixels into contiguous float32, `(pixel / 255 - mean) / std` per channel.

    `mean` and `std` are ImageNet's, for RGB, or their gray counterparts, for one channel.

    Raises:
        VideoShapeError: not a five-dimensional uint8 video of one or three channels.
    """
    if video.dtype != torch.uint8 or video.ndim != 5:
        raise VideoShapeError(
            f"normalise got {video.dtype} of shape {tuple(video.shape)}; expected uint8 "
            "(batch, channels, time, height, width)"
        )
    channels = video.shape[1]
    if channels not in MEAN_AND_STD:
        raise VideoShapeError(f"normalise got a video of {channels} channels; expected 3 or 1")
    mean, std = MEAN_AND_STD[channels]
    # Plain numbers rather than small tensors: those would make a GPU wait for their copies.
    pixels = torch.empty(video.shape, dtype=torch.float32, device=video.device)
    for channel in range(channels):
        plane = pixels[:, channel].copy_(video[:, channel])
        plane.sub_(255.0 * mean[channel]).div_(255.0 * std[channel])
    return pixels
