"""Damaged, cut and misleading files: what is left decodes right, the rest is an error."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from by_time import frames_at
from odd_videos import (
    packet_places,
    read_number,
    write_clip,
    write_cut_short,
    write_damaged,
    write_truncated,
)
from watching import Corner

from nexus.data.catalog.inspection import inspect
from nexus.data.videos.container import open_video, scan_packets
from nexus.data.videos.pyav import MissedError, PyAVDecoder, _seek
from nexus.errors import DataError


def test_a_cut_off_end_is_left_out_and_the_rest_decodes(tmp_path):
    path = write_cut_short(tmp_path / "cut.mp4", count=60, share=0.6)
    decoder = PyAVDecoder()
    times = decoder.timestamps(path)
    assert 20 <= len(times) < 60
    assert [read_number(f) for f in decoder.frames(path, np.arange(len(times)))] == np.rint(
        times * 30
    ).tolist()
    with pytest.raises(DataError, match=r"cut\.mp4: .*1\.9\d* s"):
        frames_at(decoder, path, np.array([1.9]))


def test_damage_inside_is_an_error_that_names_file_and_time(tmp_path):
    path = write_damaged(tmp_path / "damaged.mp4", packet=50)
    pts = sorted(place[2] for place in packet_places(path))
    frame = pts.index(packet_places(path)[50][2])
    decoder = PyAVDecoder()
    times = decoder.timestamps(path)
    with pytest.raises(DataError, match=rf"damaged\.mp4: the frame at {times[frame]:.2f}\d s"):
        decoder.frames(path, np.array([frame]))
    across = np.array([frame - 6, 62, 64])  # a pass over the damage would fail
    assert [read_number(f) for f in decoder.frames(path, across)] == across.tolist()
    before, after = np.arange(36), np.arange(72, 120)
    assert [read_number(f) for f in decoder.frames(path, before)] == before.tolist()
    assert [read_number(f) for f in decoder.frames(path, after)] == after.tolist()


@pytest.mark.parametrize("stamps", [range(60), np.cumsum([0, *range(1, 60)])])
def test_where_the_packets_mislead_frames_are_counted(tmp_path, monkeypatch, stamps):
    def miss(*_):
        raise MissedError

    monkeypatch.setattr("nexus.data.videos.pyav.frames_by_time", miss)
    path = write_clip(
        tmp_path / "clip.mkv", 60, stamps=list(stamps), tick=Fraction(1, 30), first=100
    )
    decoder, wanted = PyAVDecoder(), np.array([59, 0, 31, 31, 7])
    for _ in range(2):  # the second time it is known
        assert [read_number(f) for f in decoder.frames(path, wanted)] == wanted.tolist()


def test_damage_that_a_decoder_patches_up_is_not_passed_on(tmp_path):
    path = write_damaged(tmp_path / "patched.mp4", packet=46, patched=True)
    assert packet_places(path)[46][2] * 30 == 48 * 15360  # a frame that others are predicted from
    decoder = PyAVDecoder()
    for frame in (48, 50, 59):
        with pytest.raises(DataError, match=r"patched\.mp4.*damaged"):
            decoder.frames(path, np.array([frame]))
    good = np.r_[36:46, 60:70]
    assert [read_number(f) for f in decoder.frames(path, good)] == good.tolist()


def test_a_broadcast_with_a_lost_packet(tmp_path):
    path = write_clip(tmp_path / "lossy.ts", 60, height=96, width=144)
    position, _, pts = packet_places(path)[20]
    first = packet_places(path)[0][2]
    data = path.read_bytes()
    start = position // 188 * 188
    assert data[start] == 0x47  # where a transport packet begins
    path.write_bytes(data[:start] + data[start + 188 :])
    decoder = PyAVDecoder()
    times = decoder.timestamps(path)
    numbers = np.rint(times * 30).astype(int)
    assert (pts - first) // 3000 not in numbers and len(times) < 60
    assert [read_number(f) for f in decoder.frames(path, np.arange(len(times)))] == numbers.tolist()


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4"])
def test_a_recording_that_starts_in_the_middle(tmp_path, codec):
    """Its first keyframe is followed by frames that are shown earlier and refer to lost ones."""
    whole = write_clip(tmp_path / "whole.mkv", codec=codec)
    path = tmp_path / "tail.mkv"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.dts is not None]
        second = [i for i, packet in enumerate(packets) if packet.is_keyframe][1]
        assert min(p.pts for p in packets[second:]) < packets[second].pts
        for packet in packets[second:]:
            packet.stream = copy
            target.mux(packet)
    decoder = PyAVDecoder()
    times = decoder.timestamps(path)
    np.testing.assert_allclose(times, np.arange(28) / 30, atol=1.1e-3)
    assert [read_number(f) for f in decoder.frames(path, np.arange(len(times)))] == list(
        range(12, 40)
    )


@pytest.mark.parametrize(("late", "opened"), [(0.0, 1), (0.9, 1), (100.0, 2)])
def test_seeks_that_land_late_are_repaired(tmp_path, monkeypatch, late, opened):
    path = write_clip(tmp_path / "clip.mp4", 120)
    decoder = PyAVDecoder()
    decoder.timestamps(path)
    opens = []

    def seek(video, pts):
        return _seek(video, pts + round(late / video.tick))

    def count(path, **options):
        opens.append(path)
        return open_video(path, **options)

    monkeypatch.setattr("nexus.data.videos.pyav._seek", seek)
    monkeypatch.setattr("nexus.data.videos.pyav.open_video", count)
    wanted = np.array([65, 70, 80])
    assert [read_number(f) for f in decoder.frames(path, wanted)] == wanted.tolist()
    assert len(opens) == opened


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cut.mkv", {}),
        ("cut.ts", {}),
        ("cut.mpg", {"codec": "mpeg2video"}),
        ("cut.flv", {"codec": "flv", "b_frames": 0}),
        ("cut.avi", {"codec": "mpeg4", "b_frames": 0}),
        ("cut.gif", {"codec": "gif", "pixel_format": "rgb8", "b_frames": 0, "fps": 25}),
    ],
)
def test_what_is_left_of_a_cut_file_is_right(tmp_path, name, options):
    path = write_truncated(tmp_path / name, 0.75, count=60, **options)
    result = inspect(path)
    assert result.facts is not None and 10 < result.facts.num_frames < 60
    decoder = PyAVDecoder()
    times = decoder.timestamps(path)
    assert len(times) == result.facts.num_frames
    usable = times[times < (result.facts.usable_until or np.inf)]
    numbers = [read_number(frame) for frame in decoder.frames(path, np.arange(len(usable)))]
    assert numbers == np.rint(usable * options.get("fps", 30)).tolist()
    if name not in ("cut.ts", "cut.mpg"):  # these two say nowhere how long they are
        assert [(f.kind, f.fatal) for f in result.findings] == [("truncated", False)]


def test_a_change_of_size_is_an_error(tmp_path):
    small = write_clip(tmp_path / "small.h264", 10)
    large = write_clip(tmp_path / "large.h264", 10, height=96, width=144)
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    decoder = PyAVDecoder()
    times = decoder.timestamps(path)
    assert len(times) == 20
    assert decoder.frames(path, np.arange(12, 15)).shape == (3, 96, 144, 3)
    with pytest.raises(DataError, match=r"both\.h264.*from 72x48 to 144x96"):
        decoder.frames(path, np.arange(8, 12))
    with pytest.raises(DataError, match=r"both\.h264.*from 72x48 to 144x96"):
        decoder.frames(path, np.arange(8, 12), Corner(2, 2))


def test_a_file_that_lost_its_streams_is_said_to_be_cut_short(tmp_path):
    path = write_clip(tmp_path / "whole.mp4", 60)
    cut = tmp_path / "cut.mp4"
    content = path.read_bytes()
    cut.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=r"cut\.mp4: no video stream; the file may have been cut"):
        PyAVDecoder().timestamps(cut)


def test_a_stream_that_begins_later_is_passed_over(tmp_path):
    class Surprised:
        """What PyAV does over the first packet of a stream that was not there at the start."""

        def __init__(self, container):
            self.container, self.left = container, 20

        def demux(self, stream):
            for packet in self.container.demux(stream):
                if self.left == 0:
                    self.left = -1
                    raise IndexError("list index out of range")
                self.left -= 1
                yield packet

    with open_video(write_clip(tmp_path / "late.flv", codec="flv", b_frames=0)) as video:
        everything = scan_packets(video)
    with open_video(tmp_path / "late.flv") as video:
        scan = scan_packets(replace(video, container=Surprised(video.container)))
    assert scan.error is None
    assert (
        scan.pts.tolist() == np.delete(everything.pts, 20).tolist()
    )  # the packet that was not ours
