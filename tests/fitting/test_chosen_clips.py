"""Which clips are chosen for which videos."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_facts import MOVING, facts, videos

from nexus.data.clip_spec import ClipSpec
from nexus.errors import DataError
from nexus.fitting.clips import choose_clips, rate_for, rates_up_to, share_held
from nexus.fitting.facts import MOST
from nexus.fitting.movement import SPACINGS, Movement


def chosen(facts, **given):
    nested = {"model": {}, "data": {"clip": {}}}
    for key, value in given.items():
        (nested["model"] if key == "num_frames" else nested["data"]["clip"])[key] = value
    return choose_clips(facts, nested, usual=16, tubelet=2)


def held_by(facts, num_frames, fps):
    return share_held(facts, ClipSpec(num_frames=num_frames, fps=fps))


@given(facts=facts)
def test_most_videos_hold_the_clip_or_padding_is_said(facts):
    try:
        clip = chosen(facts)
    except DataError:
        assert held_by(facts, 4, rates_up_to(facts.common_rate)[-1]) == 0
        return
    held = share_held(facts, clip)
    assert clip.pad == ("error" if held == 1 else "repeat_last")
    usual = any(held_by(facts, 8, r) >= MOST for r in rates_up_to(facts.common_rate))
    if usual:
        assert held >= MOST
    assert clip.fps is not None and clip.fps <= 1.011 * facts.common_rate


@given(facts=facts, num_frames=st.sampled_from([2, 6, 32]), fps=st.sampled_from([0.5, 7.0, 40.0]))
def test_what_is_given_wins(facts, num_frames, fps):
    for given_keys in ({"num_frames": num_frames}, {"fps": fps}, {"pad": "repeat_last"}):
        given_keys = {"pad": "repeat_last", **given_keys}
        clip = chosen(facts, **given_keys)
        for key, value in given_keys.items():
            assert getattr(clip, key) == value
    strided = chosen(facts, stride=3, pad="repeat_last", clips_per_video=5)
    assert (strided.fps, strided.stride, strided.clips_per_video) == (None, 3, 5)
    native = chosen(facts, fps=None, pad="repeat_last")
    assert (native.fps, native.stride) == (None, 1)


def test_the_rate_follows_what_moves():
    def moving(shift):
        return Movement(SPACINGS, tuple(min(80.0, 10.0 * 2 ** (k + shift)) for k in range(7)))

    rates = [rate_for(moving(shift), tubelet=2) for shift in (-4, -2, 0, 2)]
    assert rates == sorted(rates) and rates[0] < rates[-1]
    assert rate_for(Movement(), tubelet=2) == rate_for(Movement((1.0,), (1.0,)), tubelet=2) == 4
    assert rate_for(MOVING, tubelet=2) == 4
    assert rate_for(MOVING, tubelet=1) < 4


def test_clips_last_seconds_where_videos_do():
    long = chosen(videos(60.0))
    assert (long.num_frames, long.fps, long.pad) == (16, 4, "error")
    assert videos(60.0).lasts(long) == 4
    short = chosen(videos(2.0))
    assert (short.num_frames, short.fps) == (16, 8)
    very_short = chosen(videos(0.6))
    assert (very_short.num_frames, very_short.fps) == (8, 12) and very_short.pad == "error"
    slow_files = chosen(videos(20.0, fps=2.0))
    assert slow_files.fps == 2
    hardly_any = chosen(videos(0.25))  # six frames
    assert hardly_any.num_frames == 4 and hardly_any.pad == "error"


def test_a_tenth_may_be_shorter_and_is_filled_up():
    clip = chosen(videos([3.0] * 92 + [0.5] * 8))
    assert clip.num_frames == 16 and clip.pad == "repeat_last"
    assert share_held(videos([3.0] * 92 + [0.5] * 8), clip) == 0.92


def test_long_videos_give_several_clips_an_epoch():
    assert chosen(videos(600.0, count=6)).clips_per_video == 86  # 512 clips
    assert chosen(videos(12.5, count=6)).clips_per_video == 3  # no more than they hold
    assert chosen(videos(600.0, count=600)).clips_per_video == 1


def test_clips_that_no_video_holds_are_refused_in_a_sentence():
    with pytest.raises(DataError, match=r"none of the 400 videos .* 64 frames at 4 a second"):
        chosen(videos(3.0), num_frames=64, fps=4.0)
    with pytest.raises(DataError, match="with a stride of 50"):
        chosen(videos(3.0), stride=50)
    with pytest.raises(DataError, match="the longest lasts 0.08 s and has 2 frames"):
        chosen(videos(0.08))
    assert chosen(videos(3.0), num_frames=64, fps=4.0, pad="repeat_last").num_frames == 64
