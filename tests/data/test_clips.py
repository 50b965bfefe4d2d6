"""Clip arithmetic against slow loops written from the definitions."""

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.data.clip_spec import ClipSpec
from nexus.data.clips import ClipTooShortError, FrameTimes, choose_clip
from nexus.errors import DataError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def shown_slowly(stamps: np.ndarray, time: float) -> int:
    """The last frame whose timestamp is not after `time`, by looking at each of them."""
    answer = 0
    for index, stamp in enumerate(stamps):
        if stamp <= time + 1e-6:
            answer = index
    return answer


uneven = st.lists(st.floats(0.01, 0.3), min_size=1, max_size=40).map(
    lambda steps: np.concatenate([[0.0], np.cumsum(steps)])
)


@given(st.integers(1, 60), st.floats(1, 120), st.integers(0, 2**32))
def test_a_regular_timeline_is_the_timestamp_one(num_frames, fps, seed):
    regular = FrameTimes(num_frames, fps)
    stamped = FrameTimes(num_frames, fps, np.arange(num_frames) / fps)
    frames = np.arange(num_frames)
    for method in ("time_of", "end_of"):
        np.testing.assert_allclose(
            getattr(regular, method)(frames), getattr(stamped, method)(frames)
        )
    # Times that do not fall on a frame's very edge, where rounding decides.
    times = rng(seed).integers(0, 3 * num_frames, 50) / fps / 3 + 0.1 / fps
    np.testing.assert_array_equal(regular.shown_at(times), stamped.shown_at(times))


@given(uneven, st.floats(0, 12))
def test_the_frame_on_screen_is_the_last_one_that_came(stamps, time):
    timeline = FrameTimes.from_timestamps(stamps)
    assert timeline.shown_at(np.array([time]))[0] == shown_slowly(stamps, time)
    frames = np.arange(len(stamps))
    np.testing.assert_array_equal(timeline.shown_at(timeline.time_of(frames)), frames)


@given(uneven, st.floats(2, 40), st.integers(1, 12), st.integers(0, 2**32))
def test_clips_at_a_rate_follow_uneven_timestamps(stamps, fps, length, seed):
    timeline = FrameTimes.from_timestamps(stamps)
    config = ClipSpec(num_frames=length, fps=fps)
    finish = timeline.end_of(np.array([len(stamps) - 1]))[0]
    if (length - 1) / fps > finish - 1e-6:
        with pytest.raises(ClipTooShortError, match=f"{length} frames at"):
            choose_clip(timeline, config, rng(seed))
        return
    clip = choose_clip(timeline, config, rng(seed))
    # The draw is one uniform number: replay it and look up every frame slowly.
    start = rng(seed).random() * (finish - (length - 1) / fps)
    expected = [shown_slowly(stamps, start + i / fps) for i in range(length)]
    assert clip.indices.tolist() == expected
    np.testing.assert_allclose(clip.times, stamps[expected], rtol=0, atol=1e-6)


@given(
    st.integers(1, 50), st.integers(1, 12), st.integers(1, 6), st.floats(0, 0.499),
    st.integers(0, 2**32),
)  # fmt: skip
def test_strided_clips_stay_inside_and_in_order(num_frames, length, stride, jitter, seed):
    config = ClipSpec(num_frames=length, stride=stride, jitter=jitter)
    timeline = FrameTimes(num_frames, 25.0)
    if (length - 1) * stride >= num_frames:
        with pytest.raises(ClipTooShortError, match=f"the video has {num_frames}"):
            choose_clip(timeline, config, rng(seed))
        return
    clip = choose_clip(timeline, config, rng(seed))
    steady = choose_clip(timeline, config.with_changes(jitter=0.0), rng(seed))
    assert np.all(np.diff(steady.indices) == stride)
    assert clip.indices[0] >= 0 and clip.indices[-1] < num_frames
    assert np.all(np.diff(clip.indices) > 0)
    assert np.all(np.abs(clip.indices - steady.indices) <= jitter * stride + 1e-9)
    np.testing.assert_allclose(clip.times, clip.indices / 25.0)


