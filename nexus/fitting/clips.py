"""Which clips: how many frames at which rate, from how things move and how long videos last.

The rate is one at which two neighbouring tubelets differ, but still have to do with each other.
Then most videos have to hold a whole clip: a higher rate or fewer frames make it shorter. What is
shorter still is filled up with its last frame.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nexus.data.clip_spec import ClipSpec
from nexus.data.clips import holds
from nexus.errors import DataError
from nexus.fitting.facts import MOST, VideoFacts, given_value
from nexus.fitting.movement import STILL, Movement

RATES = (1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 30.0)
"""Frames a second to choose from."""
USUAL_RATE = 4.0
"""Where movement says nothing: the rate of V-JEPA 2's training (arXiv 2506.09985)."""
RELATED = 0.68
"""Change between neighbouring tubelets, as a share of the largest: above it, they are unrelated."""
SHORTEST = 1.0
"""Seconds that a clip should last, where videos allow it."""
FASTER = 2.0
"""So many times the rate that movement asks for is better than fewer frames."""
SHORTER = (1, 2, 4)
"""A clip has the usual number of frames, or so many times fewer; the best comes first."""
EPOCH = 512
"""Clips that an epoch should have, where the videos are long enough for them."""
HALF = 0.5
"""Where most videos hold no clip of a usual length, so many have to, or the clip is shortened."""


def choose_clips(
    facts: VideoFacts, given: Mapping[str, Any], *, usual: int, tubelet: int, longer: int = 1
) -> ClipSpec:
    """Choose frames, rate, padding and clips a video around what is given.

    Args:
        given: nested settings of a recipe that are not to be chosen.
        usual: frames that a clip has where videos allow it.
        tubelet: frames that make one time step of tokens.
        longer: also try so many times the usual frames, if most videos hold them.

    Raises:
        DataError: no video holds a clip as it was asked for.
    """
    asked = given_value(given, "data.clip") or {}
    frames = given_value(given, "model.num_frames")
    lengths = (frames,) if frames else _lengths(usual, tubelet, longer)
    stride, fps = asked.get("stride"), asked.get("fps")
    if stride is not None or ("fps" in asked and fps is None):
        clips = [ClipSpec(num_frames=n, stride=stride or 1) for n in lengths]
    elif fps is not None:
        clips = [ClipSpec(num_frames=n, fps=fps) for n in lengths]
    else:
        clips = _clips(facts, lengths, rate_for(facts.movement, tubelet=tubelet))
    clip = _first_held(facts, clips, lengths)
    held, pad = share_held(facts, clip), asked.get("pad")
    if held == 0 and pad != "repeat_last":
        raise DataError(
            f"none of the {len(facts):,} videos is as long as a clip of {clip.num_frames} frames "
            f"{clip.pace}: the longest lasts {max(facts.durations):.2g} s and has "
            f"{max(facts.frames):,} frames; use longer videos, or data.clip.pad=repeat_last to "
            "fill up with the last frame"
        )
    per_video = min(math.ceil(EPOCH / len(facts)), int(facts.median_seconds / facts.lasts(clip)))
    return clip.with_changes(
        pad=pad or ("error" if held == 1 else "repeat_last"),
        clips_per_video=asked.get("clips_per_video") or max(1, per_video),
    )


def rate_for(movement: Movement, *, tubelet: int) -> float:
    """The rate that movement asks for, whatever the videos' own rates and lengths."""
    if max(movement.changes, default=0.0) < STILL:
        return USUAL_RATE
    related = (rate for rate in RATES if movement.share_at(tubelet / rate) <= RELATED)
    return next(related, RATES[-1])


def rates_up_to(own: float) -> list[float]:
    """Those of `RATES` that do not exceed videos' own; that one too where it lies between two."""
    rates = [rate for rate in RATES if rate <= 1.01 * own]
    between = own < RATES[-1] and (not rates or own > 1.05 * rates[-1])
    return [*rates, round(own, 3)] if between else rates


def share_held(facts: VideoFacts, clip: ClipSpec) -> float:
    """Share of the videos that hold a whole clip, and show no frame of it twice for want of any."""
    videos = zip(facts.frames, facts.durations, strict=True)
    held = (frames >= clip.num_frames and holds(clip, frames, long) for frames, long in videos)
    return sum(held) / len(facts)


def _lengths(usual: int, tubelet: int, longer: int) -> tuple[int, ...]:
    lengths = [usual * longer] * (longer > 1) + [usual // times for times in SHORTER]
    return tuple(n for n in lengths if n >= 2 * tubelet and n % tubelet == 0) or (2 * tubelet,)


def _clips(facts: VideoFacts, lengths: Sequence[int], wanted: float) -> list[ClipSpec]:
    """Clips to choose from, the best first."""
    rates, clips = rates_up_to(facts.common_rate), []
    for most in (FASTER, math.inf):
        for frames in lengths:
            start = max((r for r in rates if r <= min(wanted, frames / SHORTEST)), default=rates[0])
            faster = (rate for rate in rates if start <= rate <= most * start)
            clips += [ClipSpec(num_frames=frames, fps=rate) for rate in faster]
    return clips


def _first_held(facts: VideoFacts, clips: Sequence[ClipSpec], lengths: Sequence[int]) -> ClipSpec:
    """The first clip that most videos hold, then one that half of them do, then the most.

    The shortest clips say little: they are taken only where even half the videos hold no others.
    """
    shares = [share_held(facts, clip) for clip in clips]
    for enough, shortest in ((MOST, lengths[-2:][0]), (HALF, 0), (max(shares), 0)):
        for clip, share in zip(clips, shares, strict=True):
            if clip.num_frames >= shortest and share >= enough:
                return clip
    return clips[0]  # no video holds any of them
