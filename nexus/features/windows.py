"""Sliding windows over a video: pure arithmetic, no file in sight.

frames    0  1  2  3  4  5  6  7  8  9        num_frames 4, stride 1, overlap 0.5
window 0  [........]
window 1        [........]
window 2              [........]
window 3                    [........]

frames    0  1  2  3  4  5  6  7  8           one frame less: the last window is moved back,
window 3                 [........]           so that the end of the video is in it
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from nexus.data.clip_spec import ClipSpec
from nexus.data.clips import ClipTooShortError, FrameTimes
from nexus.errors import DataError

_TINY = 1e-6
_MOST_SHOWN = 100
"""A rate that shows each frame more often than this would write copies without end."""
_FEW = 1000  # windows; so many are never too many


@dataclass(frozen=True)
class Windows:
    """Windows in order: the frames of each, when they are due, and when it ends (seconds)."""

    indices: Int[ndarray, "windows frames"]
    times: Float[ndarray, "windows frames"]
    ends: Float[ndarray, " windows"]

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def starts(self) -> Float[ndarray, " windows"]:
        """When the first frame of each is due."""
        return self.times[:, 0]

    def part(self, first: int, stop: int) -> "Windows":
        """Windows `first` to `stop` (exclusive)."""
        return Windows(self.indices[first:stop], self.times[first:stop], self.ends[first:stop])


def slide(
    times: FrameTimes,
    clip: ClipSpec,
    overlap: float,
    *,
    start: float | None = None,
    end: float | None = None,
) -> Windows:
    """Cover a video, or its segment [start, end) seconds, with windows of `clip.num_frames` frames.

    Args:
        clip: frames a window and their rate (`fps`) or `stride`; its sampling does not matter.
        overlap: share of a window that the next one covers again, 0 to below 1.

    At a rate, a window starts when its first frame is due and ends one step after its last one is;
    with a stride, from the moment its first frame comes on screen until its last one leaves it.
    The last window reaches the end of the video (at a rate: to half a step).

    Raises:
        ClipTooShortError: the video does not fill one window and `clip.pad` is "error".
        DataError: at the rate of the clips most windows would hold one frame over and over, as
            with a time-lapse, or with timestamps that are wrong.
        ValueError: an overlap outside 0 to below 1.
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap: got {overlap}; expected a share from 0 to below 1")
    first, last = times.span(start, end)
    if clip.fps is None:
        return _by_stride(times, clip, overlap, first, last)
    return _by_rate(times, clip, clip.fps, overlap, first, last, end)


def _by_stride(times: FrameTimes, clip: ClipSpec, overlap: float, first: int, last: int) -> Windows:
    room = (last - first) - (clip.num_frames - 1) * clip.stride
    if room < 0 and clip.pad == "error":
        raise ClipTooShortError(
            f"a window of {clip.num_frames} frames at stride {clip.stride} does not fit into "
            f"{last - first + 1} frames; use fewer frames (--frames), or --pad "
            "(pad=repeat_last)"
        )
    room = max(room, 0)
    hop = max(1, round(clip.num_frames * clip.stride * (1 - overlap)))
    offsets = np.arange(0, room + 1, hop)
    if offsets[-1] < room:
        offsets = np.append(offsets, room)
    indices = first + offsets[:, None] + clip.stride * np.arange(clip.num_frames)
    indices = np.minimum(indices, last)
    due = times.time_of(indices.reshape(-1)).reshape(indices.shape)
    return Windows(indices, due, times.end_of(indices[:, -1]))


def _by_rate(
    times: FrameTimes,
    clip: ClipSpec,
    fps: float,
    overlap: float,
    first: int,
    last: int,
    end: float | None,
) -> Windows:
    begin, finish = times.bounds_of(np.array([first, last]))
    finish = finish if end is None else min(finish, end)
    length, until_last = clip.num_frames / fps, (clip.num_frames - 1) / fps
    if until_last > finish - begin - _TINY and clip.pad == "error":
        raise ClipTooShortError(
            f"a window of {clip.num_frames} frames at {fps:g} fps needs more than {until_last:.3f} "
            f"s, there are {finish - begin:.3f} s; use fewer frames (--frames), a higher "
            "rate (--fps), or --pad (pad=repeat_last)"
        )
    room = max(finish - begin - length, 0.0)
    hop = length * (1 - overlap)
    count, frames = room / hop + 1, last - first + 1
    if count > _FEW and (finish - begin) * fps > _MOST_SHOWN * frames:
        raise DataError(
            f"{count:,.0f} windows at {fps:g} fps of {frames} frames, which lie "
            f"{(finish - begin) / frames:,.1f} s apart; use a lower rate (--fps), "
            "or re-encode the video if its times are wrong"
        )
    offsets = hop * np.arange(int((room + _TINY) / hop) + 1)
    if room - offsets[-1] > 0.5 / fps:
        offsets = np.append(offsets, room)
    starts = begin + offsets
    due = starts[:, None] + np.arange(clip.num_frames) / fps
    indices = np.clip(times.shown_at(due.reshape(-1)), first, last).reshape(due.shape)
    return Windows(indices, due, np.minimum(starts + length, finish))
