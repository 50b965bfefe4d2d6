"""Folders that are laid out as classes or splits give their names to the videos in them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.data.catalog.sources import Entry, find_entries

CLASSES = ["jump/a.avi", "jump/b.avi", "run/a.avi", "run/c.avi", "run/d.avi"]
SPLITS = [f"{split}/{name}" for split in ("train", "val") for name in CLASSES]


def lay(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def told(entries: list[Entry]) -> dict[str, tuple[str | None, str | None]]:
    return {entry.key: (entry.split, entry.labels.get("class")) for entry in entries}  # type: ignore


def test_class_folders(tmp_path):
    expected = {name: (None, name.partition("/")[0]) for name in CLASSES}
    assert told(find_entries(lay(tmp_path, CLASSES))) == expected
    assert set(told(find_entries(tmp_path, "plain_folder")).values()) == {(None, None)}


def test_splits_of_class_folders(tmp_path):
    found = told(find_entries(lay(tmp_path, SPLITS)))
    assert found["train/jump/a.avi"] == ("train", "jump")
    assert found["val/run/d.avi"] == ("validation", "run")
    assert len(found) == len(SPLITS)


def test_splits_without_classes(tmp_path):
    lay(tmp_path, ["Train/a.mp4", "Train/b.mp4", "test/a.mp4"])
    assert told(find_entries(tmp_path)) == {
        "Train/a.mp4": ("train", None),
        "Train/b.mp4": ("train", None),
        "test/a.mp4": ("test", None),
    }


@pytest.mark.parametrize(
    "names",
    [
        ["a.mp4", "b.mp4"],
        [*CLASSES, "loose.avi"],
        [*CLASSES, "swim/far/a.avi"],
        ["jump/a.avi", "jump/b.avi"],
        [*CLASSES, "swim/only.avi"],
        ["cameras/left/a.avi", "cameras/left/b.avi", "cameras/right/a.avi", "cameras/right/b.avi"],
        ["test/a.avi", "test/b.avi"],
    ],
    ids=["flat", "loose", "deep", "one", "single", "nested", "no train"],
)
def test_other_folders_say_nothing(tmp_path, names):
    assert set(told(find_entries(lay(tmp_path, names))).values()) == {(None, None)}


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(2, 4), min_size=2))
def test_every_class_keeps_its_videos(tmp_path_factory, counts):
    names = [f"{name}/{number}.mp4" for name, count in counts.items() for number in range(count)]
    found = find_entries(lay(tmp_path_factory.mktemp("classes"), names))
    assert sorted(str(entry.labels["class"]) for entry in found) == sorted(
        name for name, count in counts.items() for _ in range(count)
    )
