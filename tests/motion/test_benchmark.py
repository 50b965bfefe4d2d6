"""The folder of a benchmark: complete, the same again, by whole files, and refused in words."""

import csv
import hashlib
import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import av
import numpy as np
import pytest
from motion_sources import drifting, write_source

import nexus
from nexus.cli.main import run
from nexus.data.catalog.catalog import scan
from nexus.errors import ConfigError, DataError
from nexus.motion.benchmark import write_benchmark
from nexus.motion.config import MotionConfig

SMALL = MotionConfig(size=32, seconds=1, fps=8, train_clips=30, validation_clips=10, test_clips=12)


def contents(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


@pytest.fixture(scope="module")
def made(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "set"
    return write_benchmark(scan(sources), out, SMALL, seed=3, workers=0)


def rows_of(listing: Path) -> list[dict[str, str]]:
    with listing.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_list_is_read_as_it_is(made):
    catalog = scan(made.listing)
    assert not catalog.problems
    assert Counter(record.split for record in catalog.records) == {
        "train": 30,
        "validation": 10,
        "test": 12,
    }
    for record in catalog.records:
        assert (record.height, record.width, record.num_frames) == (32, 32, 8)
        assert record.fps == 8
        own = set(record.labels)
        assert (
            own - {"motion", "source"}
            == {
                "pan": {"direction", "speed"},
                "zoom": {"zoom"},
                "still": {"arrow"},
            }[str(record.labels["motion"])]
        )


def test_whole_files_are_held_out(made):
    seen = defaultdict(set)
    for row in rows_of(made.listing):
        seen[row["source"]].add(row["split"])
    assert {source: {split} for source, split in made.splits.items()} == seen
    assert Counter(made.splits.values()) == {"train": 3, "validation": 1, "test": 1}


def test_what_it_was_made_of_stands_beside_it(made):
    described = json.loads((made.listing.parent / "motion.json").read_text(encoding="utf-8"))
    assert described["seed"] == 3
    assert MotionConfig.from_mapping(described["config"]) == SMALL
    assert {one["source"]: one["split"] for one in described["sources"]} == made.splits
    assert sum(one["clips"] for one in described["sources"]) == 52


def test_the_same_files_come_again_whatever_the_processes(sources, made, tmp_path):
    heard = []
    again = write_benchmark(
        scan(sources),
        tmp_path / "set",
        SMALL,
        seed=3,
        workers=2,
        progress=lambda *step: heard.append(step),
    )
    assert contents(again.listing.parent) == contents(made.listing.parent)
    assert heard[-1] == (52, 52)
    other = write_benchmark(scan(sources), tmp_path / "other", SMALL, seed=4, workers=2)
    first, second = contents(made.listing.parent), contents(other.listing.parent)
    assert first.keys() == second.keys()
    assert not {first[name] for name in first if name.endswith(".mp4")} & set(second.values())


def test_clips_show_something_that_changes(made):
    for row in rows_of(made.listing):
        video = decoded(made.listing.parent / row["path"]).astype(float)
        assert video[0].std() > 15
        assert np.abs(np.diff(video, axis=0)).mean() > 0.5


def test_bad_sources_are_named_and_the_rest_is_used(sources, tmp_path, capsys):
    folder = tmp_path / "mixed"
    shutil.copytree(sources, folder)
    (folder / "broken.mp4").write_bytes(b"no video")
    shutil.copy(folder / "1.mp4", folder / "twin.mp4")
    write_source(folder / "short.mp4", drifting(9, 5))
    write_source(folder / "tiny.mp4", drifting(9, 24, height=20, width=20))
    made = nexus.make_motion(folder, tmp_path / "set", SMALL, workers=0)
    assert sorted(made.splits) == [f"{number}.mp4" for number in range(5)]
    said = " ".join(capsys.readouterr().err.split())  # however lines are broken
    reasons = {
        "broken.mp4": "cannot be opened as video",
        "twin.mp4": "the same as 1.mp4",
        "short.mp4": "its longest shot lasts 0.6 s",
        "tiny.mp4": "20x20 pixels are too few",
    }
    for name, reason in reasons.items():
        line = next(line for line in said.split("left out ") if name in line.split(": ")[0])
        assert reason in line, name
    assert "4 sources left out" in said


def test_two_sources_are_not_enough(sources, tmp_path):
    two = [sources / "0.mp4", sources / "1.mp4"]
    with pytest.raises(DataError, match=r"2 usable sources; whole files are held out.* 3"):
        write_benchmark(scan(two), tmp_path / "set", SMALL, seed=0, workers=0)
    assert not list(tmp_path.iterdir())
    pair = SMALL.with_changes(validation_clips=0)
    made = write_benchmark(scan(two), tmp_path / "set", pair, seed=0, workers=0)
    assert set(made.splits.values()) == {"train", "test"}


def test_sources_go_where_the_user_says(sources, tmp_path):
    chosen = {"0.mp4": "test", "4.mp4": "validation"}
    catalog = scan(sources)
    made = write_benchmark(catalog, tmp_path / "set", SMALL, seed=0, chosen=chosen, workers=0)
    assert chosen.items() <= made.splits.items()
    with pytest.raises(ConfigError, match=r"'5.mp4' is no usable source; there are: 0.mp4, "):
        write_benchmark(catalog, tmp_path / "b", SMALL, seed=0, chosen={"5.mp4": "test"})
    with pytest.raises(ConfigError, match="'val' of 0.mp4"):
        write_benchmark(catalog, tmp_path / "b", SMALL, seed=0, chosen={"0.mp4": "val"})
    with pytest.raises(DataError, match="no source is left for train"):
        everything = {f"{number}.mp4": "test" for number in range(5)}
        write_benchmark(catalog, tmp_path / "b", SMALL, seed=0, chosen=everything, workers=0)


def test_a_folder_that_holds_something_stays(sources, made, tmp_path):
    catalog = scan(sources)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(DataError, match="there is something else"):
            write_benchmark(catalog, tmp_path / "mine", SMALL, seed=0, force=force)
    with pytest.raises(DataError, match="holds a benchmark already; --force"):
        write_benchmark(catalog, made.listing.parent, SMALL, seed=0)
    shutil.copytree(made.listing.parent, tmp_path / "old")
    again = write_benchmark(
        catalog, tmp_path / "old", SMALL.with_changes(train_clips=3), seed=0, force=True, workers=0
    )
    assert len(contents(tmp_path / "old")) == 3 + 10 + 12 + 2
    assert len(again.clips) == 25


def test_what_is_interrupted_leaves_nothing(sources, tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_benchmark(scan(sources), tmp_path / "set", SMALL, seed=0, workers=2, progress=stop)
    assert not list(tmp_path.iterdir())


def test_no_clip_spans_a_cut(tmp_path):
    """Scenes of one colour each: a clip across a cut would show two."""
    for number in range(3):
        scenes = []
        for scene in range(6):
            video = drifting(10 * number + scene, 11).astype(float) / 4
            video[..., scene % 3] += 180
            scenes.append(video.astype(np.uint8))
        write_source(tmp_path / "sources" / f"{number}.mp4", np.concatenate(scenes))
    made = write_benchmark(scan(tmp_path / "sources"), tmp_path / "set", SMALL, seed=0, workers=0)
    for row in rows_of(made.listing):
        video = decoded(made.listing.parent / row["path"]).astype(float)
        dominant = video.mean(axis=(1, 2)).argmax(axis=1)
        assert len(set(dominant.tolist())) == 1


def test_the_command_says_what_it_made(sources, tmp_path, capsys):
    line = ["data", "motion", str(sources), "--out", str(tmp_path / "set"), "--clips", "15"]
    line += ["--size", "32", "--seconds", "1", "--fps", "8", "--test", "2.mp4", "--workers", "0"]
    assert run(line) == 0
    printed = capsys.readouterr().out
    assert "train: 15 clips from " in printed
    assert "validation: 3 clips from " in printed
    assert "test: 5 clips from 2.mp4" in printed
    assert printed.strip().endswith(f"Labels: {tmp_path / 'set' / 'labels.csv'}")
    assert run(line) == 1
    assert "--force" in capsys.readouterr().err
    assert run([*line, "--force"]) == 0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size": 33}, "even number"),
        ({"tasks": {"pan": -1}}, "shares >= 0"),
        ({"seconds": 0.5, "fps": 4}, "expected at least 4"),
        ({"train_clips": 0, "validation_clips": 0, "test_clips": 0}, "at least one clip"),
        ({"clip": 1}, "unknown key 'clip'"),
    ],
)
def test_bad_settings_say_what_was_expected(settings, expected):
    with pytest.raises(ConfigError, match=expected):
        MotionConfig.from_mapping(settings)
