"""When each frame of a video is shown: pure arithmetic on timestamps, no file in sight.

    packets, file order    I0  P4  B2  B1  B3  I8  ...     what demuxing tells, without decoding
    timeline.pts            0   1   2   3   4   8  ...     when a viewer sees a frame, in ticks
    timeline.keyframes      0                   8          where decoding can start

Time zero is the first frame that a viewer sees, whatever start offset or edit list the file has. A
jump in the timestamps is not footage: seconds go on after it as if the next frame had followed at
the usual interval. `pts` stay as the file has them, for seeking.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from nexus.data.videos.gaps import gaps_after, is_gap, usual_interval
from nexus.data.videos.packet_scan import MISSING, PacketScan

MIN_SKIP = 8
"""A seek inside one request pays when it saves decoding at least this many frames."""


SETUP_ONCE = "some of its packets bring what all later ones need (a palette, a header)"
"""Why a file is decoded from the start though its keyframes may be good."""


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
        from_start: why decoding cannot start anywhere but at the first keyframe, in words; empty:
            it can.
        marks: int64, one a keyframe, by which its packet is known again; empty: not known.
    """

    pts: np.ndarray
    keyframes: np.ndarray
    tick: Fraction
    tail: int
    by_order: bool = False
    from_start: str = ""
    marks: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.pts)

    @cached_property
    def gaps(self) -> np.ndarray:
        """int64 (gaps,): positions of the frames after which the timestamps jump."""
        return gaps_after(self.pts, self.tail, self.tick)

    @property
    def seconds(self) -> np.ndarray:
        """float64 (frames,): when each frame appears, seconds after the first; gaps are closed."""
        return self._ticks * float(self.tick)

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the moment the last one leaves the screen."""
        return float((self._length + self.tail) * self.tick)

    @property
    def fps(self) -> float:
        """Average frames a second; of a single frame, one over the time it is shown."""
        if len(self) == 1:
            return float(1 / (self.tail * self.tick))
        return float((len(self) - 1) / (self._length * self.tick))

    @property
    def _ticks(self) -> np.ndarray:
        """int64 (frames,): ticks from the first frame to each, gaps closed."""
        if not self.gaps.size:
            return self.pts - self.pts[0]
        intervals = np.diff(self.pts)
        intervals[self.gaps] = usual_interval(self.pts, self.tail)
        return np.concatenate([[0], np.cumsum(intervals)])

    @property
    def _length(self) -> int:
        if self.gaps.size:
            return int(self._ticks[-1])
        return int(self.pts[-1]) - int(self.pts[0])

    def gap_seconds(self) -> list[float]:
        """How long each of the `gaps` is, in seconds of the file's timestamps."""
        usual = usual_interval(self.pts, self.tail)
        return [
            float((int(self.pts[at + 1]) - int(self.pts[at]) - usual) * self.tick)
            for at in self.gaps.tolist()
        ]

    def decoded_from_start(self, why: str) -> "Timeline":
        """The same frames, for a file in which no keyframe but the first can be trusted."""
        return replace(self, keyframes=self.keyframes[:1], marks=self.marks[:1], from_start=why)

    def mark_of(self, keyframe: int) -> int | None:
        """The mark of the keyframe at this pts."""
        return (
            int(self.marks[np.searchsorted(self.keyframes, keyframe)]) if len(self.marks) else None
        )

    @property
    def variable_frame_rate(self) -> bool:
        """Whether frame intervals differ by more than rounding to ticks or 10 % explains."""
        if len(self) < 3:
            return False
        intervals = np.diff(self._ticks)
        usual = float(np.median(intervals))
        allowed = max(0.1 * usual, min(1.0, 0.5 * usual))
        return bool(np.any(np.abs(intervals - usual) > allowed + 1e-9))

    def first(self, count: int) -> "Timeline":
        """The timeline of the first `count` frames (at least one)."""
        pts = self.pts[:count]
        if count >= len(self):
            return replace(self, pts=pts)
        ticks = self._ticks
        return replace(self, pts=pts, tail=int(ticks[count] - ticks[count - 1]))

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
    last = int(np.argmax(np.where(shown, scan.pts, MISSING)))
    keyframes = np.flatnonzero(scan.decodable() & scan.keyframe)
    keyframes = keyframes[np.argsort(scan.pts[keyframes])]
    timeline = Timeline(
        pts=pts,
        keyframes=scan.pts[keyframes],
        tick=tick,
        tail=_tail(pts, int(scan.duration[last]), tick),
        marks=scan.mark[keyframes],
    )
    return timeline.decoded_from_start(SETUP_ONCE) if scan.sets_up_once else timeline


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
    # At a steady rate a short last frame is an artefact of muxing; a long one is meant (GIF), but
    # not one that would be a gap between two frames.
    absurd = stated > 0 and is_gap(stated, usual, tick)
    return usual if stated <= 0 or absurd or (steady and stated < 1.5 * usual) else stated