@pytest.mark.parametrize(
    "config", [ClipSpec(num_frames=4, stride=2), ClipSpec(num_frames=4, fps=5)]
)
def test_random_starts_reach_every_frame_about_equally_often(config):
    timeline = FrameTimes(12, 10.0)  # 7 frames a clip leave starts 0..5; at 5 fps also half a step
    starts = [choose_clip(timeline, config, rng(seed)).indices[0] for seed in range(3000)]
    counts = np.bincount(starts, minlength=6)
    assert len(counts) == 6 and counts.min() > 400 and counts.max() < 600
    last = max(choose_clip(timeline, config, rng(seed)).indices[-1] for seed in range(100))
    assert last == 11


def test_jitter_moves_frames():
    config = ClipSpec(num_frames=8, stride=5, jitter=0.4)
    clips = [choose_clip(FrameTimes(60, 25.0), config, rng(seed)) for seed in range(20)]
    assert {int(step) for clip in clips for step in np.diff(clip.indices)} >= {1, 3, 5, 7, 9}
    at_rate = ClipSpec(num_frames=8, fps=5, jitter=0.4)
    clips = [choose_clip(FrameTimes(60, 25.0), at_rate, rng(seed)) for seed in range(20)]
    assert all(np.all(np.diff(clip.indices) >= 0) for clip in clips)
    assert any(np.any(np.diff(clip.indices) != 5) for clip in clips)


def test_center_and_uniform_clips_by_hand():
    timeline = FrameTimes(20, 10.0)
    center = ClipSpec(num_frames=4, stride=2, sampling="center")  # 7 of 20 frames: room 13
    assert choose_clip(timeline, center, rng()).indices.tolist() == [7, 9, 11, 13]
    spread = ClipSpec(num_frames=4, stride=2, sampling="uniform", clips_per_video=3)
    starts = [choose_clip(timeline, spread, rng(), number=k).indices[0] for k in range(3)]
    assert starts == [0, 7, 13]
    by_time = ClipSpec(num_frames=4, fps=5, sampling="uniform", clips_per_video=3)
    clips = [choose_clip(timeline, by_time, rng(), number=k).indices.tolist() for k in range(3)]
    assert clips == [[0, 2, 4, 6], [6, 8, 10, 12], [13, 15, 17, 19]]


def test_evaluation_clips_ignore_the_generator():
    config = ClipSpec(num_frames=4, fps=5, jitter=0.3, reversal=0.5).for_evaluation(2)
    assert (config.sampling, config.clips_per_video, config.fps) == ("uniform", 2, 5)
    clips = [choose_clip(FrameTimes(20, 10.0), config, rng(seed), number=1) for seed in range(5)]
    assert {tuple(clip.indices) for clip in clips} == {(13, 15, 17, 19)}


@given(st.floats(0, 3), st.floats(0, 4), st.booleans(), st.integers(0, 2**32))
def test_segments_are_respected(start, length, by_rate, seed):
    stamps = np.cumsum(np.tile([0.03, 0.05, 0.04], 30)) - 0.03
    end = start + length
    config = ClipSpec(num_frames=5, fps=10) if by_rate else ClipSpec(num_frames=5, stride=2)
    inside = [i for i, stamp in enumerate(stamps) if start - 1e-6 <= stamp < end - 1e-6]
    try:
        clip = choose_clip(
            FrameTimes.from_timestamps(stamps), config, rng(seed), start=start, end=end
        )
    except ClipTooShortError:
        assert len(inside) < 9 if not by_rate else length < 0.4 + 0.05 + 2e-6
        return
    assert set(clip.indices) <= set(inside)


def test_a_clip_ends_before_its_segment_does():
    # The last frame of the segment stays on screen until 1.1 s, but the segment ends at 1.05 s.
    for fps, fits in ((2 / 1.04, True), (2 / 1.06, False)):
        config = ClipSpec(num_frames=3, fps=fps)
        try:
            clip = choose_clip(FrameTimes(20, 10.0), config, rng(), end=1.05)
            assert fits and clip.indices.tolist() == [0, 5, 10]
        except ClipTooShortError:
            assert not fits


