"""The first episodes of a policy as one moving picture.

now | goal   now | goal   now | goal   now | goal   now | goal
----------   ----------   ----------   ----------   ----------      a bar a cell: blue where the
now | goal   now | goal   ...                                       goal is reached at the end
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from nexus.atomic import atomic_path
from nexus.control.evaluation import Film

REACHED, MISSED, GROUND = (43, 108, 176), (194, 87, 12), (255, 255, 255)
COLUMNS = 5
BAR, GAP = 3, 6
"""Pixels."""
MILLISECONDS = 120
"""Each frame is shown so long; the last one ten times as long."""


def write_film(path: Path, films: Sequence[Film]) -> None:
    """Write the episodes side by side as an animated WebP file; shorter ones stay at their end.

    Raises:
        OutputError: there is no space left.
    """
    pictures = [Image.fromarray(frame) for frame in montage(films)]
    shown = [MILLISECONDS] * (len(pictures) - 1) + [10 * MILLISECONDS]
    with atomic_path(path) as place:
        pictures[0].save(
            place,
            "WEBP",
            save_all=True,
            append_images=pictures[1:],
            duration=shown,
            loop=0,
            quality=70,
            method=2,
        )


def montage(films: Sequence[Film]) -> UInt8[np.ndarray, "frames height width 3"]:
    """All episodes in one picture, at each of their steps."""
    cells = [_cell(film) for film in films]
    length = max(map(len, cells))
    _, height, width, _ = cells[0].shape
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    page = np.empty(
        (length, rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), np.uint8
    )
    page[:] = GROUND
    for number, cell in enumerate(cells):
        top, left = (number // columns) * (height + GAP), (number % columns) * (width + GAP)
        last = np.minimum(np.arange(length), len(cell) - 1)
        page[:, top : top + height, left : left + width] = cell[last]
    return page


def _cell(film: Film) -> UInt8[np.ndarray, "frames height width 3"]:
    count, height, width, _ = film.frames.shape
    cell = np.empty((count, height + BAR, 2 * width + 1, 3), np.uint8)
    cell[:] = GROUND
    cell[:, :height, :width] = film.frames
    cell[:, :height, width + 1 :] = film.goal
    cell[:, height:] = REACHED if film.solved else MISSED
    return cell
