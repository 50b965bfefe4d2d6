"""Random access equals a slow full decode, for every container and codec that people bring."""

import pickle
from fractions import Fraction

import av
import numpy as np
import pytest
from by_time import frames_at
from coded_videos import CASES, COUNT, decode_everything
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_videos import (
    read_number,
    write_clip,
    write_variable_rate,
)
from watching import Corner

from nexus.data.catalog.inspection import inspect
from nexus.data.videos.container import frames_from_here, open_video
from nexus.data.videos.pyav import PyAVDecoder
from nexus.errors import DataError


@pytest.mark.parametrize("name", CASES)
def test_random_access_equals_a_full_decode(tmp_path, name):
    path = write_clip(tmp_path / name, COUNT, **CASES[name])
    oracle = decode_everything(path)
    assert [read_number(picture) for picture in oracle] == list(range(COUNT))
    decoder = PyAVDecoder()
    times = decoder.timestamps(path)
    fps = CASES[name].get("fps", 25 if name == "raw.h264" else 30)
    # Containers round to their ticks, at worst 1 ms.
    np.testing.assert_allclose(times, np.arange(COUNT) / fps, atol=1.1e-3)
    rng = np.random.default_rng(0)
    for _ in range(8):
        wanted = rng.integers(0, COUNT, size=rng.integers(1, 9))  # any order, with repeats
        frames = decoder.frames(path, wanted)
        assert frames.dtype == np.uint8 and frames.shape == (len(wanted), 48, 72, 3)
        np.testing.assert_array_equal(frames, np.stack([oracle[i] for i in wanted]))
        halfway = frames_at(decoder, path, times[wanted] + 0.5 / fps)
        np.testing.assert_array_equal(halfway, frames)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(st.integers(1, 4000), min_size=1, max_size=40),
    gop=st.integers(1, 20),
    b_frames=st.integers(0, 3),
    first=st.integers(0, 5000),
    picks=st.lists(st.floats(0, 1), min_size=1, max_size=12),
)
def test_variable_rates_are_exact_by_timestamp(tmp_path, steps, gop, b_frames, first, picks):
    stamps = np.cumsum([0, *steps])
    path = write_clip(
        tmp_path / "variable.mkv",
        len(stamps),
        stamps=stamps.tolist(),
        tick=Fraction(1, 1000),
        first=first,
        gop=gop,
        b_frames=b_frames,
    )
    decoder = PyAVDecoder()
    np.testing.assert_allclose(decoder.timestamps(path), stamps / 1000, atol=1e-9)
    times = np.array(picks) * stamps[-1] / 1000
    # The slow way: of the frames that have come up (a microsecond early counts), the last one.
    shown = [max(i for i, at in enumerate(stamps) if at <= 1000 * t + 1e-3) for t in times]
    assert [read_number(frame) for frame in frames_at(decoder, path, times)] == shown
    assert [read_number(frame) for frame in decoder.frames(path, np.array(shown))] == shown


def test_a_sparse_request_skips_the_groups_between(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "long.mp4", 300, gop=20)
    decoder = PyAVDecoder()
    wanted = np.array([5, 150, 290])
    decoded = []

    def counting(video, **limits):
        for frame in frames_from_here(video, **limits):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr("nexus.data.videos.pyav.frames_from_here", counting)
    assert [read_number(f) for f in decoder.frames(path, wanted)] == wanted.tolist()
    assert len(decoded) < 60  # a pass through the file would take 291


def test_frames_that_none_refers_to_are_decoded_only_when_wanted(tmp_path):
    ground = np.random.default_rng(0).integers(0, 256, (48, 72, 3), dtype=np.uint8)
    path = write_clip(
        tmp_path / "clip.mp4",
        pictures=[np.roll(ground, 2 * i, axis=1) for i in range(60)],
        b_frames=3,
        options={"x264-params": "b-adapt=0:scenecut=0"},
    )
    stamps = PyAVDecoder().timeline(path).pts.tolist()
    with open_video(path) as video:
        everything = {f.pts: f.to_ndarray(format="rgb24") for f in frames_from_here(video)}
    assert list(everything) == stamps
    for first in range(4):
        wanted = stamps[first::4]
        with open_video(path) as video:
            found = {
                frame.pts: frame.to_ndarray(format="rgb24")
                for frame in frames_from_here(video, wanted=wanted)
            }
        assert set(wanted) <= set(found) and len(found) <= 46  # of 60: half of the B-frames
        for pts, picture in found.items():
            np.testing.assert_array_equal(picture, everything[pts])


def test_interlaced_frames_are_never_made_of_one_field(tmp_path):
    path = write_clip(tmp_path / "clip.ts", options={"x264-params": "tff=1"})
    stamps = PyAVDecoder().timeline(path).pts.tolist()
    with open_video(path) as video:
        assert not list(frames_from_here(video, wanted=stamps[::4]))


