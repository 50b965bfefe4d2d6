r"""Rotary positions in three dimensions (3D RoPE), as V-JEPA 2 and 2.1 were trained with.

A head's dimensions fall into three equal, even parts, for time, row and column; what is left over
is not rotated. In a part of `m` dimensions, position `p` turns with the angles
`p * 10000 ** (-k / (m / 2))`, k = 0 ... m/2 - 1:

    interleaved   dimensions 2k and 2k+1 form a pair that turns by angle k       (2.1)
    tiled         the pairs are the same, but dimension j takes angle j mod m/2, so that the two
                  of a pair turn by different angles: not a rotation, yet what 2.0's weights
                  were trained with

Sources: arXiv 2506.09985, section 2.1; arXiv 2603.14482; the published code for the two kinds.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nexus.nn.grid import TokenLayout

RotaryKind = Literal["tiled", "interleaved"]
BASE = 10_000.0


@dataclass(frozen=True)
class Rotation:
    """The turns of a sequence's queries and keys, worked out once for all blocks.

    `cos` and `sin` are `(batch or 1, tokens, 1, 1, head_dim)`. Outside of compiled code, pairs are
    turned as complex numbers, one pass over the memory: `straight * x + mirrored * conj(x)`.
    """

    cos: Tensor
    sin: Tensor
    straight: Tensor | None = None
    mirrored: Tensor | None = None

    def __call__(
        self, values: Float[Tensor, "batch tokens two heads head_dim"]
    ) -> Float[Tensor, "batch tokens two heads head_dim"]:
        """Turn queries and keys; half precision is widened for it and narrowed again."""
        wide = values.to(self.cos.dtype)
        pairs = wide.unflatten(-1, (-1, 2))
        # A compiled stack may be handed products that were made outside of it.
        if self.straight is None or torch.compiler.is_compiling():
            partner = torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).flatten(-2)
            return (wide * self.cos + partner * self.sin).to(values.dtype)
        number = torch.view_as_complex(pairs)
        turned = number * self.straight
        if self.mirrored is not None:
            turned = turned + torch.conj_physical(number) * self.mirrored
        return torch.view_as_real(turned).flatten(-2).to(values.dtype)


def rotation(
    layout: TokenLayout,
    head_dim: int,
    kind: RotaryKind,
    *,
    stretch_to: int | None = None,
    like: Tensor,
) -> Rotation:
    """The turns of a layout's tokens.

    Args:
        head_dim: width of an attention head, even and at least 6.
        stretch_to: rows and columns are stretched so that the grid's last one comes to lie at
            `stretch_to - 1`, whatever the resolution (2.1: 16); None: their plain numbers.
        like: a tensor of the device, and of the precision if that is double.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    time, row, column = (coordinate.to(like.device, dtype) for coordinate in layout.coordinates())
    if stretch_to is not None:
        row = row * ((stretch_to - 1) / max(layout.grid.height - 1, 1))
        column = column * ((stretch_to - 1) / max(layout.grid.width - 1, 1))
    return turns((time, row, column), head_dim, kind)


def turns(coordinates: tuple[Tensor, Tensor, Tensor], head_dim: int, kind: RotaryKind) -> Rotation:
    """The turns of tokens at `(time, row, column)`, each `(batch or 1, tokens)`."""
    part = part_of(head_dim)
    steps = torch.arange(part // 2, device=coordinates[0].device, dtype=coordinates[0].dtype)
    frequencies = BASE ** (-steps / (part / 2))
    angles = torch.stack(coordinates, dim=-1).unsqueeze(-1) * frequencies
    if kind == "tiled":
        angles = torch.cat([angles, angles], dim=-1)
    else:
        angles = angles.repeat_interleave(2, dim=-1)
    angles = F.pad(angles.flatten(-2), (0, head_dim - 3 * part)).unsqueeze(2).unsqueeze(2)
    cos, sin = angles.cos(), angles.sin()
    if torch.compiler.is_compiling():
        return Rotation(cos, sin)
    (cos1, cos2), (sin1, sin2) = (x.unflatten(-1, (-1, 2)).unbind(-1) for x in (cos, sin))
    if kind == "interleaved":
        return Rotation(cos, sin, torch.complex(cos1, sin1))
    straight = torch.complex(cos1 + cos2, sin1 + sin2) / 2
    mirrored = torch.complex(cos1 - cos2, sin2 - sin1) / 2
    return Rotation(cos, sin, straight, mirrored)


def part_of(head_dim: int) -> int:
    """Dimensions of a head that each of time, row and column takes: an even third.

    Raises:
        ValueError: the head is odd or too narrow for three pairs.
    """
    if head_dim < 6 or head_dim % 2:
        raise ValueError(
            f"rotary positions need an even head width of at least 6, got {head_dim}: use fewer "
            "heads or a wider model"
        )
    return 2 * (head_dim // 3 // 2)
