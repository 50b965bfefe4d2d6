"""A source looked at once, small: where it is cut, and which stretches a clip can take.

    moments   0 1 2 3 4 5 6 7 8 9 ...      the benchmark's frame rate, whatever the file's is
    cuts              |         |          between moments 3 and 4, and 8 and 9
    shots     [-----] [-------] [--        a clip lies within one

A file is decoded once to look at it; each stretch that clips are cut from is decoded once more.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from nexus.data.catalog.catalog import Catalog
from nexus.data.loading.video_reader import VideoReader
from nexus.data.views import reduced
from nexus.errors import DataError
from nexus.motion.config import MotionConfig
from nexus.motion.windows import reach, zoom_reach

LOOK_SECONDS = 120.0
"""A longer source is looked at in `SECTIONS` parts, evenly spread, that last this long together."""
SECTIONS = 8
SMALL_SIDE = 48
"""The short side of the pictures that are looked at, pixels."""
CUT_LEVEL = 20.0
"""Mean change of brightness (of 255) between two moments from which there may be a cut."""
CUT_RATIO = 3.0
"""A cut changes this many times more than the moments around it do in the median."""
CUT_AROUND = 0.5
"""Seconds before and after that count as around."""
MOST_STARTS = 32
"""Stretches of a source that clips are cut from, evenly spread."""
START_EVERY = 0.25
"""Seconds between stretches where there are fewer."""
KEPT_EVERY = 0.25
"""Seconds between the small pictures that are kept to choose places by."""
MOST_DETAIL = 4
"""Pictures are brought down to a short side of so many clip sides before windows are cut."""


@dataclass(frozen=True)
class Footage:
    """What is known of one source once it was looked at.

    `times`: seconds of each moment; `starts`: moments at which a clip may start; `shots`: their
    first and one after their last moment; `height`, `width`: of the pictures that windows are cut
    from; `small`: brightness of small pictures, every `kept_every` moments; `seconds`: how
    long the shots are together that are as long as a clip.
    """

    number: int
    times: Float64[np.ndarray, " moments"]
    shots: tuple[tuple[int, int], ...]
    starts: Int64[np.ndarray, " starts"]
    height: int
    width: int
    small: UInt8[np.ndarray, "kept small_height small_width"]
    kept_every: int
    seconds: float


def look_at(catalog: Catalog, number: int, config: MotionConfig) -> Footage:
    """Look at one record of a catalog: small pictures of it, its cuts, its stretches.

    Raises:
        DataError: it does not decode, is too small, or no shot of it lasts as long as a clip.
    """
    record = catalog.records[number]
    height, width = reduced(record.height, record.width, MOST_DETAIL * config.size)
    smallest_side(height, width, config)
    reader = VideoReader(catalog, SMALL_SIDE)
    known = reader.times(number)
    first, last = known.span(record.start, record.end)
    begin, end = known.time_of(np.array([first]))[0], known.end_of(np.array([last]))[0]
    times, sections = moments(float(begin), float(end), config.fps)
    numbers = np.clip(known.shown_at(times), first, last)
    small = reader.frames(number, numbers).astype(np.float32) @ np.array(
        [0.299, 0.587, 0.114], np.float32
    )
    cuts = sections | find_cuts(small, config.fps)
    edges = [0, *np.flatnonzero(cuts).tolist(), len(times)]
    shots = tuple((a, b) for a, b in pairwise(edges) if b > a)
    starts = starts_in(shots, config)
    if not starts.size:
        longest = max(b - a for a, b in shots) / config.fps
        raise DataError(
            f"{record.path}: its longest shot lasts {longest:.1f} s, a clip {config.seconds:g} s"
        )
    kept_every = max(1, round(KEPT_EVERY * config.fps))
    kept = np.round(small[::kept_every]).astype(np.uint8)
    long = sum(b - a for a, b in shots if b - a >= config.num_frames)
    return Footage(number, times, shots, starts, height, width, kept, kept_every, long / config.fps)


def moments(
    begin: float, end: float, fps: float, look_seconds: float = LOOK_SECONDS
) -> tuple[Float64[np.ndarray, " moments"], Bool[np.ndarray, " moments"]]:
    """The times that are looked at, and at which of them (not the first) another part begins."""
    count = max(1, math.floor((end - begin) * fps + 1e-6))
    if count <= look_seconds * fps:
        return begin + np.arange(count) / fps, np.zeros(count, dtype=bool)
    part = max(1, round(look_seconds * fps / SECTIONS))
    firsts = np.round(np.linspace(0, count - part, SECTIONS)).astype(int)
    places = (firsts[:, None] + np.arange(part)).ravel()
    begins = np.arange(len(places)) % part == 0
    begins[0] = False
    return begin + places / fps, begins


def find_cuts(
    pictures: np.ndarray, fps: float, *, level: float = CUT_LEVEL, ratio: float = CUT_RATIO
) -> Bool[np.ndarray, " moments"]:
    """Whether there is a cut before each picture: float (moments, height, width), 0..255.

    There is one where the mean absolute change of brightness is at least `level`, and at least
    `ratio` times its median within half a second before and after. Fades and dissolves are none.
    """
    # Three by three means: small motions of fine detail are no change.
    height, width = (side // 3 * 3 for side in pictures.shape[1:3])
    coarse = pictures[:, :height, :width].reshape(-1, height // 3, 3, width // 3, 3).mean((2, 4))
    change = np.abs(np.diff(coarse, axis=0)).mean(axis=(1, 2))
    around = max(2, round(CUT_AROUND * fps))
    cuts = np.zeros(len(pictures), dtype=bool)
    for place in np.flatnonzero(change >= level):
        near = change[max(0, place - around) : place + around + 1]
        cuts[place + 1] = change[place] >= ratio * np.median(near)
    return cuts


def starts_in(
    shots: tuple[tuple[int, int], ...], config: MotionConfig, most: int = MOST_STARTS
) -> Int64[np.ndarray, " starts"]:
    """The moments at which clips may start, at most `most`; each clip lies within a shot."""
    step = max(1, round(START_EVERY * config.fps))
    every = np.concatenate(
        [np.arange(a, max(a, b - config.num_frames + 1), step) for a, b in shots] or [[]]
    ).astype(np.int64)
    if len(every) <= most:
        return every
    return every[np.round(np.linspace(0, len(every) - 1, most)).astype(int)]


def largest_side(height: int, width: int, config: MotionConfig) -> float:
    """The largest side of a place, pixels: from the middle, every window stays in the picture."""
    return min(height, width) / (2 * reach(config.seconds))


def smallest_side(height: int, width: int, config: MotionConfig) -> float:
    """The smallest side of a place: half the largest, but not so few pixels that it is a blur.

    Raises:
        DataError: the picture is too small.
    """
    largest = largest_side(height, width, config)
    if largest < config.size / 2:
        needed = math.ceil(config.size * reach(config.seconds))
        raise DataError(
            f"{width}x{height} pixels are too few for clips of {config.size} pixels and "
            f"{config.seconds:g} s: both sides must be at least {needed}"
        )
    return min(largest, max(largest / 2, config.size * 0.75))


def details(side: float, config: MotionConfig) -> float:
    """How many details a window shows along a side, in a clip that goes through this side.

    As many as the narrowest window of a zoom has pixels, whatever the clip does: clips of all
    classes are as sharp as each other, and so are the first and the last frame of each.
    """
    return min(config.size, side / zoom_reach(config.seconds))