def test_an_edit_list_hides_frames(tmp_path):
    whole = write_clip(tmp_path / "whole.mp4")
    path = tmp_path / "edited.mp4"
    with (
        av.open(str(whole)) as source,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as target,
    ):
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        shift = round(5 / 30 / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                target.mux(packet)
    decoder = PyAVDecoder()
    times = decoder.timestamps(path)
    np.testing.assert_allclose(times, np.arange(35) / 30, atol=1e-6)
    assert [read_number(f) for f in decoder.frames(path, np.arange(35))] == list(range(5, 40))
    assert read_number(decoder.frames(path, np.array([2]))[0]) == 7


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_frames_come_out_upright(tmp_path, degrees, mirror):
    stored = write_clip(tmp_path / "stored.mp4", 3)
    turned = write_clip(tmp_path / "turned.mp4", 3, rotation=degrees, mirror=mirror)
    decoder = PyAVDecoder()
    every = np.arange(3)
    expected = np.rot90(decoder.frames(stored, every), degrees // 90, axes=(1, 2))
    if mirror:
        expected = expected[:, :, ::-1]
    frames = decoder.frames(turned, every)
    np.testing.assert_array_equal(frames, expected)
    facts = inspect(turned).facts
    assert facts is not None and (facts.height, facts.width) == frames.shape[1:3]


@pytest.mark.parametrize(
    ("pixel_format", "picture_format", "depth", "size"),
    [
        ("gray", "gray", 8, (37, 51)),
        ("gray10le", "gray10le", 10, (48, 72)),
        ("bgr0", "rgb24", 8, (37, 51)),
        ("rgb48le", "rgb48le", 16, (48, 72)),
    ],
)
def test_grey_deep_and_odd_sized_sources_become_rgb(
    tmp_path, pixel_format, picture_format, depth, size
):
    levels = np.linspace(0, 2**depth - 1, size[0] * size[1]).reshape(size)
    levels = levels.astype(np.uint8 if depth == 8 else np.uint16)
    colour = picture_format.startswith("rgb")
    picture = np.stack([levels, levels[::-1], levels[:, ::-1]], axis=2) if colour else levels
    path = write_clip(
        tmp_path / "levels.mkv",
        codec="ffv1",
        pixel_format=pixel_format,
        picture_format=picture_format,
        b_frames=0,
        height=size[0],
        width=size[1],
        pictures=[np.ascontiguousarray(picture)] * 2,
    )
    frame = PyAVDecoder().frames(path, np.array([0]))[0]
    expected = (picture if colour else np.repeat(levels[:, :, None], 3, axis=2)) / 2 ** (depth - 8)
    assert frame.shape == (*size, 3)
    # Reducing bit depth may round or dither by one level; 8 bits stay as they are.
    assert np.abs(frame - np.minimum(expected, 255)).max() <= (0 if depth == 8 else 2)


@pytest.mark.parametrize("rotation", [0, 90, 180])
def test_each_picture_is_viewed_once_as_it_comes(tmp_path, rotation):
    path = write_clip(tmp_path / "clip.mp4", rotation=rotation, mirror=rotation == 180)
    decoder = PyAVDecoder()
    corner = Corner(20, 30, lambda parts: parts[:, ::2])
    numbers = np.array([31, 7, 7, 0, 31])
    whole = decoder.frames(path, numbers)
    np.testing.assert_array_equal(decoder.frames(path, numbers, corner), whole[:, :20:2, :30])
    np.testing.assert_array_equal(np.stack(corner.seen), whole[[3, 1, 0], :20, :30])
    assert decoder.frames(path, np.array([]), corner).shape == (0, 10, 30, 3)


def test_requests_that_make_no_sense(tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    decoder = PyAVDecoder()
    end = COUNT / 30
    last = frames_at(decoder, path, np.array([end]))[0]
    assert read_number(last) == COUNT - 1  # rounding, at most
    with pytest.raises(DataError, match=r"clip\.mp4.*video ends at 1\.333 s"):
        frames_at(decoder, path, np.array([0.0, end + 0.1]))
    with pytest.raises(DataError, match=r"clip\.mp4: asked for frame 40.*there are 40"):
        decoder.frames(path, np.array([0, COUNT]))
    for numbers in ([-1], [0.5], [[0]]):
        with pytest.raises(ValueError, match="whole numbers"):
            decoder.frames(path, np.array(numbers))
    for nothing in (decoder.frames(path, np.array([])), frames_at(decoder, path, np.array([]))):
        assert nothing.shape == (0, 48, 72, 3)
    with pytest.raises(DataError, match=r"gone\.mp4"):
        decoder.frames(tmp_path / "gone.mp4", np.array([0]))


def test_a_replaced_file_is_read_anew(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 20)
    decoder = PyAVDecoder()
    assert len(decoder.timestamps(path)) == 20
    write_clip(path, 30, numbers_from=500)
    assert len(decoder.timestamps(path)) == 30
    assert read_number(decoder.frames(path, np.array([29]))[0]) == 529


def test_the_check_tells_what_a_viewer_sees(tmp_path):
    info = inspect(write_clip(tmp_path / "clip.mkv", 50, fps=25)).facts
    assert info is not None
    assert (info.num_frames, info.height, info.width) == (50, 48, 72)
    assert info.codec == "h264"
    assert info.fps == pytest.approx(25) and info.duration == pytest.approx(2.0)
    assert not info.variable_frame_rate
    uneven = inspect(write_variable_rate(tmp_path / "vfr.mp4")).facts
    assert uneven is not None and uneven.variable_frame_rate


def test_copies_give_the_same_frames(tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    numbers = np.linspace(0, 39, 9).astype(int)
    expected = PyAVDecoder().frames(path, numbers)
    copy = pickle.loads(pickle.dumps(PyAVDecoder()))
    np.testing.assert_array_equal(copy.frames(path, numbers), expected)
