"""Jumps in timestamps: time that no frame fills, told from slow rates and long stills.

frames    0  1  2  3                                 4  5  6  7
pts       0  1  2  3                            324004  ...         a camera that was off, a
counted   0  1  2  3  4  5  6  7                                    clock that was set
"""

from fractions import Fraction

import numpy as np
from jaxtyping import Int64

LONGEST_STILL = 60
"""Seconds; a picture may stay so long on screen in any video."""
TIMES_USUAL = 100
"""So many times the usual interval between frames is no steady rate either."""


def is_gap(interval: int, usual: int, tick: Fraction) -> bool:
    """Whether an interval between two frames is a gap; ticks, each of `tick` seconds."""
    return interval > _longest(usual, tick)


def usual_interval(pts: Int64[np.ndarray, " frames"], tail: int) -> int:
    """The median time on screen of a frame, in ticks; the shorter of two, the last one included."""
    shown = np.append(_intervals(pts), tail)
    middle = (len(shown) - 1) // 2
    return int(np.partition(shown, middle)[middle])


def gaps_after(
    pts: Int64[np.ndarray, " frames"], tail: int, tick: Fraction
) -> Int64[np.ndarray, " gaps"]:
    """Positions of the frames after which the timestamps jump.

    Args:
        pts: increasing, ticks.
        tail: ticks that the last frame is shown.
        tick: seconds a tick.
    """
    intervals = _intervals(pts)
    if not is_gap(int(intervals.max(initial=0)), 0, tick):  # as nearly always: no median needed
        return np.zeros(0, np.int64)
    return np.flatnonzero(intervals > _longest(usual_interval(pts, tail), tick))


def _longest(usual: int, tick: Fraction) -> int:
    return max(int(LONGEST_STILL / tick), TIMES_USUAL * usual)


def _intervals(pts: Int64[np.ndarray, " frames"]) -> Int64[np.ndarray, " intervals"]:
    steps = np.diff(pts)
    # Stamps at both ends of what 64 bits hold: further apart than a difference can say.
    return np.where(steps < 0, np.iinfo(np.int64).max, steps)