def test_an_empty_segment_is_refused_even_with_padding():
    config = ClipSpec(num_frames=2, pad="repeat_last")
    with pytest.raises(ClipTooShortError, match="holds none"):
        choose_clip(FrameTimes(10, 10.0), config, rng(), start=5.0, end=6.0)


def test_padding_repeats_the_last_frame_and_says_so_in_its_times():
    timeline = FrameTimes(3, 10.0)
    for mode in ({"stride": 1}, {"fps": 10.0}):
        with pytest.raises(ClipTooShortError, match="pad=repeat_last"):
            choose_clip(timeline, ClipSpec(num_frames=5, **mode), rng())
        padded = ClipSpec(num_frames=5, pad="repeat_last", **mode)
        clip = choose_clip(timeline, padded, rng())
        assert clip.indices.tolist() == [0, 1, 2, 2, 2]
        np.testing.assert_allclose(clip.times, [0, 0.1, 0.2, 0.2, 0.2])


def test_reversal_is_off_by_default_and_reverses_times_too():
    assert ClipSpec().reversal == 0.0
    plain = ClipSpec(num_frames=4, stride=2)
    backwards = plain.with_changes(reversal=1.0)
    for seed in range(5):
        forward = choose_clip(FrameTimes(30, 10.0), plain, rng(seed))
        reverse = choose_clip(FrameTimes(30, 10.0), backwards, rng(seed))
        assert reverse.indices.tolist() == forward.indices.tolist()[::-1]
        assert np.all(np.diff(reverse.times) < 0)
    half = plain.with_changes(reversal=0.5)
    signs = [
        np.diff(choose_clip(FrameTimes(30, 10.0), half, rng(s)).indices)[0] for s in range(400)
    ]
    assert 140 < sum(sign < 0 for sign in signs) < 260


@settings(max_examples=30)
@given(st.integers(2, 200), st.sampled_from([10.0, 25.0, 30000 / 1001, 60.0]))
def test_the_native_rate_takes_every_frame_once(num_frames, fps):
    config = ClipSpec(num_frames=num_frames, fps=fps, sampling="center")
    clip = choose_clip(FrameTimes(num_frames, fps), config, rng())
    assert clip.indices.tolist() == list(range(num_frames))


