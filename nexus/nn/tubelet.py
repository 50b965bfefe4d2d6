"""Tubelets: non-overlapping `tubelet x patch x patch` blocks of a video, each projected to a token.

The weights are those of a `Conv3d` whose stride equals its kernel (seed, "Tubelet Tokenization");
the product is taken as a matrix product over the tubelets that are wanted, so that a masked tubelet
is never read, let alone embedded.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nexus.nn.grid import Grid, TokenLayout


class TubeletEmbed(nn.Module):
    """Video `(B, C, T, H, W)` to tokens `(B, n, dim)` of a layout."""

    def __init__(self, *, in_chans: int, dim: int, patch_size: int, tubelet_size: int) -> None:
        super().__init__()
        kernel = (tubelet_size, patch_size, patch_size)
        self.proj = nn.Conv3d(in_chans, dim, kernel_size=kernel, stride=kernel)
        self.patch_size = patch_size
        self.tubelet_size = tubelet_size

    def grid_of(self, video: Tensor) -> Grid:
        """The token grid of a video `(B, C, T, H, W)`; its sides are multiples of the tubelet's."""
        frames, height, width = video.shape[-3:]
        return Grid(
            frames // self.tubelet_size, height // self.patch_size, width // self.patch_size
        )

    def forward(
        self, video: Float[Tensor, "batch chans frames rows cols"], layout: TokenLayout
    ) -> Float[Tensor, "batch tokens dim"]:
        """Embed the layout's tubelets."""
        tubelets = layout.select(split_tubelets(video, self.tubelet_size, self.patch_size))
        return self.project(tubelets)

    def project(
        self, tubelets: Float[Tensor, "batch tokens values"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """The matrix product: flat tubelets to tokens."""
        return F.linear(tubelets, self.proj.weight.flatten(1), self.proj.bias)


def split_tubelets(
    video: Float[Tensor, "batch chans frames rows cols"], tubelet_size: int, patch_size: int
) -> Float[Tensor, "batch tokens values"]:
    """Cut a video into flat tubelets, time-major; values ordered (channel, time, row, column)."""
    batch, chans, frames, rows, cols = video.shape
    time, height, width = frames // tubelet_size, rows // patch_size, cols // patch_size
    video = video.reshape(batch, chans, time, tubelet_size, height, patch_size, width, patch_size)
    return video.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(batch, time * height * width, -1)
