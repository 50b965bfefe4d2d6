"""Files are written whole or not at all, whatever the names in them."""

import json

import pytest

from nexus.atomic import atomic_path, write_json, write_text


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
