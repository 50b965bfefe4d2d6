"""Whether videos hold the clips that are asked of them: the same answer as cutting the clips."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.data.catalog.catalog import VideoRecord
from nexus.data.catalog.clip_check import check_clips
from nexus.data.clip_spec import ClipSpec
from nexus.data.clips import ClipTooShortError, FrameTimes, choose_clip
from nexus.errors import DataError


def video(frames: int, fps: float = 10.0, **changes: Any) -> VideoRecord:
    plain = {
        "path": Path(f"/v/{frames}.mp4"), "key": f"{frames}.mp4", "kind": "video",
        "num_frames": frames, "fps": fps, "duration": frames / fps, "height": 8, "width": 8,
        "codec": "h264", "variable_frame_rate": False, "labels": {},
    }  # fmt: skip
    return VideoRecord(**{**plain, **changes})


def test_short_videos_are_named_with_what_to_do():
    clip = ClipSpec(num_frames=16, fps=8)  # 1.875 s
    records = [video(15), video(18), video(19), video(40), video(40, start=3.0, end=3.5)]
    found = check_clips(records, clip)
    assert [Path(one.path).name for one in found.too_short] == ["15.mp4", "18.mp4", "40.mp4"]
    assert found.fitting == (records[2], records[3])
    [note] = found.notes()
    assert note.startswith("3 of 5 videos are shorter than a clip (1.88 s: clips of 16 frames at 8")
    assert "data.clip.pad=repeat_last" in note and "lower model.num_frames (16)" in note
    assert "raise data.clip.fps" in note
    padded = check_clips(records, clip.with_changes(pad="repeat_last"))
    assert (padded.too_short, padded.padded, len(padded.fitting)) == ((), 3, 5)
    assert "end in copies of their last frame" in padded.notes()[0]


def test_clips_faster_than_the_videos():
    found = check_clips([video(100, 25.0), video(100, 8.0)], ClipSpec(num_frames=4, fps=12))
    assert found.slower == 1 and "lower data.clip.fps" in found.notes()[0]
    assert check_clips([video(100, 29.97)], ClipSpec(num_frames=4, fps=30)).notes() == []
    assert check_clips([video(100, 25.0)], ClipSpec(num_frames=4, stride=9)).notes() == []


@pytest.mark.parametrize(
    ("short", "all_in_all", "limit", "stops"),
    [(0, 5, 0.05, False), (2, 5, 0.05, False), (3, 5, 0.05, True), (3, 100, 0.05, False),
     (6, 100, 0.05, True), (1, 1, 1.0, True), (60, 100, 1.0, False)],
)  # fmt: skip
def test_too_many_stop_a_run_before_it_begins(short, all_in_all, limit, stops):
    records = [video(2)] * short + [video(50)] * (all_in_all - short)
    found = check_clips(records, ClipSpec(num_frames=8))
    if stops:
        with pytest.raises(DataError, match=rf"{short} of {all_in_all} videos are shorter"):
            found.raise_if_too_many(limit)
    else:
        found.raise_if_too_many(limit)


@given(
    frames=st.integers(1, 40),
    native=st.sampled_from([7.0, 10.0, 29.97]),
    length=st.integers(1, 20),
    fps=st.sampled_from([None, 2.5, 10.0, 60.0]),
    part=st.sampled_from([(None, None), (0.3, None), (0.5, 1.5)]),
)
def test_what_passes_gives_clips(frames, native, length, fps, part):
    record = video(frames, native, start=part[0], end=part[1])
    clip = ClipSpec(num_frames=length, fps=fps, sampling="uniform", clips_per_video=2)
    found = check_clips([record], clip)
    try:
        times = FrameTimes(frames, native)
        for number in (0, 1):
            rng = np.random.default_rng(1)
            choose_clip(times, clip, rng, number=number, start=part[0], end=part[1])
    except ClipTooShortError:
        assert found.too_short and not found.fitting
    else:
        assert found.fitting == (record,)
