"""Scans of folders, lists and directories of pictures: what is found, refused and remembered."""

import json
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from by_time import frames_at
from odd_videos import (
    draw_number,
    write_audio,
    write_boasting_avi,
    write_clip,
    write_damaged,
)
from PIL import Image

from nexus.data.catalog.catalog import Catalog, scan
from nexus.data.catalog.index import FORMAT
from nexus.data.catalog.inspection_pool import inspect_all
from nexus.data.loading.video_reader import VideoReader
from nexus.data.videos.pyav import PyAVDecoder
from nexus.errors import DataError


def kinds(catalog: Catalog) -> dict[str, str]:
    return {Path(problem.path).name: problem.kind for problem in catalog.problems}


def test_an_odd_folder_is_told_apart(odd_folder):
    folder, expected = odd_folder
    seen = []
    catalog = scan(folder, min_frames=8, progress=lambda *at: seen.append(at))
    assert {**dict.fromkeys(expected, "good"), **kinds(catalog)} == expected
    assert seen[0] == (0, len(expected)) and seen[-1] == (len(expected), len(expected))
    usable = {record.key: record for record in catalog.records}
    good = [name for name, kind in expected.items() if kind == "good"]
    assert sorted(usable) == sorted([*good, "cut short.mp4", "variable.mp4"])
    assert {Path(p.path).name for p in catalog.problems if not p.fatal} == {
        "cut short.mp4",
        "variable.mp4",
    }
    for name in good:
        record = usable[name]
        assert (record.kind, record.num_frames, record.codec) == ("video", 48, "h264")
        assert (record.height, record.width) == (48, 72)
        assert record.fps == pytest.approx(24) and record.duration == pytest.approx(2)
        assert not record.variable_frame_rate
        assert record.start is record.end is record.split is None
    assert usable["variable.mp4"].variable_frame_rate
    # Whatever is usable decodes to its very end.
    for record in catalog.records:
        times = PyAVDecoder().timestamps(record.path)
        assert len(times) == record.num_frames
        every = PyAVDecoder().frames(record.path, np.arange(len(times)))
        assert len(every) == record.num_frames
    reasons = {Path(problem.path).name: problem.reason for problem in catalog.problems}
    assert "0 bytes" in reasons["empty.mp4"]
    assert "plain text" in reasons["text.mp4"]
    assert "only audio (aac)" in reasons["audio.mp4"]
    assert "moov" in reasons["truncated.mp4"]
    assert reasons["three frames.mp4"] == "3 frames; at least 8 are needed"
    count = usable["cut short.mp4"].num_frames
    assert f"announces 60 frames, {count} decode" in reasons["cut short.mp4"]
    assert "between 20 and 100 ms" in reasons["variable.mp4"]
    json.dumps(catalog.to_mapping())


def test_a_header_that_announces_too_much(tmp_path):
    write_boasting_avi(tmp_path / "boast.avi", announced=444, count=68)
    catalog = scan(tmp_path, workers=0)
    assert [record.num_frames for record in catalog.records] == [68]
    (problem,) = catalog.problems
    assert (problem.kind, problem.fatal) == ("truncated", False)
    assert "announces 444 frames, 68 decode" in problem.reason


def test_frames_that_are_lost_at_the_end_are_fenced_off(tmp_path):
    """The packets are all there, but the last ones hold rubbish."""
    path = write_damaged(tmp_path / "rotten end.mp4", packet=118)
    (record,) = scan(path, workers=0).records
    assert record.num_frames == 120 and record.end is not None
    times = PyAVDecoder().timestamps(path)
    usable = times[times < record.end]
    assert 108 <= len(usable) < 120
    assert len(PyAVDecoder().frames(path, np.arange(len(usable)))) == len(usable)
    with pytest.raises(DataError, match="rotten end"):
        PyAVDecoder().frames(path, np.arange(len(usable), len(times)))


def test_frames_that_are_lost_at_the_start_are_counted(tmp_path):
    write_damaged(tmp_path / "rotten start.mp4", packet=3)
    (problem,) = scan(tmp_path, workers=0).problems
    assert (problem.kind, problem.fatal) == ("odd", False)
    assert "of 120 frames do not decode" in problem.reason


