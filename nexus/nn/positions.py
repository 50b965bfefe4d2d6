"""Position embeddings: one vector a place plus one vector a time step (seed, pitfall 8).

Learned tables are interpolated for grids other than the one they were made for:
- another resolution: the places' table is resized bicubically;
- a longer clip: the time table is stretched linearly;
- a shorter clip: the first time steps are used as they are, because a shorter clip at the same
  frame rate is the beginning of a longer one (this is what a clip-length curriculum needs).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nexus.nn.grid import Grid, TokenLayout


class LearnedPositions(nn.Module):
    """Learned spatial and temporal tables, added together.

    They start as sin-cos waves of row, column and time step. Started as small noise they leave the
    predictor unable to tell places apart for hundreds of steps; small runs then learn nothing.
    """

    def __init__(self, grid: Grid, dim: int) -> None:
        super().__init__()
        if dim < 4:
            raise ValueError(f"position tables need at least 4 dimensions, got {dim}")
        self.grid = grid
        place, step = torch.arange(grid.places), torch.arange(grid.time)
        part = dim // 4 * 2
        rows, columns = _waves(place // grid.width, part), _waves(place % grid.width, part)
        spatial = F.pad(torch.cat([rows, columns], dim=-1), (0, dim - 2 * part))
        temporal = F.pad(_waves(step, dim // 2 * 2), (0, dim % 2))
        self.spatial = nn.Parameter(spatial.unsqueeze(0))
        self.temporal = nn.Parameter(temporal.unsqueeze(0))

    def forward(self, layout: TokenLayout) -> Float[Tensor, "batch tokens dim"]:
        """The embeddings of a layout's tokens; batch is 1 when the layout is the whole grid."""
        spatial, temporal = self.tables(layout.grid)
        if layout.index is None:
            return (temporal.unsqueeze(2) + spatial.unsqueeze(1)).flatten(1, 2)
        index = layout.index.to(spatial.device)
        places = layout.grid.places
        return temporal[0][index // places] + spatial[0][index % places]

    def tables(self, grid: Grid) -> tuple[Tensor, Tensor]:
        """`(1, places, dim)` and `(1, time, dim)` tables for a grid, interpolated if need be."""
        spatial, temporal = self.spatial, self.temporal
        if (grid.height, grid.width) != (self.grid.height, self.grid.width):
            dim = spatial.shape[-1]
            image = spatial.reshape(1, self.grid.height, self.grid.width, dim).permute(0, 3, 1, 2)
            image = F.interpolate(
                image.float(), size=(grid.height, grid.width), mode="bicubic", align_corners=False
            )
            spatial = image.permute(0, 2, 3, 1).reshape(1, grid.places, dim).to(spatial.dtype)
        if grid.time < self.grid.time:
            temporal = temporal[:, : grid.time]
        elif grid.time > self.grid.time:
            line = temporal.transpose(1, 2).float()
            line = F.interpolate(line, size=grid.time, mode="linear", align_corners=True)
            temporal = line.transpose(1, 2).to(temporal.dtype)
        return spatial, temporal


class SinCosPositions(nn.Module):
    """Fixed sin-cos tables: a third of the width each for time, row and column.

    Computed for the grid at hand, so any resolution and clip length has its exact positions.
    """

    anchor: Tensor

    def __init__(self, grid: Grid, dim: int) -> None:
        super().__init__()
        if dim < 6:
            raise ValueError(f"sin-cos positions need at least 6 dimensions, got {dim}")
        self.dim = dim
        # An anchor that follows the module's device and dtype.
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    def forward(self, layout: TokenLayout) -> Float[Tensor, "batch tokens dim"]:
        """The embeddings of a layout's tokens; batch is 1 when the layout is the whole grid."""
        anchor, part = self.anchor, self.dim // 6 * 2
        coordinates = [coordinate.to(anchor.device) for coordinate in layout.coordinates()]
        waves = [_waves(coordinate, part) for coordinate in coordinates]
        rest = torch.zeros(*coordinates[0].shape, self.dim - 3 * part, device=anchor.device)
        return torch.cat([*waves, rest], dim=-1).to(anchor.dtype)


def _waves(coordinate: Tensor, dim: int) -> Tensor:
    """sin and cos of a coordinate at `dim / 2` frequencies from 1 down to 1/10000."""
    steps = torch.arange(dim // 2, device=coordinate.device, dtype=torch.float32)
    frequencies = torch.exp(-math.log(10_000.0) * steps / (dim / 2))
    angles = coordinate.unsqueeze(-1).float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
