"""Pictures of more than eight bits brought down to eight: by the values of a whole video.

A camera of 12 bits writes 0..4095 into files of 16: seen as 16 bits, they are nearly black. What
counts is what the file says and, where it says nothing, the largest value of all its pictures,
never that of one picture or of one request: a video must not flicker.
"""

from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import UInt8


class Values(NamedTuple):
    """The range of the values of a video, and what they are kept as.

    `low`, `high`: the smallest and the largest finite value; `floating`: not whole numbers;
    `bits`: of the numbers that the file keeps them in.
    """

    low: float
    high: float
    floating: bool
    bits: int

    @classmethod
    def of(cls, picture: np.ndarray) -> Self | None:
        """Those of one picture; None if it has no finite value."""
        floating = picture.dtype.kind == "f"
        if floating:
            picture = picture[np.isfinite(picture)]
        if not picture.size:
            return None
        low, high = float(picture.min()), float(picture.max())
        return cls(low, high, floating, 8 * picture.dtype.itemsize)

    @classmethod
    def of_all(cls, pictures: Iterable[np.ndarray]) -> Self | None:
        """Those of all pictures of a video together."""
        known = [values for picture in pictures if (values := cls.of(picture)) is not None]
        if not known:
            return None
        low, high, floating, bits = zip(*known, strict=True)
        return cls(min(low), max(high), any(floating), max(bits))


class Levels(NamedTuple):
    """Which of the 256 levels a value is shown as: number `floor((value - low) / step)`."""

    low: float
    step: float

    def show(self, picture: np.ndarray) -> UInt8[np.ndarray, "..."]:
        """A picture of 256 levels; values beyond the first and last are shown as these.

        What is not a number is shown as the first.
        """
        shift = int(self.step).bit_length() - 1
        if self.low == 0 and self.step == 1 << max(0, shift) and picture.dtype.kind in "iu":
            return np.clip(picture >> shift, 0, 255).astype(np.uint8)
        number = np.floor((picture.astype(np.float64) - self.low) / self.step)
        return np.nan_to_num(np.clip(number, 0, 255), nan=0.0).astype(np.uint8)


def levels_for(values: Values | None, stated_bits: int | None = None) -> tuple[Levels, str | None]:
    """How a video's values are shown, and what to say of it (None: nothing, 16 bits in 16).

    - Whole numbers from 0 on: the upper eight of the bits that the file states or, where it states
      none, that the largest value needs (at least eight).
    - Floating-point numbers: 0..1 as it is, else 0..255 as it is.
    - All others: from the smallest to the largest.
    """
    if values is None:
        return Levels(0.0, 1.0), None
    low, high, floating, kept = values
    if not floating and low >= 0:
        bits = stated_bits or max(8, int(high).bit_length())
        told = "hold" if stated_bits else "use"
        remark = None if bits == kept == 16 else f"{kept}-bit pictures that {told} {bits} bits"
        return Levels(0.0, float(1 << max(0, bits - 8))), remark and f"{remark}: shown as such"
    if floating and low >= 0 and high <= 255:
        top = 1.0 if high <= 1 else 255.0
        remark = f"floating-point pictures of values in 0..{top:g}: shown as such"
        return Levels(-top / 510, top / 255), remark
    sort = "floating-point" if floating else f"{kept}-bit"
    step = (high - low) / 255 or 1.0
    return (
        Levels(low - step / 2, step),
        f"{sort} pictures of values from {low:g} to {high:g}: shown from black to white",
    )
