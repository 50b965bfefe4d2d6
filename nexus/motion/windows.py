"""Where a window is at each moment: pure arithmetic, no pixels.

All windows of a benchmark go through a `Place`: a centre and a side in the middle of the clip,
chosen without sight of the label. The motion is symmetric about that moment:

    pan     the centre goes through the place at a steady speed, one of three, in one of eight ways
    zoom    the side shrinks (in) or grows (out) through the place's, at a steady relative rate
    still   nothing moves; the footage runs forward or backward

A place leaves room for the fastest pan in every direction and for the widest zoom, whatever its
own clip does: the picture's rim is as far away in one class as in another.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from nexus.motion.config import Task

DIRECTIONS = ("right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right")
"""The ways that a window goes, in steps of 45 degrees, y pointing down."""
SPEEDS = {"slow": 0.12, "medium": 0.24, "fast": 0.48}
"""Sides of the window a second."""
ZOOMS = ("in", "out")
ZOOM_RATE = 0.5
"""Octaves a second: after 2 s things are twice as large, or half."""
ARROWS = ("forward", "backward")


@dataclass(frozen=True)
class Motion:
    """What a window does, and which way the footage runs; None where it does not apply."""

    task: Task
    direction: str | None = None
    speed: str | None = None
    zoom: str | None = None
    arrow: str | None = None


MOTIONS: dict[Task, tuple[Motion, ...]] = {
    # Each eight in a row hold every direction, and each 24 every direction at every speed.
    "pan": tuple(
        Motion("pan", direction=way, speed=list(SPEEDS)[(turn + number) % len(SPEEDS)])
        for turn in range(len(SPEEDS))
        for number, way in enumerate(DIRECTIONS)
    ),
    "zoom": tuple(Motion("zoom", zoom=zoom) for zoom in ZOOMS),
    "still": tuple(Motion("still", arrow=arrow) for arrow in ARROWS),
}
"""The classes of each task, in the order in which they are dealt."""


def reach(seconds: float) -> float:
    """How far from a place's centre any window of a clip gets, along x or y, in sides."""
    return max((1 + max(SPEEDS.values()) * seconds) / 2, zoom_reach(seconds) / 2)


def zoom_reach(seconds: float) -> float:
    """The widest window of a zoom, in sides of its place."""
    return 2 ** (ZOOM_RATE * seconds / 2)


@dataclass(frozen=True)
class Path:
    """Centres (x, y) and sides of a window at each frame, in pixels of the picture."""

    centres: Float64[np.ndarray, "frames 2"]
    sides: Float64[np.ndarray, " frames"]


def window_path(
    motion: Motion, x: float, y: float, side: float, *, num_frames: int, fps: float
) -> Path:
    """The way of a window through the place (x, y, side), which it is at in mid-clip."""
    seconds = (np.arange(num_frames) - (num_frames - 1) / 2) / fps
    centres = np.tile(np.array([x, y], dtype=np.float64), (num_frames, 1))
    sides = np.full(num_frames, side, dtype=np.float64)
    if motion.direction is not None and motion.speed is not None:
        angle = DIRECTIONS.index(motion.direction) * math.pi / 4
        way = np.array([math.cos(angle), math.sin(angle)])
        centres += SPEEDS[motion.speed] * side * seconds[:, None] * way
    if motion.zoom is not None:
        sign = -1 if motion.zoom == "in" else 1
        sides *= 2 ** (sign * ZOOM_RATE * seconds)
    return Path(centres, sides)
