"""Sliding windows: every frame is covered, windows lie where they say, nothing is invented."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.data.clip_spec import ClipSpec
from nexus.data.clips import ClipTooShortError, FrameTimes
from nexus.features.windows import slide


@settings(deadline=None)
@given(
    length=st.integers(1, 80),
    frames=st.integers(1, 9),
    stride=st.integers(1, 4),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.9]),
)
def test_strides_cover_the_video(length: int, frames: int, stride: int, overlap: float) -> None:
    clip = ClipSpec(num_frames=frames, stride=stride)
    times = FrameTimes(length, 10.0)
    span = (frames - 1) * stride + 1
    if span > length:
        with pytest.raises(ClipTooShortError, match="does not fit into"):
            slide(times, clip, overlap)
        return
    found = slide(times, clip, overlap)
    first = found.indices[:, 0]
    assert first[0] == 0 and found.indices[-1, -1] == length - 1
    assert (np.diff(found.indices, axis=1) == stride).all()
    hop = max(1, round(frames * stride * (1 - overlap)))
    assert (np.diff(first)[:-1] == hop).all()  # all but the last, which is moved back
    assert len(first) == 1 or 0 < np.diff(first)[-1] <= hop
    np.testing.assert_allclose(found.starts, first / 10)
    np.testing.assert_allclose(found.ends, (first + span) / 10)


@settings(deadline=None)
@given(
    length=st.integers(2, 200),
    native=st.sampled_from([24.0, 29.97, 10.0]),
    fps=st.sampled_from([4.0, 8.0, 12.5]),
    frames=st.integers(1, 12),
    overlap=st.sampled_from([0.0, 0.5]),
)
def test_rates_cover_the_video(
    length: int, native: float, fps: float, frames: int, overlap: float
) -> None:
    times = FrameTimes(length, native)
    clip = ClipSpec(num_frames=frames, fps=fps)
    duration, window = length / native, frames / fps
    if (frames - 1) / fps > duration - 1e-6:
        with pytest.raises(ClipTooShortError, match="needs more than"):
            slide(times, clip, overlap)
        return
    found = slide(times, clip, overlap)
    assert found.starts[0] == 0
    assert found.ends[-1] >= min(duration, max(window, duration - 0.5 / fps)) - 1e-6
    assert (np.diff(found.starts) > 0).all() and found.ends[-1] <= duration + 1e-9
    assert (np.diff(found.starts) <= window * (1 - overlap) + 1e-9).all()
    due = found.starts[:, None] + np.arange(frames) / fps
    shown = np.floor(due * native + 1e-4).clip(max=length - 1)
    np.testing.assert_array_equal(found.indices, shown)


def test_a_segment_is_covered_from_its_start_to_its_end() -> None:
    times = FrameTimes(100, 10.0)
    found = slide(times, ClipSpec(num_frames=4), 0.0, start=2.0, end=3.0)
    assert found.indices[:, 0].tolist() == [20, 24, 26]
    found = slide(times, ClipSpec(num_frames=4, fps=5.0), 0.0, start=2.0, end=4.0)
    assert found.starts.tolist() == pytest.approx([2.0, 2.8, 3.2])
    assert found.indices[-1].tolist() == [32, 34, 36, 38]
    assert found.ends[-1] == pytest.approx(4.0)


def test_uneven_timestamps_decide_which_frame_is_shown() -> None:
    times = FrameTimes.from_timestamps(np.array([0.0, 0.1, 0.5, 0.6, 1.0]))
    found = slide(times, ClipSpec(num_frames=3, fps=4.0), 0.0)
    assert found.indices[0].tolist() == [0, 1, 2]  # at 0, 0.25 and 0.5 s


def test_padding_fills_a_single_window_with_the_last_frame() -> None:
    for clip in (
        ClipSpec(num_frames=5, pad="repeat_last"),
        ClipSpec(num_frames=5, fps=10.0, pad="repeat_last"),
    ):
        found = slide(FrameTimes(3, 10.0), clip, 0.5)
        assert found.indices.tolist() == [[0, 1, 2, 2, 2]]
        assert found.ends.tolist() == pytest.approx([0.3])


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_an_impossible_overlap_is_refused(overlap: float) -> None:
    with pytest.raises(ValueError, match="from 0 to below 1"):
        slide(FrameTimes(10, 10.0), ClipSpec(num_frames=2), overlap)


def test_the_last_frame_of_a_window_has_to_be_due_before_the_end() -> None:
    times = FrameTimes(10, 10.0)  # over at 1 s
    assert len(slide(times, ClipSpec(num_frames=10, fps=10.0), 0.0).starts) == 1
    with pytest.raises(ClipTooShortError, match="needs more than 1.000 s, there are 1.000 s"):
        slide(times, ClipSpec(num_frames=11, fps=10.0), 0.0)


@pytest.mark.parametrize(
    ("frames", "starts"), [(10, [0, 0.2]), (11, [0, 0.2]), (12, [0, 0.2, 0.28])]
)
def test_a_rest_of_less_than_half_a_step_has_no_window(frames: int, starts: list[float]) -> None:
    """At 10 a second a step is 0.1 s; of the video, at 25, 0, 0.04 or 0.08 s are left."""
    found = slide(FrameTimes(frames, 25.0), ClipSpec(num_frames=2, fps=10.0), 0.0)
    np.testing.assert_allclose(found.starts, starts, atol=1e-9)