def test_less_common_troubles(tmp_path):
    write_audio(tmp_path / "song.mp4", cover=True)
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    (tmp_path / "page.mp4").write_text("<!DOCTYPE html><html>not found</html>")
    (tmp_path / "playlist.mp4").write_text("ffconcat version 1.0\nfile 'song.mp4'\n")
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    catalog = scan(tmp_path, workers=0)
    assert catalog.records == ()
    assert kinds(catalog) == {
        "song.mp4": "no_video_stream",
        "pipe.mp4": "unreadable",
        "gone.mp4": "missing",
        "loop.mp4": "unreadable",
        "page.mp4": "unreadable",
        "playlist.mp4": "unreadable",
        "zeros.mp4": "unreadable",
    }
    assert all(problem.fatal for problem in catalog.problems)
    reasons = {Path(problem.path).name: problem.reason for problem in catalog.problems}
    assert "a cover picture" in reasons["song.mp4"]
    assert "web page" in reasons["page.mp4"]
    assert "list of other files" in reasons["playlist.mp4"]
    assert "zero bytes" in reasons["zeros.mp4"]


def test_unusual_but_usable_files_are_odd(tmp_path):
    stretched = tmp_path / "stretched.mp4"
    with av.open(str(stretched), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 72, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        for i in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw_number(i), "rgb24")))
        container.mux(stream.encode())
    write_clip(tmp_path / "fields.ts", options={"x264-params": "interlaced=1"})
    write_clip(tmp_path / "reordered.avi", codec="mpeg4")
    catalog = scan(tmp_path, workers=0)
    assert len(catalog) == 3 and not any(problem.fatal for problem in catalog.problems)
    reasons = {Path(problem.path).name: problem.reason for problem in catalog.problems}
    assert "not square (aspect 2.000)" in reasons["stretched.mp4"]
    assert "interlaced" in reasons["fields.ts"]
    assert "re-encode" in reasons["reordered.avi"]


def test_folders_are_searched_in_order_without_hidden_files_or_loops(clips):
    shutil.copy(clips / "a.mp4", clips / ".hidden.mp4")
    (clips / ".git").mkdir()
    shutil.copy(clips / "a.mp4", clips / ".git" / "c.mp4")
    (clips / "notes.txt").write_text("not a video")
    shutil.copy(clips / "a.mp4", clips / "sub" / "UPPER.MP4")
    (clips / "sub" / "up").symlink_to(clips)  # a loop
    (clips / "pictures").mkdir()
    for i in range(2):
        Image.fromarray(draw_number(i)).save(clips / "pictures" / f"{i}.png")
    elsewhere = clips.parent / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(clips / "a.mp4", elsewhere / "linked.mp4")
    (clips / "other").symlink_to(elsewhere)
    (clips / "twice.mp4").symlink_to(clips / "a.mp4")
    keys = [record.key for record in scan(clips, workers=0).records]
    assert keys == ["a.mp4", "other/linked.mp4", "pictures", "sub/UPPER.MP4", "sub/b.mp4"]
    (clips / "sub" / "up").unlink()
    several = scan([clips / "sub", clips / "a.mp4"], workers=0)
    assert several.source == "2 paths"
    assert [record.key for record in several.records] == [
        f"{clips}/sub/UPPER.MP4",
        f"{clips}/sub/b.mp4",
        f"{clips}/a.mp4",
    ]


def test_single_files_and_bad_sources(clips, tmp_path):
    (record,) = scan(clips / "a.mp4", workers=0).records
    assert (record.key, record.path) == ("a.mp4", clips / "a.mp4")
    with pytest.raises(DataError, match=r"nowhere: no such file"):
        scan(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match=r"bare: no videos found"):
        scan(tmp_path / "bare")
    with pytest.raises(DataError, match=r"no videos found"):
        scan([])


def test_directories_of_pictures(clips):
    for folder, sizes in {"frames": [(48, 72)] * 3, "mixed": [(48, 72), (40, 60)]}.items():
        (clips / folder).mkdir()
        for i, size in enumerate(sizes):
            Image.fromarray(draw_number(i, *size)).save(clips / folder / f"{i}.png")
    Image.fromarray(draw_number(0)).save(clips / "cover.png")  # beside videos: not a video
    (clips / "photos").mkdir()  # not numbered: not a video, unless it is pointed at
    for name in ("beach.png", "forest.png"):
        Image.fromarray(draw_number(1)).save(clips / "photos" / name)
    (clips / "broken").mkdir()
    (clips / "broken" / "0.png").write_bytes(b"rubbish")
    Image.fromarray(draw_number(0)).save(clips / "broken" / "1.png")
    catalog = scan(clips, workers=0, frames_fps=5)
    records = {record.key: record for record in catalog.records}
    assert list(records) == ["a.mp4", "frames", "sub/b.mp4"]
    record = records["frames"]
    assert (record.kind, record.num_frames, record.fps, record.codec) == ("frames", 3, 5, "png")
    assert record.duration == pytest.approx(0.6)
    frames = frames_at(VideoReader(catalog).decoder_of(record), record.path, np.array([0.2]))
    np.testing.assert_array_equal(frames[0], draw_number(1))
    reader = VideoReader(catalog)
    assert reader.decoder_of(records["a.mp4"]) is reader.decoder
    problems = {Path(problem.path).name: problem for problem in catalog.problems}
    assert (problems["mixed"].kind, problems["mixed"].fatal) == ("odd", True)
    assert "1.png is 60x40, but 0.png is 72x48" in problems["mixed"].reason
    assert problems["broken"].kind == "unreadable" and "0.png" in problems["broken"].reason
    assert set(problems) == {"mixed", "broken"}
    assert [record.num_frames for record in scan(clips / "photos", workers=0).records] == [2]
    (alone,) = scan(clips / "frames", workers=0).records
    assert (alone.key, alone.kind) == ("frames", "frames")
    listed = clips / "list.csv"
    listed.write_text("path,label\nframes,x\nsub,y\n", encoding="utf-8")
    catalog = scan(listed, workers=0)
    assert [record.key for record in catalog.records] == ["frames"]
    assert kinds(catalog) == {"sub": "no_video_stream"}


