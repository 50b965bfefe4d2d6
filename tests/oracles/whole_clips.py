"""All frames of a clip shown at once: what the loader, which shows them as they come, must give."""

from jaxtyping import UInt8
from torch import Tensor

from nexus.data.loading.augment import Augmentation, Interpolation, center_crop, recolour, show_part


def augment(
    frames: UInt8[Tensor, "time height width 3"],
    change: Augmentation,
    size: tuple[int, int],
    interpolation: Interpolation = "bilinear",
) -> UInt8[Tensor, "3 time out_height out_width"]:
    """Apply one draw to all frames of a clip: crop, resize to `size`, mirror, recolour."""
    rows, columns = change.part
    return recolour(show_part(frames[:, rows, columns], change, size, interpolation), change)


def center_view(
    frames: UInt8[Tensor, "time height width 3"],
    size: tuple[int, int],
    short_side: int | None = None,
) -> UInt8[Tensor, "3 time out_height out_width"]:
    """The evaluation view: resize (None: until the pictures just cover `size`), keep the middle."""
    return center_crop(frames, size, short_side).permute(3, 0, 1, 2)
