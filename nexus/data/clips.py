"""Which frames make a clip: pure index and time arithmetic, no video file in sight.

At a rate (`fps`), a clip is a grid of times; each time takes the frame that is on screen then:

    frames   |  0  |  1  |  2     |  3  |  4  |      (an uneven, real video)
    grid        ^        ^        ^         ^
    clip        0        1        2         4

With a `stride`, a clip is every stride-th frame, whatever the frames' times are.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from nexus.data.clip_spec import ClipSpec
from nexus.errors import DataError

TICK = 1e-6
"""Container clocks tick at 1/90000 s or coarser: this separates rounding from a real step."""


class ClipTooShortError(DataError):
    """A video (or the segment of it that is used) cannot fill a clip."""


@dataclass(frozen=True)
class FrameTimes:
    """When each frame of a video comes on screen: at a steady rate from 0 s, or by timestamps.

    `timestamps` are seconds in presentation order, not decreasing; None means that frame i comes
    at `i / fps`.

    Raises:
        DataError: no frames, a rate that is not positive, or timestamps that run backwards.
    """

    num_frames: int
    fps: float
    timestamps: Float64[np.ndarray, " frames"] | None = None

    def __post_init__(self) -> None:
        if self.num_frames < 1 or not self.fps > 0:
            raise DataError(
                f"got {self.num_frames} frames at {self.fps} fps; expected at least "
                "one frame and a positive rate"
            )
        if self.timestamps is not None and np.any(np.diff(self.timestamps) < 0):
            raise DataError("timestamps run backwards; expected presentation order")

    @classmethod
    def from_timestamps(
        cls, timestamps: Float64[np.ndarray, " frames"], fps: float = 1.0
    ) -> "FrameTimes":
        """Real presentation times (seconds); to the microsecond steady ones become a rate.

        A single frame, whose rate they do not tell, has `fps`.
        """
        stamps = np.asarray(timestamps, np.float64)
        if len(stamps) < 2 or stamps[-1] <= stamps[0]:
            return cls(len(stamps), fps, stamps)
        fps = float((len(stamps) - 1) / (stamps[-1] - stamps[0]))
        steady = np.all(np.abs(stamps - np.arange(len(stamps)) / fps) < TICK)
        return cls(len(stamps), fps, None if steady else stamps)

    def time_of(self, indices: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """When each of these frames comes on screen, in seconds."""
        return indices / self.fps if self.timestamps is None else self.timestamps[indices]

    def end_of(self, indices: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """When each of these frames leaves the screen; the last one stays an average step."""
        if self.timestamps is None:
            return (indices + 1) / self.fps
        return np.append(self.timestamps[1:], self.timestamps[-1] + 1 / self.fps)[indices]

    def bounds_of(self, indices: Int64[np.ndarray, " n"]) -> tuple[float, float]:
        """When the first of these frames comes on screen and the last one leaves it."""
        ends = np.array([indices.min(), indices.max()])
        return float(self.time_of(ends)[0]), float(self.end_of(ends)[1])

    def count_before(self, times: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """How many frames come on screen before each time."""
        if self.timestamps is not None:
            return np.searchsorted(self.timestamps, times, side="left").astype(np.int64)
        return np.clip(np.ceil(times * self.fps), 0, self.num_frames).astype(np.int64)

    def shown_at(self, times: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """The frame that is on screen at each time (the first or last one outside the video)."""
        return np.clip(self.count_before(times + TICK) - 1, 0, self.num_frames - 1)

    def asked_at(self, times: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """The frame on screen at each time that somebody asks for.

        Raises:
            DataError: a time later than one frame's step after the end.
        """
        end = self.end_of(np.array([self.num_frames - 1]))[0]
        if times.size and times.max() > end + 1 / self.fps:
            raise DataError(
                f"asked for the frame at {times.max():.3f} s, but the video ends at {end:.3f} s; "
                "has the file changed since it was indexed?"
            )
        return self.shown_at(times)

    def span(self, start: float | None = None, end: float | None = None) -> tuple[int, int]:
        """First and last frame that come on screen in the segment [start, end) seconds.

        Raises:
            ClipTooShortError: the segment holds no frame.
        """
        first, last = 0, self.num_frames - 1
        if start is not None:
            first = int(self.count_before(np.array([start - TICK]))[0])
        if end is not None:
            last = min(last, int(self.count_before(np.array([end - TICK]))[0]) - 1)
        if last < first:
            raise ClipTooShortError(
                f"the segment from {start} to {end} s holds none of the video's {self.num_frames} "
                "frames; expected start < end, both inside the video"
            )
        return first, last


@dataclass(frozen=True)
class Clip:
    """The frames of one clip in playing order, and when each comes on screen (seconds)."""

    indices: Int64[np.ndarray, " frames"]
    times: Float64[np.ndarray, " frames"]


def choose_clip(
    timeline: FrameTimes,
    spec: ClipSpec,
    rng: np.random.Generator,
    *,
    number: int = 0,
    start: float | None = None,
    end: float | None = None,
) -> Clip:
    """Choose the frames of one clip.

    Args:
        number: which of the video's `clips_per_video` clips (matters for "uniform" only).
        start, end: the segment [start, end) of the video that may be used, in seconds.

    Raises:
        ClipTooShortError: the segment cannot fill the clip and `spec.pad` is "error".
    """
    first, last = timeline.span(start, end)
    begin, finish = timeline.bounds_of(np.array([first, last]))
    finish = finish if end is None else min(finish, end)
    if spec.pad == "error":
        _check_length(spec, last - first + 1, finish - begin)
    if spec.fps is None:
        indices = _by_stride(spec, rng, number, first, last)
    else:
        indices = _by_rate(timeline, spec, rng, number, begin, last, finish)
    indices = np.clip(indices, first, last)
    if spec.reversal and rng.random() < spec.reversal:
        indices = indices[::-1].copy()
    return Clip(indices, timeline.time_of(indices))


def holds(spec: ClipSpec, frames: int, seconds: float) -> bool:
    """Whether so many frames, on screen for so long in all, fill a clip."""
    if spec.fps is None:
        return frames > (spec.num_frames - 1) * spec.stride
    return (spec.num_frames - 1) / spec.fps <= seconds - TICK


def _check_length(spec: ClipSpec, frames: int, seconds: float) -> None:
    if holds(spec, frames, seconds):
        return
    count, pad = spec.num_frames, "data.clip.pad=repeat_last (--pad)"
    if spec.fps is None:
        raise ClipTooShortError(
            f"{count} frames at stride {spec.stride} span {(count - 1) * spec.stride + 1} frames, "
            f"the video has {frames}; use fewer frames, a smaller stride, or {pad}"
        )
    raise ClipTooShortError(
        f"{count} frames at {spec.fps:g} fps need more than {(count - 1) / spec.fps:.3f} s, the "
        f"video has {seconds:.3f} s; use fewer frames, a higher fps, or {pad}"
    )


def _by_stride(
    spec: ClipSpec, rng: np.random.Generator, number: int, first: int, last: int
) -> Int64[np.ndarray, " frames"]:
    length = spec.num_frames
    room = max((last - first) - (length - 1) * spec.stride, 0)
    where = _place(spec, rng, number)
    offset = int(where * (room + 1)) if spec.sampling == "random" else int(where * room + 0.5)
    indices = first + offset + spec.stride * np.arange(length, dtype=np.int64)
    if spec.jitter:
        most = int(spec.jitter * spec.stride)  # below half a stride: neighbours never meet
        indices += rng.integers(-most, most, size=length, endpoint=True)
    return indices


def _by_rate(
    timeline: FrameTimes,
    spec: ClipSpec,
    rng: np.random.Generator,
    number: int,
    begin: float,
    last: int,
    finish: float,
) -> Int64[np.ndarray, " frames"]:
    assert spec.fps is not None
    length = spec.num_frames
    # A random start may fall anywhere while the last frame is still on screen: were it bounded by
    # the moment when that frame appears, the last frame would never be drawn.
    until = finish if spec.sampling == "random" else timeline.time_of(np.array([last]))[0]
    room = max(until - begin - (length - 1) / spec.fps, 0.0)
    times = begin + _place(spec, rng, number) * room + np.arange(length) / spec.fps
    if spec.jitter:
        times = times + rng.uniform(-spec.jitter, spec.jitter, length) / spec.fps
    return timeline.shown_at(times)


def _place(spec: ClipSpec, rng: np.random.Generator, number: int) -> float:
    """Where the clip starts, as a share of the room for it."""
    if spec.sampling == "random":
        return rng.random()
    if spec.sampling == "center" or spec.clips_per_video == 1:
        return 0.5
    return number / (spec.clips_per_video - 1)
