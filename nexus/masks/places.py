"""Drawing places of a grid, and the tokens that stand at them."""

import torch
from torch import Generator, Tensor

from nexus.errors import VideoShapeError
from nexus.nn.grid import Grid


def bounded(count: int, most: int) -> int:
    """A count of at least 1 and at most `most`."""
    return max(1, min(count, most))


def draw_places(grid: Grid, batch: int, count: int, generator: Generator | None) -> Tensor:
    """So many random places for each clip, in order: int64 `(batch, count)`."""
    if count == grid.places:
        return torch.arange(grid.places).expand(batch, -1)
    order = torch.rand(batch, grid.places, generator=generator).argsort(dim=-1)
    return order[:, :count].sort().values


def other_places(grid: Grid, places: Tensor) -> Tensor:
    """Each clip's places that are not among these."""
    left = torch.ones(places.shape[0], grid.places, dtype=torch.bool).scatter(1, places, False)
    return indices(left)


def tubes(grid: Grid, places: Tensor, start: int, stop: int) -> Tensor:
    """The tokens of some places in time steps `start` to `stop`, time-major."""
    steps = torch.arange(start, stop).view(1, -1, 1) * grid.places
    return (steps + places.unsqueeze(1)).flatten(1)


def indices(chosen: Tensor) -> Tensor:
    """Sorted token numbers of a bool tensor in which every clip chooses equally many."""
    chosen = chosen.flatten(1)
    return chosen.nonzero()[:, 1].view(chosen.shape[0], -1)


def check_places(mask: str, grid: Grid) -> None:
    """Raise VideoShapeError, for a mask, where frames have a single place."""
    if grid.places < 2:
        raise VideoShapeError(
            f"mask {mask!r} needs at least two places, got frames of a single patch: use larger "
            "frames or mask 'future'"
        )
