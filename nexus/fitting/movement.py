"""How much the pictures of some videos change from one moment to a later one: small and sampled.

    change      |            . - - -      pictures so far apart have little to do with each other
                |        .
                |    .
                |  .
                +--|----|--------|---
                  1/32  1/4      2   seconds apart

A change is that of the tenth of the places that change most, so that a small thing that moves
counts as much as a camera that does; medians over pairs and stretches pass over cuts.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from nexus.data.catalog.catalog import Catalog
from nexus.data.loading.video_reader import VideoReader
from nexus.errors import DataError

SPACINGS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)
"""Seconds between the two pictures of a pair."""
SMALL_SIDE = 48
"""The short side of the pictures that are looked at, pixels."""
BOX = 3
"""Places are means over boxes of so many pixels a side: sensor noise averages out."""
BUSIEST = 0.1
"""Share of the places whose change counts."""
MOST_RECORDS, FEWEST_RECORDS = 32, 6
STRETCHES = 2
"""Parts of a video that are looked at, where it is long enough."""
SECONDS = 8.0
"""After so long no further video is looked at, once there are `FEWEST_RECORDS`."""
STILL = 3.0
"""Brightness levels, of 255: stretches that change less stand still but for noise."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Movement:
    """How much pictures change over each of some spacings.

    Args:
        spacings: seconds between two pictures, rising; those that some video is long enough for.
        changes: the change over each, brightness levels of 255; the median over stretches.
        still_share: share of the stretches that stand still.
        videos: how many were looked at.
    """

    spacings: tuple[float, ...] = ()
    changes: tuple[float, ...] = ()
    still_share: float = 0.0
    videos: int = 0

    def share_at(self, seconds: float) -> float:
        """The change over this spacing as a share of the largest, in [0, 1]; 1 if none is known."""
        most = max(self.changes, default=0.0)
        if most <= 0:
            return 1.0
        return float(np.interp(np.log(seconds), np.log(self.spacings), self.changes)) / most

    @property
    def visible_after(self) -> float | None:
        """The shortest spacing over which things move visibly, seconds; None: over none of them.

        Visibly: by at least `STILL` levels, and a third of the largest change.
        """
        enough = max(STILL, max(self.changes, default=0.0) / 3)
        pairs = zip(self.spacings, self.changes, strict=True)
        return next((spacing for spacing, change in pairs if change >= enough), None)


def look_at_movement(
    catalog: Catalog,
    *,
    most: int = MOST_RECORDS,
    seconds: float = SECONDS,
    progress: Callable[[int, int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Movement:
    """Look at a sample of the videos, evenly spread; files that do not decode are passed over.

    Args:
        most: videos to look at.
        seconds: after which no further one is begun.
        progress: called with (videos looked at, videos to look at).
        clock: a monotonic clock in seconds.
    """
    reader = VideoReader(catalog, SMALL_SIDE)
    numbers = spread(len(catalog.records), most)
    begin, looked = clock(), 0
    curves: list[list[float]] = []
    for done, number in enumerate(numbers):
        if looked >= FEWEST_RECORDS and clock() - begin > seconds:
            break
        try:
            curves += [changes_of(part) for part in _stretches(reader, number)]
            looked += 1
        except (DataError, OSError):
            continue  # training names the file and counts it
        finally:
            if progress is not None:
                progress(done + 1, len(numbers))
    return summary(curves, looked)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, evenly spread; any first few are spread too."""
    even = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
    # From coarse to fine: every 16th, then those halfway between, ...
    order = sorted(range(len(even)), key=lambda place: (-(place & -place or len(even)), place))
    return [even[place] for place in order]


def changes_of(pictures: Float32[np.ndarray, "moments height width"]) -> list[float]:
    """The change over each of `SPACINGS` within one stretch, NaN for those longer than it.

    Args:
        pictures: brightness 0..255, `SPACINGS[0]` seconds apart.
    """
    height, width = (max(BOX, side // BOX * BOX) for side in pictures.shape[1:])
    boxes = pictures[:, :height, :width]
    if boxes.shape[1:] == (height, width):
        boxes = boxes.reshape(len(boxes), height // BOX, BOX, width // BOX, BOX).mean((2, 4))
    places = boxes.reshape(len(boxes), -1)
    busiest = max(1, round(BUSIEST * places.shape[1]))
    changes = []
    for spacing in SPACINGS:
        apart = round(spacing / SPACINGS[0])
        if apart >= len(places):
            changes.append(float("nan"))
            continue
        differences = np.abs(places[apart:] - places[:-apart])
        top = np.partition(differences, -busiest, axis=1)[:, -busiest:].mean(axis=1)
        changes.append(float(np.median(top)))
    return changes


def summary(curves: Sequence[Sequence[float]], videos: int) -> Movement:
    """The movement that the changes of some stretches make together."""
    if not curves:
        return Movement(videos=videos)
    table = np.array(curves)
    known = [not np.isnan(column).all() for column in table.T]
    largest = np.nanmax(np.where(known, table, 0.0), axis=1)
    still = np.isnan(table[:, 0]) | (largest < STILL)
    return Movement(
        spacings=tuple(spacing for spacing, there in zip(SPACINGS, known, strict=True) if there),
        changes=tuple(np.nanmedian(table[:, known], axis=0).tolist()),
        still_share=float(still.mean()),
        videos=videos,
    )


def _stretches(reader: VideoReader, number: int):
    """Small pictures of the parts of a video that are looked at, one array a part."""
    record = reader.catalog.records[number]
    times = reader.times(number)
    first, last = times.span(record.start, record.end)
    begin, end = (
        float(times.time_of(np.array([first]))[0]),
        float(times.end_of(np.array([last]))[0]),
    )
    long = SPACINGS[-1] + 4 * SPACINGS[0]
    parts = STRETCHES if end - begin >= STRETCHES * long else 1
    count = int(min(long, end - begin) / SPACINGS[0])
    for part in range(parts):
        start = begin + (end - begin - count * SPACINGS[0]) * (part + 0.5) / parts
        moments = start + np.arange(max(1, count)) * SPACINGS[0]
        frames = np.clip(times.shown_at(moments), first, last)
        yield reader.frames(number, frames).astype(np.float32) @ _LUMA
