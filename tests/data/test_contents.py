"""The same video under two names, in two splits, with two labels."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nexus.data.catalog.catalog import VideoRecord, scan
from nexus.data.catalog.contents import content_problems

OTHER = {"train": "test", "test": "train"}


def record(path: Path, **changes) -> VideoRecord:
    plain = {
        "path": path, "key": path.name, "kind": "video", "num_frames": 10, "fps": 10.0,
        "duration": 1.0, "height": 8, "width": 8, "codec": "h264", "variable_frame_rate": False,
        "labels": {},
    }  # fmt: skip
    return VideoRecord(**{**plain, **changes})


@pytest.fixture
def files(tmp_path) -> Path:
    """a and b are the same, c is of their size, d of another."""
    for name, content in {"a": b"12345", "b": b"12345", "c": b"12346", "d": b"1234"}.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def told(records: list[VideoRecord]) -> list[tuple[str, str, str]]:
    found = content_problems(records)
    assert not any(problem.fatal for problem in found)
    return [(Path(one.path).name, one.kind, one.reason) for one in found]


def test_the_same_content_under_another_name(files):
    seen: list[tuple[int, int]] = []
    records = [record(files / name) for name in "abcd"]
    [found] = content_problems(records, lambda *at: seen.append(at))
    assert (found.path, found.kind) == (str(files / "b"), "duplicate")
    assert found.reason == f"has the same content as {files / 'a'}; it counts twice"
    assert seen == [(1, 3), (2, 3), (3, 3)]  # d is of no other's size: it is not read


def test_a_video_in_training_and_in_the_test(files):
    records = [record(files / "a", split="train"), record(files / "b", split="test")]
    assert [(name, kind) for name, kind, _ in told(records)] == [
        ("b", "duplicate"), ("a", "in_two_splits"), ("b", "in_two_splits"),
    ]  # fmt: skip
    parts = [
        record(files / "c", key="c[0-1]", start=0.0, end=1.0, split="train"),
        record(files / "c", key="c[1-2]", start=1.0, end=2.0, split="test"),
    ]
    [(_, kind, reason)] = told(parts)
    assert kind == "in_two_splits" and "in the split train and, the same video, in test" in reason


def test_labels_that_contradict_each_other(files):
    run, jump = {"action": "run", "who": "x"}, {"action": "jump", "who": "x"}
    [_, (name, kind, reason)] = told(
        [record(files / "a", labels=run), record(files / "b", labels=jump)]
    )
    assert (name, kind) == ("a", "contradictory_labels")
    assert reason == "has 2 labels 'action': 'run' as a, 'jump' as b"
    parts = [
        record(files / "c", key=f"c{start}", start=start, end=start + 1.0, labels=labels)
        for start, labels in ((0.0, run), (1.0, jump))
    ]
    assert told(parts) == []  # two parts of a video may show two things
    assert told([record(files / "c", labels=run), record(files / "c", labels={"who": "x"})]) == [
        ("c", "duplicate", "it is listed more than once (c)")
    ]


def test_directories_of_pictures_and_files_that_go_away(tmp_path):
    for name, level in (("one", 5), ("two", 5), ("three", 6)):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("L", (8, 8), level).save(tmp_path / name / f"{number:03d}.png")
    records = list(scan(tmp_path, workers=0).records)
    assert [(name, kind) for name, kind, _ in told(records)] == [("two", "duplicate")]
    shutil.rmtree(tmp_path / "two")
    assert told(records) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, "train", "test"]))))
def test_against_comparing_all_with_all(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("drawn")
    records = []
    for number, (content, split) in enumerate(drawn):
        path = folder / str(number)
        path.write_text(content)
        records.append(record(path, split=split))
    expected = set()
    for number, (content, split) in enumerate(drawn):
        if any(content == other for other, _ in drawn[:number]):
            expected.add((str(number), "duplicate"))
        if any(content == other and split != theirs for other, theirs in drawn):
            expected.add((str(number), "in_two_splits"))
    assert {(name, kind) for name, kind, _ in told(records)} == expected


def test_links_are_followed(files):
    (files / "e").symlink_to(files / "a")
    twins = [record(files / "a"), record(files / "e")]
    assert [kind for _, kind, _ in told(twins)] == ["duplicate"]
