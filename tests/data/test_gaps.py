"""Jumps in the timestamps, against a slow loop over the definition and in whole files."""

from fractions import Fraction
from statistics import median_low

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misleading_videos import jumping
from odd_videos import read_number, write_clip

from nexus.data.catalog.inspection import inspect
from nexus.data.clip_spec import ClipSpec
from nexus.data.clips import FrameTimes, choose_clip
from nexus.data.videos.pyav import PyAVDecoder
from nexus.data.videos.timeline import Timeline
from nexus.errors import DataError
from nexus.features.windows import slide

HOUR = 3600 * 30  # frames


def timeline(intervals: list[int], tick: Fraction, tail: int) -> Timeline:
    pts = np.cumsum([5, *intervals])
    return Timeline(pts, np.array([5]), tick, tail)


@settings(deadline=None)
@given(
    intervals=st.lists(st.one_of(st.integers(1, 4), st.integers(1, 10**9)), max_size=30),
    tail=st.integers(1, 4),
    tick=st.sampled_from([Fraction(1, 30), Fraction(1, 1000), Fraction(1), Fraction(60)]),
)
def test_gaps_are_closed(intervals, tail, tick):
    """The slow way: after a gap, time goes on as if the next frame came at the usual interval."""
    line = timeline(intervals, tick, tail)
    usual = median_low([*intervals, tail])
    now, seconds, gaps = 0, [0.0], []
    for at, interval in enumerate(intervals):
        gap = interval * tick > 60 and interval > 100 * usual
        gaps += [at] if gap else []
        now += usual if gap else interval
        seconds.append(float(now * tick))
    assert line.gaps.tolist() == gaps
    np.testing.assert_allclose(line.seconds, seconds, rtol=1e-12)
    assert line.duration == pytest.approx(float((now + tail) * tick), rel=1e-12)
    if intervals:
        assert line.fps == pytest.approx(float(len(intervals) / (now * tick)), rel=1e-12)
    lengths = [float((intervals[at] - usual) * tick) for at in gaps]
    assert line.gap_seconds() == pytest.approx(lengths)


def test_stamps_at_both_ends_of_what_64_bits_hold():
    ends = np.array([-(2**62) - 2, -(2**62) - 1, 2**62, 2**62 + 1])
    line = Timeline(ends, ends[:1], Fraction(1, 1000), 1)
    assert line.gaps.tolist() == [1]
    np.testing.assert_allclose(line.seconds, [0, 0.001, 0.002, 0.003])
    assert line.fps == pytest.approx(1000) and line.duration == pytest.approx(0.004)


@pytest.mark.parametrize("seconds", [60, 86_400])
def test_a_time_lapse_has_no_gaps(seconds):
    line = timeline([seconds] * 20, Fraction(1), seconds)
    assert not line.gaps.size and line.duration == 21 * seconds


@pytest.fixture(scope="module")
def jump(tmp_path_factory):
    return jumping(tmp_path_factory.mktemp("gaps") / "jump.mkv")


def test_a_jump_is_named_and_not_counted(jump):
    result = inspect(jump)
    assert [(one.kind, one.fatal) for one in result.findings] == [("odd", False)]
    assert "a gap of 3 h after 1.0 s" in result.findings[0].reason
    facts = result.facts
    assert facts is not None and facts.num_frames == 60 and not facts.variable_frame_rate
    assert (facts.fps, facts.duration) == pytest.approx((30, 2.0), rel=1e-3)


def test_clips_show_what_there_is_on_both_sides_of_a_jump(jump):
    decoder = PyAVDecoder()
    times = FrameTimes.from_timestamps(decoder.timestamps(jump))
    every = decoder.frames(jump, np.arange(60))
    assert [read_number(frame) for frame in every] == list(range(60))
    spec = ClipSpec(num_frames=8, fps=15.0, sampling="random")
    rng = np.random.default_rng(0)
    for _ in range(50):
        clip = choose_clip(times, spec, rng)
        assert np.all(np.abs(np.diff(clip.indices) - 2) <= 1)
        frames = decoder.frames(jump, clip.indices)
        assert [read_number(frame) for frame in frames] == clip.indices.tolist()
    assert len(slide(times, spec, 0.0)) in (3, 4)  # two seconds of windows of 8/15 s


@pytest.mark.parametrize("at", [1, 59])
def test_stamps_of_the_unix_epoch_after_the_first_frame(tmp_path, at):
    stamps = [i + (1_700_000_000 * 30 if i >= at else 0) for i in range(60)]
    path = write_clip(tmp_path / "epoch.mkv", 60, b_frames=0, stamps=stamps)
    result = inspect(path)
    assert result.facts is not None and result.facts.duration == pytest.approx(2.0, rel=1e-3)
    assert "a gap of 53.9 years after" in result.findings[0].reason
    decoder = PyAVDecoder()
    assert [read_number(f) for f in decoder.frames(path, np.array([0, 1, 59]))] == [0, 1, 59]
    times = FrameTimes.from_timestamps(decoder.timestamps(path))
    assert len(slide(times, ClipSpec(num_frames=16, fps=8.0), 0.0)) == 1


def test_windows_of_a_slow_steady_rate_are_bounded():
    """Nothing tells whether it is a time-lapse or a clock in other units."""
    times = FrameTimes(2000, 1 / 3600)
    with pytest.raises(DataError, match=r"frames, which lie 3,600\.0 s apart; use a lower rate"):
        slide(times, ClipSpec(num_frames=16, fps=8.0), 0.0)
    assert len(slide(times, ClipSpec(num_frames=16, fps=1 / 3600), 0.0)) == 125
