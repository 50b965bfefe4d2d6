"""How decoded pictures are shown to a model: the evaluation view, a clip's draw, a reduction."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from nexus.data.loading.augment import (
    Augmentation,
    AugmentConfig,
    center_crop,
    draw_augmentation,
    recolour,
    resize,
    show_part,
)
from nexus.data.pictures import PictureView, fresh_room

_Pictures = UInt8[np.ndarray, "batch height width 3"]
_Clip = UInt8[np.ndarray, "time out_height out_width 3"]
_WHOLE = (slice(None), slice(None))


class _ClipView:
    """A view whose pictures may have a place waiting for them.

    Args:
        size: height and width of the result, pixels.
        into: a clip's memory, where pictures go if there are as many; None takes new memory.
    """

    def __init__(self, size: tuple[int, int], into: _Clip | None = None) -> None:
        self._size, self._into = size, into

    def room(self, count: int, out_height: int, out_width: int) -> _Clip:
        """The waiting memory, or new."""
        shape = (count, out_height, out_width, 3)
        if self._into is not None and self._into.shape == shape:
            return self._into
        return fresh_room(count, out_height, out_width)


class CenterView(_ClipView):
    """The evaluation view: resized, the middle kept.

    Args:
        size: height and width of the result, pixels.
        resize: short side that pictures are brought to, see `ClipSpec`; None: they cover `size`.
        into: a clip's memory, where pictures go if there are as many; None takes new memory.
    """

    def __init__(
        self, size: tuple[int, int], resize: int | None = None, into: _Clip | None = None
    ) -> None:
        super().__init__(size, into)
        self._resize = resize

    def part(self, height: int, width: int) -> tuple[slice, slice]:
        """All of it."""
        return _WHOLE

    def show(self, parts: _Pictures) -> UInt8[np.ndarray, "batch out_height out_width 3"]:
        """Resized and cropped."""
        return center_crop(torch.from_numpy(parts), self._size, self._resize).numpy()

    def finish(
        self, clip: UInt8[Tensor, "time height width 3"]
    ) -> UInt8[Tensor, "3 time height width"]:
        """What a clip of such pictures goes through as a whole: nothing."""
        return clip.permute(3, 0, 1, 2)


class DrawnView(_ClipView):
    """One random draw for all pictures of a clip, made once their size is known.

    Args:
        config: what is random.
        size: height and width of the result, pixels.
        seed: of the clip's own random stream.
        into: a clip's memory, where pictures go if there are as many; None takes new memory.
    """

    def __init__(
        self, config: AugmentConfig, size: tuple[int, int], seed: int, into: _Clip | None = None
    ) -> None:
        super().__init__(size, into)
        self._config, self._seed = config, seed
        self._drawn: tuple[tuple[int, int], Augmentation] | None = None

    def part(self, height: int, width: int) -> tuple[slice, slice]:
        """The crop."""
        # A decoder that starts over may find pictures of another size: the draw for a size is the
        # same, whatever was seen before.
        if self._drawn is None or self._drawn[0] != (height, width):
            rng = np.random.default_rng(self._seed)
            self._drawn = (height, width), draw_augmentation(self._config, height, width, rng)
        return self._change.part

    def show(self, parts: _Pictures) -> UInt8[np.ndarray, "batch out_height out_width 3"]:
        """Resized, perhaps mirrored."""
        shown = torch.from_numpy(parts)
        return show_part(shown, self._change, self._size, self._config.interpolation).numpy()

    def finish(
        self, clip: UInt8[Tensor, "time height width 3"]
    ) -> UInt8[Tensor, "3 time height width"]:
        """What a clip of such pictures goes through as a whole: its colours."""
        return recolour(clip, self._change)

    @property
    def _change(self) -> Augmentation:
        assert self._drawn is not None, "`part` comes first"
        return self._drawn[1]


class ReducedView:
    """Pictures whose short side is brought down to `short_side` first; then as `view` shows them.

    Args:
        short_side: pixels.
        view: None keeps the reduced pictures.
    """

    def __init__(self, short_side: int, view: PictureView | None = None) -> None:
        self._short_side, self._view = short_side, view

    def part(self, height: int, width: int) -> tuple[slice, slice]:
        """All of it."""
        return _WHOLE

    def show(self, parts: _Pictures) -> UInt8[np.ndarray, "batch out_height out_width 3"]:
        """Reduced, then shown."""
        size = reduced(parts.shape[1], parts.shape[2], self._short_side)
        small = resize(torch.from_numpy(parts), size).numpy()
        if self._view is None:
            return small
        rows, columns = self._view.part(*size)
        return self._view.show(np.ascontiguousarray(small[:, rows, columns]))

    def room(self, count: int, out_height: int, out_width: int) -> _Clip:
        """As `view` has it."""
        return (self._view.room if self._view else fresh_room)(count, out_height, out_width)


def reduced(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    """The size with the short side brought down to `short_side`, if it is longer."""
    if short_side is None or min(height, width) <= short_side:
        return height, width
    factor = short_side / min(height, width)
    return round(height * factor), round(width * factor)