def test_the_index_spares_a_second_check(clips, tmp_path, monkeypatch):
    checked = []

    def counting(paths, done, workers, **options):
        checked.append([path.name for path in paths])
        inspect_all(paths, done, workers, **options)

    monkeypatch.setattr("nexus.data.catalog.catalog.inspect_all", counting)
    (clips / "bad.mp4").write_text("text")
    where = tmp_path / "index"
    first = scan(clips, index_dir=where, workers=0)
    second = scan(clips, index_dir=where, workers=2)
    assert checked.pop(0) == ["a.mp4", "bad.mp4", "b.mp4"] and checked.pop(0) == []
    assert first == second and len(first) == 2
    write_clip(clips / "a.mp4", 20)
    shutil.copy(clips / "a.mp4", clips / "new.mp4")
    third = scan(clips, index_dir=where, workers=0)
    assert checked.pop(0) == ["a.mp4", "new.mp4"]
    assert [record.num_frames for record in third.records] == [20, 20, 40]
    scan(clips, workers=0)
    assert len(checked.pop(0)) == 4  # without an index nothing is remembered
    (path,) = where.iterdir()
    for broken in ("{half a fi", "[]", f'{{"format": {FORMAT}, "files": {{"a": {{}}}}}}'):
        path.write_text(broken)
        with pytest.warns(UserWarning, match="index .* cannot be read"):
            assert scan(clips, index_dir=where, workers=0) == third
        assert len(checked.pop(0)) == 4
    assert scan(clips, index_dir=where, workers=0) == third and checked.pop(0) == []
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "format": 0}))
    scan(clips, index_dir=where, workers=0)
    assert len(checked.pop(0)) == 4


def test_an_interrupted_scan_keeps_what_it_has(clips, tmp_path):
    def interrupt(done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(clips, index_dir=tmp_path / "index", workers=0, progress=interrupt)
    stored = json.loads((tmp_path / "index" / "videos.json").read_text())
    assert list(stored["files"]) == [str(clips / "a.mp4")]


def test_names_that_are_not_unicode(clips, tmp_path):
    name = os.fsdecode(b"caf\xe9.mp4")
    shutil.copy(clips / "a.mp4", clips / name)
    for _ in range(2):
        catalog = scan(clips, index_dir=tmp_path / "index")
        assert [record.key for record in catalog.records] == ["a.mp4", name, "sub/b.mp4"]


def test_the_summary_counts(odd_folder):
    folder, expected = odd_folder
    catalog = scan(folder, min_frames=8, workers=0)
    summary = catalog.summary()
    assert summary["videos"] == len(catalog) == 6
    assert summary["unusable"] == 5
    assert summary["problems"] == {
        "truncated": 2,
        "empty_file": 1,
        "no_video_stream": 1,
        "too_short": 1,
        "unreadable": 1,
        "variable_frame_rate": 1,
    }
    assert summary["seconds"] == pytest.approx(catalog.total_seconds)
    assert summary["resolutions"] == {"72x48": 6} and summary["codecs"] == {"h264": 6}
    assert summary["frame_rates"]["24"] == 4 and summary["splits"] == {"none": 6}
    quantiles = summary["duration_quantiles"]
    lengths = sorted(record.duration for record in catalog.records)
    assert (quantiles["min"], quantiles["max"]) == (lengths[0], lengths[-1])
    assert quantiles["median"] == pytest.approx(np.median(lengths))
    json.dumps(summary)
    assert scan(folder / "text.mp4", workers=0).summary()["duration_quantiles"] == {}
    assert len(expected) == 11
