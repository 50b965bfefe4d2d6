"""Files are written whole or not at all, whatever the names in them."""

import json

import pytest

from nexus.atomic import atomic_folder, atomic_path, write_json, write_text


def test_text_arrives_and_nothing_else_stays(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "gr\u00fcn\n")
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "gr\u00fcn\n"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_no_leftover(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_name_that_is_not_unicode_survives_json(tmp_path):
    # What os.listdir gives for the bytes b"bad\xff.mp4".
    value = {"path": "bad\udcff.mp4", "reason": "gr\u00fcn \\ud"}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value


def test_a_folder_arrives_whole_and_replaces_the_old_one(tmp_path):
    for name in ("a.txt", "b.txt"):
        with atomic_folder(tmp_path / "new" / "folder") as temporary:
            (temporary / name).write_text("x")
            assert [path.name for path in (tmp_path / "new" / "folder").glob("*")] != [name]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["folder"]
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["b.txt"]


def test_a_failure_leaves_the_old_folder_and_no_leftover(tmp_path):
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "a.txt").write_text("old")

    def write_half():
        with atomic_folder(tmp_path / "folder") as temporary:
            (temporary / "a.txt").write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.rglob("*")) == [tmp_path / "folder", tmp_path / "folder" / "a.txt"]
    assert (tmp_path / "folder" / "a.txt").read_text() == "old"
