"""`nexus check` on real files, good and bad."""

import json

import av
import numpy as np
import pytest
from odd_videos import packet_places, write_clip

from nexus.cli.main import run
from nexus.mp4 import encode_mp4

LENGTHS = {"good.mp4": 12, "sub/gr\u00fcn und blau.mp4": 12, "short.mp4": 3}


def clip(frames):
    rng = np.random.default_rng(frames)
    video = rng.integers(0, 255, (frames, 32, 48, 3), dtype=np.uint8)
    return encode_mp4(video, 8.0, crf=10, keyframe_every=1)


def sound():
    import io

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        samples = np.zeros((1, 8000), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("check") / "videos"
    (folder / "sub").mkdir(parents=True)
    for name, frames in LENGTHS.items():
        (folder / name).write_bytes(clip(frames))
    (folder / "nothing.mp4").touch()
    (folder / "letter.mp4").write_text("dear all, [red]this is no video[/red]\n" * 40)
    (folder / "song.mp4").write_bytes(sound())
    return folder


def lines_about(printed, name):
    return [line for line in printed.splitlines() if line.startswith(name)]


def test_it_says_what_is_usable_and_names_every_bad_file(folder, capsys, tmp_path):
    found = tmp_path / "found.json"
    assert run(["check", str(folder), "--json", str(found)]) == 0
    printed = capsys.readouterr().out
    [usable] = lines_about(printed, "usable videos")
    assert usable.split()[2:] == ["2,", "3.0", "s", "in", "all"]
    assert lines_about(printed, "resolution")[0].split()[-1] == "48x32"
    assert lines_about(printed, "frames a second")[0].split()[-1] == "8"
    for name, kind in {
        "nothing.mp4": "empty file",
        "letter.mp4": "unreadable",
        "song.mp4": "no video stream",
        "short.mp4": "too short",
    }.items():
        [line] = lines_about(printed, name)
        assert kind in line
        assert " no " in line
    [twin] = lines_about(printed, "sub/gr\u00fcn und blau.mp4")
    assert "duplicate" in twin and " yes " in twin
    assert "4 left out, 1 used in spite of a remark." in printed
    content = json.loads(found.read_text())
    assert {record["key"] for record in content["records"]} == {
        "good.mp4",
        "sub/gr\u00fcn und blau.mp4",
    }
    assert len(content["problems"]) == 5


def test_strict_makes_any_problem_an_error(folder, capsys, tmp_path):
    assert run(["check", str(folder), "--strict"]) == 1
    good = folder / "good.mp4"
    assert run(["check", str(good), "--strict"]) == 0
    assert "No problems found." in capsys.readouterr().out


def test_the_clip_length_decides_what_is_too_short(folder, capsys):
    assert run(["check", str(folder), "--min-frames", "3"]) == 0
    assert lines_about(capsys.readouterr().out, "short.mp4") == []
    assert run(["check", str(folder), "--min-frames", "13"]) == 1
    assert "Nothing usable is left." in capsys.readouterr().out


def test_labels_and_splits_of_a_list_are_counted(folder, capsys, tmp_path):
    rows = ["path,split,action"]
    rows += [f"{folder / 'good.mp4'},train,[run]", f"{folder / 'nothing.mp4'},test,sit"]
    listing = tmp_path / "list.csv"
    listing.write_text("\n".join(rows) + "\n")
    assert run(["check", str(listing)]) == 0
    printed = capsys.readouterr().out
    assert lines_about(printed, "split")[0].split()[-1] == "train"
    assert lines_about(printed, "label action")[0].split()[-1] == "[run]"


def test_a_source_that_is_not_there_is_one_message(capsys, tmp_path):
    assert run(["check", str(tmp_path / "nowhere")]) == 1
    shown = capsys.readouterr()
    assert "nowhere" in shown.err
    assert "Traceback" not in shown.err


def test_videos_are_checked_against_a_recipe(folder, capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "model: {num_frames: 8, img_size: 32, patch_size: 8, encoder_dim: 16, num_heads: 2}\n"
        "data: {clip: {fps: 4}}\n"
    )
    assert run(["check", str(folder), "--recipe", str(tmp_path / "mine.yaml")]) == 1
    told = capsys.readouterr().out
    assert "usable videos  0" in told  # 12 frames at 8 a second are 1.5 s, and a clip lasts 1.75 s
    [line] = lines_about(told, "good.mp4")
    assert "too short" in line and " no " in line
    assert "2 of 2 videos are shorter than a clip (1.75 s: clips of 8 frames at 4 a sec" in told
    assert run(["check", str(folder), "--recipe", "small"]) == 0
    assert "clips of small last 0.88 s (clips of 8 frames with a stride of 1" in (
        capsys.readouterr().out
    )


def test_a_file_that_is_there_twice_is_named(capsys, tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "same.mp4").write_bytes(clip(12))
        (tmp_path / split / "own.mp4").write_bytes(clip(13 if split == "train" else 14))
    assert run(["check", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    kinds = {
        name: sorted(line[len(name) :].strip()[:8] for line in lines_about(told, name))
        for name in ("train/same.mp4", "test/same.mp4", "train/own.mp4")
    }
    assert sorted(kinds.values()) == [[], ["duplicat", "in two s"], ["in two s"]]
    assert run(["check", str(tmp_path), "--strict"]) == 1


def test_full_finds_what_lies_between_the_ends(capsys, tmp_path):
    path = tmp_path / "videos" / "middle.avi"
    path.parent.mkdir()
    write_clip(path, 40, codec="mjpeg", pixel_format="yuvj420p", b_frames=0)
    position, size, _ = packet_places(path)[20]
    data = bytearray(path.read_bytes())
    data[position + size * 2 // 3 : position + size - 2] = b"\0" * (size - 2 - size * 2 // 3)
    path.write_bytes(data)
    for option, said in (("--strict", "No problems found"), ("--full", "1 of 40 frames do not")):
        assert run(["check", str(path.parent), option]) == 0
        assert said in " ".join(capsys.readouterr().out.split())
