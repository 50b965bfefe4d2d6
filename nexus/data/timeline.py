"""When each frame of a video is shown: pure arithmetic on timestamps, no file in sight.

    packets, file order    I0  P4  B2  B1  B3  I8  ...     what demuxing tells, without decoding
    timeline.pts            0   1   2   3   4   8  ...     when a viewer sees a frame, in ticks
    timeline.keyframes      0                   8          where decoding can start

Time zero is the first frame that a viewer sees, whatever start offset or edit list the file has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

MISSING = np.iinfo(np.int64).min
"""Stands for "the container gives no timestamp" in the integer arrays below."""

MIN_SKIP = 8
"""A seek inside one request pays when it saves decoding at least this many frames."""


@dataclass(frozen=True, eq=False)
class PacketScan:
    """The packets of one video stream in file order; all arrays have one entry a packet.

    `pts`, `dts` and `duration` are in ticks (`MISSING` where the container gives none); `discard`
    marks packets that an edit list hides; `hidden` those that never make a picture.
    """

    pts: np.ndarray
    dts: np.ndarray
    duration: np.ndarray
    keyframe: np.ndarray
    discard: np.ndarray
    corrupt: np.ndarray
    hidden: np.ndarray
    error: str | None = None

    def __len__(self) -> int:
        return len(self.pts)

    def decodable(self) -> np.ndarray:
        """Which packets a decoder can use: from a keyframe on, until damage, from the next one on.

        After a (re)start at a keyframe, frames shown before it lack their references.
        """
        if len(self) == 0:
            return np.zeros(0, dtype=bool)
        order = np.arange(len(self))
        event = np.maximum.accumulate(np.where(self.corrupt | self.keyframe, order, -1))
        good = (event >= 0) & ~self.corrupt[event]
        restart = good & ~np.concatenate([[False], good[:-1]])
        entry = np.maximum.accumulate(np.where(restart, order, 0))
        return good & ((self.pts >= self.pts[entry]) | (self.pts == MISSING))


@dataclass(frozen=True, eq=False)
class Timeline:
    """The frames of one video in the order in which they are shown.

    Args:
        pts: int64, strictly increasing, ticks.
        keyframes: int64, increasing, ticks; where decoding can start (may lie before `pts[0]`).
        tick: seconds a tick.
        tail: ticks that the last frame stays on screen.
        by_order: the container's timestamps cannot be matched to frames; a frame is found by
            counting from the start.
    """

    pts: np.ndarray
    keyframes: np.ndarray
    tick: Fraction
    tail: int
    by_order: bool = False

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def seconds(self) -> np.ndarray:
        """float64 (frames,): when each frame appears, seconds after the first."""
        return (self.pts - self.pts[0]) * float(self.tick)

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the moment the last one leaves the screen."""
        return float((int(self.pts[-1]) + self.tail - int(self.pts[0])) * self.tick)

    @property
    def fps(self) -> float:
        """Average frames a second; of a single frame, one over the time it is shown."""
        if len(self) == 1:
            return float(1 / (self.tail * self.tick))
        return float((len(self) - 1) / ((int(self.pts[-1]) - int(self.pts[0])) * self.tick))

    @property
    def variable_frame_rate(self) -> bool:
        """Whether frame intervals differ by more than rounding to ticks or 10 % explains."""
        if len(self) < 3:
            return False
        intervals = np.diff(self.pts)
        usual = float(np.median(intervals))
        allowed = max(0.1 * usual, min(1.0, 0.5 * usual))
        return bool(np.any(np.abs(intervals - usual) > allowed + 1e-9))

    def first(self, count: int) -> "Timeline":
        """The timeline of the first `count` frames (at least one)."""
        pts = self.pts[:count]
        tail = self.tail if count >= len(self) else int(self.pts[count] - self.pts[count - 1])
        return replace(self, pts=pts, tail=tail)

    def runs(self, wanted: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Split sorted frame positions into forward passes, seeking only where it pays.

        Args:
            wanted: int64 (n,), increasing positions in `pts`, n >= 1.

        Returns:
            `(pts of the keyframe to start at, the positions it is for)` for each pass.
        """
        pts = self.pts[wanted]
        entry = np.maximum(np.searchsorted(self.keyframes, pts, side="right") - 1, 0)
        first_of_entry = np.searchsorted(self.pts, self.keyframes[entry])
        skipped = first_of_entry[1:] - wanted[:-1] - 1
        starts = np.flatnonzero((np.diff(entry) > 0) & (skipped >= MIN_SKIP)) + 1
        return [
            (int(self.keyframes[entry[np.searchsorted(wanted, part[0])]]), part)
            for part in np.split(wanted, starts)
        ]


def timeline_from_packets(scan: PacketScan, tick: Fraction, *, stores_pts: bool) -> Timeline | None:
    """The timeline that the packets announce; None if they cannot be trusted to tell it.

    Args:
        scan: the packets, in file order.
        tick: seconds a tick.
        stores_pts: the format writes presentation times (AVI writes only an order of decoding, so
            with reordered frames its timestamps are guesses).
    """
    shown = scan.decodable() & ~scan.discard & ~scan.hidden
    pts = np.sort(scan.pts[shown])
    if pts.size == 0 or pts[0] == MISSING or np.any(np.diff(pts) == 0):
        return None
    dts = scan.dts[scan.dts != MISSING]
    if np.any(np.diff(dts) < 0):
        return None
    if not stores_pts and not np.array_equal(scan.pts, scan.dts):
        return None
    keyframes = np.sort(scan.pts[scan.decodable() & scan.keyframe])
    last = int(np.argmax(np.where(shown, scan.pts, MISSING)))
    return Timeline(
        pts=pts,
        keyframes=keyframes,
        tick=tick,
        tail=_tail(pts, int(scan.duration[last]), tick),
    )


def timeline_from_frames(
    frames: Sequence[tuple[int | None, int | None, int]], tick: Fraction, rate: Fraction | None
) -> Timeline:
    """The timeline of frames that came out of a decoder, one after the other.

    Args:
        frames: `(pts, dts, duration)` of each decoded frame, in output order, ticks; not empty.
        tick: seconds a tick.
        rate: the frame rate the container states; used if no timestamps make sense.
    """
    for column in (0, 1):
        stamps = [frame[column] for frame in frames]
        if all(stamp is not None for stamp in stamps):
            pts = np.array(stamps, dtype=np.int64)
            if np.all(np.diff(pts) > 0):
                tail = _tail(pts, frames[-1][2], tick)
                return _by_order(pts, tick, tail)
    return _by_order(np.arange(len(frames), dtype=np.int64), 1 / (rate or Fraction(25)), 1)


def _by_order(pts: np.ndarray, tick: Fraction, tail: int) -> Timeline:
    return Timeline(pts, np.zeros(0, dtype=np.int64), tick, tail, by_order=True)


def _tail(pts: np.ndarray, stated: int, tick: Fraction) -> int:
    """How long the last frame is shown: as stated, or as long as frames usually are."""
    if len(pts) < 2:
        return stated if stated > 0 else max(1, round(Fraction(1, 25) / tick))
    intervals = np.diff(pts)
    usual = max(1, round(float(np.median(intervals))))
    steady = intervals.max() <= 1.1 * usual + 1
    # At a steady rate a short last frame is an artefact of muxing; a long one is meant (GIF).
    return usual if stated <= 0 or (steady and stated < 1.5 * usual) else stated
