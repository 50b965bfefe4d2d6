"""What a file is: by its name, else by its first bytes."""

import os
from pathlib import Path

import av
import pytest
from odd_videos import write_audio, write_clip

from nexus.data.catalog.account import account_of
from nexus.data.catalog.catalog import Catalog, scan
from nexus.data.catalog.file_kinds import is_video, kind_of

FORMATS = {
    "mp4": {},
    "mov": {},
    "matroska": {},
    "avi": {"codec": "mpeg4", "b_frames": 0},
    "mpegts": {},
    "mpeg": {"codec": "mpeg2video"},
    "flv": {"codec": "flv", "b_frames": 0},
    "asf": {"codec": "wmv2", "b_frames": 0},
    "h264": {},
    "mpeg2video": {"codec": "mpeg2video"},
    "ivf": {"codec": "libvpx", "b_frames": 0},
    "nut": {"codec": "mpeg4"},
    "mxf": {"codec": "mpeg2video"},
    "gif": {"codec": "gif", "pixel_format": "rgb8", "b_frames": 0},
    "yuv4mpegpipe": {"codec": "rawvideo", "b_frames": 0},
}


@pytest.mark.parametrize("form", FORMATS)
def test_a_video_without_a_known_ending_is_used(tmp_path, monkeypatch, form):
    opened = av.open
    with monkeypatch.context() as patch:  # the name does not tell the writer either
        patch.setattr(av, "open", lambda *args, **kw: opened(*args, format=form, **kw))
        write_clip(tmp_path / "GH010077", 12, fps=25, height=64, width=96, **FORMATS[form])
    [record] = scan(tmp_path, workers=0).records
    assert record.key == "GH010077" and record.num_frames >= 11


def test_camera_streams_begin_their_packets_with_a_time(tmp_path):
    stream = write_clip(tmp_path / "a.ts", 12).read_bytes()
    packets = [stream[start : start + 188] for start in range(0, len(stream), 188)]
    (tmp_path / "a.ts").unlink()
    (tmp_path / "00001").write_bytes(b"".join(b"\0\0\0\0" + packet for packet in packets))
    assert len(scan(tmp_path, workers=0)) == 1


@pytest.mark.parametrize(
    "ending", ["m2t", "mod", "tod", "3gpp", "mp4v", "dav", "trp", "mp2v", "MP4", "3GPP"]
)
def test_endings_of_cameras_and_recorders(tmp_path, ending):
    write_clip(tmp_path / "a.mp4", 12).rename(tmp_path / f"a.{ending}")
    [record] = scan(tmp_path, workers=0).records
    assert record.num_frames == 12


@pytest.mark.parametrize(
    ("name", "content", "kind", "explained"),
    [
        ("a.txt", b"x", "text files", True),
        ("labels.csv", b"x", "tables and lists", True),
        ("meta.JSON", b"{}", "tables and lists", True),
        ("IMG_1.HEIC", b"\0\0\0\x18ftypheic", "HEIC pictures", False),
        ("IMG_1", b"\0\0\0\x18ftypheic....", "unknown files", False),
        ("a.dng", b"II*\0", "raw pictures of cameras", False),
        ("a.m4a", b"\0\0\0\x18ftypM4A ", "sound", True),
        ("README", b"read me\n", "text files", True),
        ("a.lrv", b"\0\0\0\x18ftypmp42", "small copies of videos that cameras keep", True),
        ("a.mp4.part", b"\0\0\0\x18ftypmp42", "unfinished downloads", False),
        ("nothing", b"", "empty files", True),
        ("blob", bytes(range(256)), "unknown files", False),
        ("a.bin", b"PK\x03\x04" + bytes(99), "files of no known ending (a ZIP archive)", False),
        ("a.wavx", b"RIFF\0\0\0\0WAVEfmt ", "unknown files", False),
        ("song.ogg", b"OggS" + bytes(24) + b"\x01vorbis", "sound", True),
    ],
)
def test_what_is_no_video_has_a_name(tmp_path, name, content, kind, explained):
    path = tmp_path / name
    path.write_bytes(content)
    assert not is_video(path)
    assert kind_of(path) == (kind, explained)
    account = account_of(tmp_path, Catalog("", (), ()))
    assert (account.files, account.used, account.wonders) == (1, 0, not explained)
    [left] = account.left_out
    assert left.reason.startswith(kind) and left.files == (name,)
    path.unlink()
    assert kind_of(path.with_suffix(".gone")) == ("files that cannot be opened", False)


def test_hidden_files_links_and_pictures_have_their_own_lines(clips):
    (clips / ".git" / "objects").mkdir(parents=True)
    for name in (".DS_Store", ".git/config", ".git/objects/a"):
        (clips / name).write_text("x")
    write_audio(clips / "sub" / "song.mp4")
    (clips / "again.mp4").symlink_to(clips / "sub" / "b.mp4")
    (clips / "loop").symlink_to(clips)
    (clips / "sub" / "poster.jpg").write_bytes(b"\xff\xd8\xff")
    (clips / "art").mkdir()
    (clips / "art" / "poster.jpg").write_bytes(b"\xff\xd8\xff")
    account = account_of(clips, scan(clips, workers=0))
    assert (account.files, account.used) == (9, 2)
    assert {one.reason: set(one.files) for one in account.left_out} == {
        "hidden files": {".DS_Store", ".git/config", ".git/objects/a"},
        "files with problems, as said above": {"sub/song.mp4"},
        "links to files that are counted elsewhere, or their targets": {"sub/b.mp4"},
        "pictures beside videos": {"sub/poster.jpg"},
        "pictures of no series": {"art/poster.jpg"},
    }
    assert account.wonders
    assert sum(len(one["files"]) for one in account.to_mapping()["left_out"]) == 7
    assert str(account.left_out[0]) == "pictures of no series: 1 (art/poster.jpg)"


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    assert not is_video(tmp_path / "pipe")
    [left] = account_of(tmp_path, Catalog("", (), ())).left_out
    assert left.reason == "files that cannot be opened, not read" and len(left.files) == 2


def test_relative_folders_are_accounted_for_as_well(clips, monkeypatch):
    monkeypatch.chdir(clips.parent)
    account = account_of(Path("clips"), scan("clips", workers=0))
    assert (account.files, account.used, account.left_out) == (2, 2, ())
