"""Square windows cut out of pictures, at places and sizes below the pixel.

Both axes are resampled by a Mitchell-Netravali kernel (Mitchell and Netravali 1988) that is widened
to the details that the clip is to show: nothing aliases, and a window that shrinks over the clip
does not turn from sharp to soft. Weights and interim values are whole numbers, and their sums stay
below 2^24: float32 adds them up exactly, in any order, so that pixels do not depend on the machine
or on threads.
"""

import math

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from nexus.motion.windows import Path

_ONE = 2048  # the sum of the weights of one output pixel
_INTERIM = 8  # steps of the interim values in a grey level
_REACH = 2.0  # the kernel's half width at a spacing of 1


def cut_windows(
    planes: UInt8[np.ndarray, "frames 3 height width"], path: Path, *, size: int, details: float
) -> UInt8[np.ndarray, "frames size size 3"]:
    """The window of each frame, as a picture of `size` x `size` pixels.

    Args:
        planes: RGB, 0..255.
        path: windows that lie inside the pictures.
        size: pixels.
        details: how many of them a window shows along a side; at most `size`, and at most the
            pixels of the narrowest window.

    Raises:
        ValueError: a window leaves the picture.
    """
    room = np.array(planes.shape[:1:-1])  # width, height
    lows = path.centres - path.sides[:, None] / 2
    if lows.min() < -1e-6 or (lows + path.sides[:, None] > room + 1e-6).any():
        raise ValueError(f"a window leaves the picture of {room[0]}x{room[1]} pixels")
    spacing = np.maximum(1.0, path.sides / details)
    margin = math.ceil(_REACH * spacing.max()) + 1
    box = np.minimum(room, math.ceil(path.sides.max()) + 2 * margin)
    corners = np.clip(np.floor(lows).astype(int) - margin, 0, room - box)
    boxes = np.stack(
        [
            picture[:, y : y + box[1], x : x + box[0]]
            for picture, (x, y) in zip(planes, corners, strict=True)
        ]
    )
    columns, rows = (
        _weights(lows[:, axis] - corners[:, axis], path.sides, spacing, size, int(box[axis]))
        for axis in (0, 1)
    )
    count = len(boxes)
    pixels = torch.from_numpy(boxes).float().view(count, 3 * int(box[1]), int(box[0]))
    interim = (pixels @ columns.mT).mul_(_INTERIM / _ONE).round_().view(count, 3, -1, size)
    shown = (rows[:, None] @ interim).mul_(1 / (_INTERIM * _ONE)).round_().clamp_(0, 255)
    return shown.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _weights(
    low: Float64[np.ndarray, " frames"],
    side: Float64[np.ndarray, " frames"],
    spacing: Float64[np.ndarray, " frames"],
    size: int,
    box: int,
) -> Tensor:
    """float32 (frames, size, box): whole numbers, those of each output pixel sum to `_ONE`.

    Output pixel i is centred (i + 0.5) / size along the window; the picture's pixel j at j + 0.5.
    """
    centres = low[:, None] + side[:, None] * ((np.arange(size) + 0.5) / size)
    taps = min(box, 2 * math.ceil(_REACH * spacing.max()) + 1)
    first = np.floor(centres - 0.5).astype(int) - taps // 2
    places = np.clip(first, 0, box - taps)[:, :, None] + np.arange(taps)
    away = np.abs(places + 0.5 - centres[:, :, None]) / spacing[:, None, None]
    near = (7 / 6 * away - 2) * away * away + 8 / 9
    far = ((-7 / 18 * away + 2) * away - 10 / 3) * away + 16 / 9
    kernel = np.where(away < 1, near, np.where(away < 2, far, 0.0))
    whole = np.round(kernel * (_ONE / kernel.sum(axis=2, keepdims=True)))
    # What rounding took goes to the largest weight: an even area keeps its grey level.
    largest = whole.argmax(axis=2)[:, :, None]
    rest = _ONE - whole.sum(axis=2, keepdims=True)
    np.put_along_axis(whole, largest, np.take_along_axis(whole, largest, 2) + rest, 2)
    weights = torch.zeros(len(low), size, box)
    return weights.scatter_(2, torch.from_numpy(places), torch.from_numpy(whole).float())
