"""Shortest ways of a disc round what stands on a table: walls, and another disc.

A way leads over corners: points beside what is in the way, from which the next one can be seen.

Margins of walls are square, so a gap that a disc only just fits through is not seen.

        start o-----.  corner
                     \\
           (block)    o----> end
"""

import numpy as np
from jaxtyping import Bool, Float

from nexus.envs.physics import Table

BESIDE = 0.01
"""How far a corner stands off what it leads round."""
ROUND = 12
"""Corners round a disc."""


def next_place(
    table: Table,
    start: Float[np.ndarray, " 2"],
    end: Float[np.ndarray, " 2"],
    radius: float,
    round_disc: tuple[Float[np.ndarray, " 2"], float] | None = None,
) -> Float[np.ndarray, " 2"]:
    """Where the way from start to end leads first; `end` itself where nothing is in the way.

    Args:
        radius: of the disc that moves.
        round_disc: the middle of a disc that is not to be touched, and its radius.
    """
    boxes = np.array(table.walls, dtype=float).reshape(-1, 4) + radius * np.array([-1, -1, 1, 1])
    disc = None if round_disc is None else (round_disc[0], round_disc[1] + radius)
    if _open(start[None], end[None], boxes, disc)[0]:
        return end
    corners = _corners(boxes, disc, radius)
    points = np.concatenate([start[None], end[None], corners])
    count = len(points)
    seen = _open(np.repeat(points, count, axis=0), np.tile(points, (count, 1)), boxes, disc)
    lengths = np.linalg.norm(points[:, None] - points[None], axis=-1)
    lengths = np.where(seen.reshape(count, count), lengths, np.inf)
    left = lengths[:, 1].copy()  # of each point, the way that is left to the end
    left[1] = 0
    for _ in range(count):
        shorter = np.minimum(left, (lengths + left).min(axis=1))
        if np.array_equal(shorter, left):
            break
        left = shorter
    if not np.isfinite(left[0]):
        return end  # shut in: straight on, and what is in the way will give
    elsewhere = lengths[0] > 1e-9  # who stands on a corner goes on
    return points[np.argmin(np.where(elsewhere, lengths[0] + left, np.inf))]


def _corners(boxes: np.ndarray, disc: tuple[np.ndarray, float] | None, radius: float) -> np.ndarray:
    """float (corners, 2), on the table."""
    low, high = boxes[:, :2] - BESIDE, boxes[:, 2:] + BESIDE
    corners = [np.stack([x[:, 0], y[:, 1]], axis=1) for x in (low, high) for y in (low, high)]
    if disc is not None:
        turns = 2 * np.pi * np.arange(ROUND) / ROUND
        # Lines between neighbours pass nearer than the corners themselves do.
        away = (disc[1] + BESIDE) / np.cos(np.pi / ROUND)
        corners.append(disc[0] + away * np.stack([np.cos(turns), np.sin(turns)], axis=1))
    every = np.concatenate(corners)
    return every[np.all((every >= radius) & (every <= 1 - radius), axis=1)]


def _open(
    starts: Float[np.ndarray, "n 2"],
    ends: Float[np.ndarray, "n 2"],
    boxes: Float[np.ndarray, "walls 4"],
    disc: tuple[np.ndarray, float] | None,
) -> Bool[np.ndarray, " n"]:
    """Whether nothing stands on the straight lines from starts to ends."""
    along = ends - starts
    free = np.ones(len(starts), dtype=bool)
    if disc is not None:
        middle, radius = disc
        length = np.maximum((along**2).sum(axis=1), 1e-12)
        share = np.clip(((middle - starts) * along).sum(axis=1) / length, 0, 1)
        nearest = starts + share[:, None] * along
        # What touches may leave: only a line that leads nearer is shut.
        here = np.linalg.norm(starts - middle, axis=1)
        free &= np.linalg.norm(nearest - middle, axis=1) >= np.minimum(radius, here) - 1e-9
    safe = np.where(np.abs(along) < 1e-12, 1e-12, along)
    for left, top, right, bottom in boxes:
        enter, leave = (np.array(side) - starts for side in ((left, top), (right, bottom)))
        first, last = enter / safe, leave / safe
        into = np.minimum(first, last).max(axis=1)
        out = np.maximum(first, last).min(axis=1)
        free &= ~((into < out - 1e-9) & (out > 1e-9) & (into < 1 - 1e-9))
    return free
