"""Files are written whole or not at all, whatever the names in them."""

import errno
import io
import json
import os
import subprocess
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import save_file

from nexus.atomic import atomic_folder, atomic_path, check_writable, write_json, write_text
from nexus.errors import OutputError


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


@contextmanager
def mounted(folder, options):
    """A file system of its own where the user may mount one; else the test has no subject."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class Full(io.RawIOBase):
    """A file on a full disk, for torch, which then raises what it raises there."""

    def writable(self):
        return True

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")


def save_safetensors(path):
    save_file({"weights": torch.zeros(100_000)}, path)


def save_torch(path):
    torch.save({"weights": torch.zeros(100_000)}, path)


def save_text(path):
    path.write_text("x" * 400_000)


@pytest.mark.parametrize("save", [save_safetensors, save_torch, save_text])
@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(tmp_path, save, atomic):
    with mounted(tmp_path / "disk", "size=64k") as full:
        path = tmp_path / "disk" / "out"
        if atomic is atomic_path:
            path.write_text("old")
        else:
            path.mkdir()
            (path / "file").write_text("old")

        def write(place):
            if full:
                save(place)
            elif save is save_torch:
                torch.save({"weights": torch.zeros(100_000)}, Full())
            else:
                raise OSError(errno.ENOSPC, "No space left on device")

        def fail():
            with atomic(path) as temporary:
                write(temporary if atomic is atomic_path else temporary / "file")

        with pytest.raises(OutputError, match=r"out cannot be written: .*\d+ MB free.*make room"):
            fail()
        assert (path if path.is_file() else path / "file").read_text() == "old"
        assert [each.name for each in path.parent.iterdir()] == ["out"]


def test_what_is_no_matter_of_the_disk_stays_as_it_is(tmp_path):
    def fail(error):
        with atomic_path(tmp_path / "a"):
            raise error

    for error in (RuntimeError("a bug"), OSError(errno.ENOENT, "no such video")):
        with pytest.raises(type(error), match="a bug|no such video") as caught:
            fail(error)
        assert caught.value is error


def test_a_place_is_tried_before_there_is_anything_to_write(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, folder, told in (
        ("file", True, "file is a file, and a folder is needed"),
        ("file/deep/er", True, "file is a file, and a folder is needed"),
        ("file/a.txt", False, "file is a file, and a folder is needed"),
        ("folder", False, "folder is a folder, and a file is needed"),
        ("/proc/new", True, "/proc/new cannot be written: no such file"),
        ("/proc/new/a.txt", False, "/proc/new/a.txt cannot be written: no such file"),
    ):
        with pytest.raises(OutputError, match=f"{told}.*; write elsewhere$"):
            check_writable(tmp_path / path, folder=folder, remedy="write elsewhere")
    with pytest.raises(OutputError, match="is there already; add --force"):
        check_writable(tmp_path / "file", folder=False, replace=False)
    for path, folder in (("file", False), ("new/a.txt", False), ("new", True), ("folder", True)):
        check_writable(tmp_path / path, folder=folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("options", ["size=4k", "ro"])
def test_a_disk_that_takes_nothing_is_found_out(tmp_path, options, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    with mounted(tmp_path / "disk", options) as real:
        if not real:
            monkeypatch.setattr("tempfile.TemporaryFile", refuse)
        elif options != "ro":
            (tmp_path / "disk/rest").write_bytes(bytes(4096))
        with pytest.raises(OutputError, match=r"(read-only file system|no space left on device); "):
            check_writable(tmp_path / "disk" / "new" / "folder")
