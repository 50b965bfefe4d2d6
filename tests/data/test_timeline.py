"""Timestamps against slow loops over the definition."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.data.videos.packet_scan import MISSING, PacketScan
from nexus.data.videos.timeline import (
    MIN_SKIP,
    Timeline,
    timeline_from_frames,
    timeline_from_packets,
)

TICK = Fraction(1, 1000)


def packets(text: str, **arrays) -> PacketScan:
    """Packets from words like I0 P4 B2: letter, pts.

    `!` damaged, `-` edited out, `?` no pts, `+` with a palette or a new header.
    """
    words = text.split()
    pts = [MISSING if "?" in word else int(word.strip("IPB!-+")) for word in words]
    return PacketScan(
        pts=np.array(pts, dtype=np.int64),
        dts=arrays.get("dts", np.arange(len(words), dtype=np.int64)),
        duration=np.ones(len(words), dtype=np.int64),
        mark=np.arange(100, 100 + len(words)),
        keyframe=np.array([word.startswith("I") for word in words]),
        discard=np.array([word.endswith("-") for word in words]),
        corrupt=np.array([word.endswith("!") for word in words]),
        hidden=np.zeros(len(words), dtype=bool),
        sets_up=np.array([word.endswith("+") for word in words]),
        turns=np.zeros(len(words), dtype=bool),
    )


def timeline(pts, keyframes=(0,), **fields) -> Timeline:
    arrays = [np.array(values, dtype=np.int64) for values in (pts, keyframes)]
    return Timeline(*arrays, fields.pop("tick", TICK), fields.pop("tail", 1), **fields)


@pytest.mark.parametrize(
    ("text", "pts", "keyframes"),
    [
        ("I0 P4 B2 B1 B3 I8 P9", [0, 1, 2, 3, 4, 8, 9], [0, 8]),
        # Frames shown before the first keyframe lack their references; so do those in front of it.
        ("P1 P2 I3 P4", [3, 4], [3]),
        ("I3 B1 B2 P4", [3, 4], [3]),
        # After damage nothing decodes up to the next keyframe, nor what that one's group shows
        # earlier; without damage, frames shown before a later keyframe are fine.
        ("I0 P1 P2! P3 I6 B4 B5 P7", [0, 1, 6, 7], [0, 6]),
        ("I0 P1 I6 B4 B5 P7", [0, 1, 4, 5, 6, 7], [0, 6]),
        # A hidden keyframe is still where decoding starts.
        ("I0- P1- P2 P3", [2, 3], [0]),
    ],
)
def test_what_packets_announce(text, pts, keyframes):
    found = timeline_from_packets(packets(text), TICK, stores_pts=True)
    assert found is not None and not found.by_order
    assert found.pts.tolist() == pts
    assert found.keyframes.tolist() == keyframes
    places = [
        number
        for number, word in enumerate(text.split())
        if word.strip("I-") in map(str, keyframes)
    ]
    assert [found.mark_of(key) for key in keyframes] == [100 + place for place in places]


def test_packets_that_cannot_be_trusted():
    good = packets("I0 P1 P2", dts=np.array([0, 1, 2]))
    assert timeline_from_packets(good, TICK, stores_pts=False) is not None
    reordered = packets("I1 P3 B2")
    assert timeline_from_packets(reordered, TICK, stores_pts=True) is not None
    assert timeline_from_packets(reordered, TICK, stores_pts=False) is None
    for scan in (
        packets("I0 P1 P1"),
        packets("P0 P1"),
        packets("I0 P1 P2", dts=np.array([0, 5, 2])),
        packets("I0 P? P2"),
        packets("I0!"),
    ):
        assert timeline_from_packets(scan, TICK, stores_pts=True) is None


@pytest.mark.parametrize(
    ("text", "keyframes"),
    [
        ("I0+ P1 I2 P3", [0]),  # the palette comes once, and is needed from then on
        ("I0 P1+ I2 P3", [0]),
        ("I0+ P1 I2+ P3", [0, 2]),  # it comes with each keyframe
        ("I0 P1 I2 P3", [0, 2]),
    ],
)
def test_keyframes_that_need_an_earlier_packet_are_no_place_to_start(text, keyframes):
    found = timeline_from_packets(packets(text), TICK, stores_pts=True)
    assert found is not None and found.keyframes.tolist() == keyframes
    assert bool(found.from_start) == (len(keyframes) == 1)


def test_a_timeline_of_decoded_frames_takes_the_stamps_that_make_sense():
    by_pts = timeline_from_frames([(5, 0, 1), (7, 1, 1)], TICK, None)
    assert by_pts.pts.tolist() == [5, 7] and by_pts.by_order
    by_dts = timeline_from_frames([(1, 2, 1), (3, 3, 1), (2, 5, 1)], TICK, None)
    assert by_dts.pts.tolist() == [2, 3, 5]
    by_rate = timeline_from_frames([(None, None, 0)] * 3, TICK, Fraction(24))
    np.testing.assert_allclose(by_rate.seconds, [0, 1 / 24, 2 / 24])


def test_frames_are_told_in_seconds():
    line = timeline([5, 15, 45, 55], keyframes=[5, 45], tail=10)
    np.testing.assert_allclose(line.seconds, [0, 0.01, 0.04, 0.05])


@settings(deadline=None)
@given(
    frames=st.integers(1, 200),
    gaps=st.lists(st.integers(1, 40), max_size=20),
    data=st.data(),
)
def test_runs_cover_all_frames_and_seek_only_where_it_pays(frames, gaps, data):
    keyframes = [key for key in np.cumsum([0, *gaps]) if key < frames]
    line = timeline(range(frames), keyframes=keyframes)
    wanted = np.array(sorted(data.draw(st.sets(st.integers(0, frames - 1), min_size=1))))
    runs = line.runs(wanted)
    assert np.concatenate([part for _, part in runs]).tolist() == wanted.tolist()
    cost = 0
    for number, (entry, part) in enumerate(runs):
        assert entry == max(key for key in keyframes if key <= part[0])
        cost += part[-1] - entry + 1
        if number:
            before = runs[number - 1][1][-1]
            assert entry - before - 1 >= MIN_SKIP
    single_pass = wanted[-1] - runs[0][0] + 1
    assert cost <= single_pass - MIN_SKIP * (len(runs) - 1)


def test_frame_rates():
    steady = timeline([0, 33, 67, 100, 133])  # 30 a second, rounded to milliseconds
    assert not steady.variable_frame_rate
    assert steady.fps == pytest.approx(4 / 0.133)
    assert timeline([0, 33, 67, 133, 166]).variable_frame_rate  # one dropped
    assert timeline([0, 1, 2, 4, 5], tick=Fraction(1, 30)).variable_frame_rate
    assert timeline([0], tail=40).fps == pytest.approx(25)
    stamps = [(pts, pts, 10) for pts in range(0, 100, 10)]
    for last, kept in ((10, 10), (7, 10), (14, 10), (15, 15), (20, 20), (0, 10), (400, 400)):
        assert timeline_from_frames([*stamps[:-1], (90, 90, last)], TICK, None).tail == kept
    shorter = timeline([0, 10, 20, 30], tail=10).first(2)
    assert (len(shorter), shorter.duration) == (2, pytest.approx(0.02))


@pytest.mark.parametrize(
    ("usual", "deviation", "variable"),
    [(100, 10, False), (100, 11, True), (5, 1, False), (5, 2, True), (1, 1, True)],
)
def test_intervals_may_differ_by_rounding_or_a_tenth(usual, deviation, variable):
    """A whole tick where ticks are fine, no tick where a frame is one: then a frame is dropped."""
    intervals = [usual, usual, usual + deviation, usual, usual]
    line = timeline(np.cumsum([0, *intervals]))
    assert line.variable_frame_rate == variable


def test_a_rounded_steady_rate_is_steady_to_its_end():
    for last in (2, 4):  # muxers write the last frame a little too short or too long
        stamps = [(0, 0, 3), (3, 3, 3), (6, 6, 4), (10, 10, last)]
        assert timeline_from_frames(stamps, TICK, None).tail == 3
    uneven = [(0, 0, 3), (3, 3, 3), (6, 6, 9), (15, 15, 4)]
    assert timeline_from_frames(uneven, TICK, None).tail == 4