def test_num_frames_overrides_the_config():
    clip = choose_clip(FrameTimes(30, 10.0), ClipSpec(num_frames=8), rng())
    assert len(clip.indices) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fps": 5, "stride": 2}, "give one of them"),
        ({"sampling": "center", "clips_per_video": 2}, "uniform"),
        ({"sampling": "uniform", "reversal": 0.5}, "set both to 0"),
        ({"jitter": 0.5}, "less than 0.5"),
        ({"fps": float("inf")}, "finite"),
    ],
)
def test_contradictory_settings_are_refused(settings, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        ClipSpec(**settings)


def test_steady_timestamps_become_a_rate_and_uneven_ones_stay():
    steady = FrameTimes.from_timestamps(np.arange(90) * 1001 / 30000)
    assert steady.timestamps is None and abs(steady.fps - 30000 / 1001) < 1e-9
    np.testing.assert_array_equal(steady.shown_at((np.arange(90) + 0.5) / steady.fps), range(90))
    for uneven in (np.arange(90) / 30 + 0.5, np.round(np.arange(90) / 30, 3)):
        times = FrameTimes.from_timestamps(uneven)
        np.testing.assert_array_equal(times.time_of(np.arange(90)), uneven)
        np.testing.assert_array_equal(times.shown_at(uneven), range(90))


def test_impossible_timelines_are_refused():
    with pytest.raises(DataError, match="0 frames"):
        FrameTimes.from_timestamps(np.array([]))
    with pytest.raises(DataError, match="backwards"):
        FrameTimes.from_timestamps(np.array([0.0, 0.2, 0.1]))
    assert FrameTimes.from_timestamps(np.array([0.5])).span() == (0, 0)


def test_clips_of_a_segment_use_all_of_it_and_no_more():
    """Rooms of clips that do not start at 0: every start is drawn, none passes the end."""
    timeline = FrameTimes(60, 10.0)
    for spec in (ClipSpec(num_frames=5, stride=2), ClipSpec(num_frames=5, fps=5.0)):
        firsts, lasts = set(), set()
        for seed in range(400):
            clip = choose_clip(timeline, spec, rng(seed), start=2.0, end=4.0)
            assert np.diff(clip.indices).tolist() == [2, 2, 2, 2]
            firsts.add(int(clip.indices[0]))
            lasts.add(int(clip.indices[-1]))
        assert firsts == set(range(20, 32)) and lasts == set(range(28, 40))


def test_the_last_frame_of_a_clip_has_to_be_due_before_the_end():
    timeline = FrameTimes(10, 10.0)  # over at 1 s
    for length, fps, fits in ((10, 10.0, True), (11, 10.0, False), (2, 1 / 0.9995, True)):
        spec = ClipSpec(num_frames=length, fps=fps)
        if fits:
            assert len(choose_clip(timeline, spec, rng()).indices) == length
        else:
            with pytest.raises(ClipTooShortError, match="need more than 1.000 s, the video has"):
                choose_clip(timeline, spec, rng())


def test_a_segment_starts_and_ends_with_a_frame_but_for_rounding():
    stamps = np.array([0.0, 0.1, 0.1 + 0.2, 0.4, 0.6])
    for timeline in (FrameTimes(5, 10.0), FrameTimes.from_timestamps(stamps)):
        third = timeline.time_of(np.array([2]))[0]
        for error in (-5e-7, 0.0, 5e-7):
            assert timeline.span(start=third + error) == (2, 4)
            assert timeline.span(end=third + error) == (0, 1)
        assert timeline.span(start=third - 5e-4) == (2, 4)
        assert timeline.span(start=third + 5e-4) == (3, 4)
        assert timeline.span(end=third - 5e-4) == (0, 1)
        assert timeline.span(end=third + 5e-4) == (0, 2)


def test_where_a_clip_lies_whichever_way_it_is_played():
    for timeline in (FrameTimes(6, 10.0), FrameTimes(6, 10.0, np.arange(6) / 10)):
        for order in ([1, 3, 5], [5, 3, 1], [3, 5, 1]):
            bounds = timeline.bounds_of(np.array(order))
            assert bounds == pytest.approx((0.1, 0.6))
    uneven = FrameTimes.from_timestamps(np.array([0.0, 0.1, 0.5, 0.6, 1.2]))
    assert uneven.bounds_of(np.array([1])) == (0.1, 0.5)
    assert uneven.bounds_of(np.array([0, 4])) == pytest.approx((0.0, 1.5))  # an average step more
    assert FrameTimes.from_timestamps(np.zeros(1), 25.0).bounds_of(np.zeros(1, int)) == (0, 0.04)


def test_a_time_is_asked_for_within_a_step_of_the_end():
    uneven = FrameTimes.from_timestamps(np.array([0.0, 0.1, 0.3]))  # 0.15 s a step, over at 0.45 s
    assert uneven.asked_at(np.array([0.0, 0.0999, 0.1, 0.44, 0.59])).tolist() == [0, 0, 1, 2, 2]
    with pytest.raises(DataError, match=r"at 0\.610 s, but the video ends at 0\.450 s"):
        uneven.asked_at(np.array([0.2, 0.61]))


def test_jitter_at_a_rate_moves_frames_both_ways_within_its_bounds():
    timeline = FrameTimes(1000, 100.0)
    spec = ClipSpec(num_frames=4, fps=2.0, jitter=0.4, sampling="random")
    still = spec.with_changes(jitter=0.0)
    moves = []
    for seed in range(300):
        moved = choose_clip(timeline, spec, rng(seed)).indices
        moves += (moved - choose_clip(timeline, still, rng(seed)).indices).tolist()
    # 0.4 of a step of 0.5 s are 20 frames.
    assert -20 <= min(moves) < -17 and 17 < max(moves) <= 20
