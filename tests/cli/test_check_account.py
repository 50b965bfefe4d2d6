"""`nexus check` on a folder of everything: each file has its place, and the sum is right."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from misleading_videos import WRITERS, damaged_jpeg, jumping
from odd_videos import draw_number, write_clip, write_odd_folder
from PIL import Image

from nexus.cli.main import run


def pictures(folder: Path, form: str, numbers=range(3)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(draw_number(int(number or 0))).save(folder / form.format(number))


def animated(path: Path) -> None:
    first, *others = [Image.fromarray(draw_number(number)) for number in range(9)]
    first.save(path, save_all=True, append_images=others, duration=40)


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> Path:
    """A file of each kind that people have in one folder."""
    folder = tmp_path_factory.mktemp("all") / "videos"
    write_odd_folder(folder / "odd")
    (folder / "ends").mkdir()
    for number, name in enumerate(("a.m2t", "b.mod", "c.3gpp", "d.mp4v", "e.dav", "GH010077")):
        write_clip(folder / "x.mp4", 12, numbers_from=100 * number).rename(folder / "ends" / name)
    for name in ("wave.webp", "wave.png", "wave.tif"):
        animated(folder / "ends" / name)
    pictures(folder / "two", "img_{:05d}.jpg", range(9))
    pictures(folder / "two", "flow_x_{:05d}.jpg", range(9))
    pictures(folder / "two", "cover{}.jpg", [""])
    pictures(folder / "gaps", "f{}.png", [*range(1, 10), 500])
    pictures(folder / "times", "1305031{:.6f}.png", np.linspace(100, 109, 10).round(3))
    pictures(folder / "beach", "beach{}.jpg", [""])
    (folder / "deep").mkdir()
    for number in range(9):
        deep = np.full((24, 36), 400 * number + 895, np.uint16)
        Image.fromarray(deep).save(folder / "deep" / f"d{number}.png")
    (folder / "new").mkdir()
    for name, content in {
        "notes.txt": b"x",
        "labels.csv": b"x",
        "a.json": b"{}",
        "IMG_1.HEIC": b"\0\0\0\x18ftypheic",
        "raw.dng": b"II*\0",
        "half.mp4.part": b"\0\0\0\x18ftypmp42",
        ".DS_Store": b"x",
        "blob": bytes(range(256)),
    }.items():
        (folder / "new" / name).write_bytes(content)
    return folder


def lines_with(printed: str, name: str) -> list[str]:
    return [line for line in printed.splitlines() if name in line]


def test_every_file_has_its_place_and_the_sum_is_right(everything, capsys, tmp_path):
    found = tmp_path / "found.json"
    assert run(["check", str(everything), "--json", str(found)]) == 0
    printed = capsys.readouterr().out
    files = [path for path in everything.rglob("*") if path.is_file()]
    [counted] = re.findall(r"(\d+) files in the folder: (\d+) used, (\d+) not used", printed)
    total, used, left = map(int, counted)
    assert total == len(files) == used + left
    kinds = re.findall(r"^  ([^:]+): (\d+) \(", printed, re.MULTILINE)
    assert sum(int(count) for _, count in kinds) == left
    assert dict(kinds) == {
        "files with problems, as said above": "5",
        "pictures of no series": "2",
        "HEIC pictures, not read": "1",
        "raw pictures of cameras, not read": "1",
        "unfinished downloads, not read": "1",
        "unknown files, not read": "1",
        "hidden files": "1",
        "text files": "1",
        "tables and lists": "2",
    }
    written = json.loads(found.read_text())
    account = written["account"]
    listed = [name for one in account["left_out"] for name in one["files"]]
    assert (account["files"], account["used"]) == (total, used)
    assert len(listed) == len(set(listed)) == left
    assert all((everything / name).is_file() for name in listed)
    keys = {record["key"] for record in written["records"]}
    assert {"gaps", "times", "deep", "two/img_#.jpg", "two/flow_x_#.jpg"} <= keys
    assert {f"ends/{path.name}" for path in (everything / "ends").iterdir()} <= keys
    for name, word in {
        "two/flow_x_#.jpg": "by its name (flow)",
        "gaps": "jump from 9 to 500",
        "deep": "16-bit pictures that use 12 bits: shown as such",
        "odd/empty.mp4": "0 bytes",
    }.items():
        [line] = [one for one in lines_with(printed, name) if one.startswith(name)]
        assert word in line
    for name in ("cover.jpg", "beach.jpg", "IMG_1.HEIC", "raw.dng", "half.mp4.part", "blob"):
        assert len(lines_with(printed, name)) == 1
    for problem in written["problems"]:
        name = Path(problem["path"]).relative_to(everything)
        assert len(lines_with(printed, str(name))) <= 2
    assert "No problem" not in printed


def test_what_misleads_is_named_in_two_lines_at_most(tmp_path, capsys):
    """Palettes, keyframe flags, times and damaged bytes: every one is named, all are counted."""
    folder, full = tmp_path / "videos", {"damaged.avi"}
    folder.mkdir()
    for name, write in {**WRITERS, "jump.mkv": jumping, "damaged.avi": damaged_jpeg}.items():
        write(folder / name)
    files = sorted(path.name for path in folder.iterdir())  # with the one that tables.avi is from
    for options, silent in (([], {"whole_tables.avi", *full}), (["--full"], {"whole_tables.avi"})):
        assert run(["check", str(folder), *options]) == 0
        printed = capsys.readouterr().out
        assert f"{len(files)} files in the folder: {len(files)} used, 0 not used." in printed
        rows = {line.split()[0] for line in printed.splitlines() if line.strip()} & {*files}
        assert rows == {*files} - silent
        for name in rows:
            own = [line for line in printed.splitlines() if line.startswith(f"{name} ")]
            says = {"jump.mkv": "a gap of 3 h", "damaged.avi": "1 of 48 frames do not decode"}
            reason = says.get(name, "each request decodes it from the start")
            assert len(own) <= 2 and any(reason in line for line in own)


def test_no_problems_are_found_only_where_nothing_is_left_to_wonder_about(
    everything, tmp_path, capsys
):
    folder = tmp_path / "good"
    shutil.copytree(everything / "times", folder / "times")
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden").write_text("x")
    assert run(["check", str(folder), "--strict"]) == 0
    printed = capsys.readouterr().out
    assert "12 files in the folder: 10 used, 2 not used." in printed
    assert "No problems found. Looked at: the first and the last frames of every video" in printed
    shutil.copy(everything / "new" / "IMG_1.HEIC", folder)
    assert run(["check", str(folder), "--strict"]) == 0
    printed = capsys.readouterr().out
    assert "HEIC pictures, not read: 1 (IMG_1.HEIC)" in printed
    assert "No problems found" not in printed and "No problem with what is used." in printed


@pytest.mark.parametrize("kind", ["file", "forbidden", "full"])
def test_an_index_that_cannot_be_kept_is_one_warning(
    everything, tmp_path, capsys, monkeypatch, kind, recwarn
):
    monkeypatch.setattr("nexus.data.catalog.catalog._SAVE_EVERY", 1)
    (tmp_path / "file").touch()
    monkeypatch.setenv("NEXUS_CACHE", str(tmp_path / ("file/index" if kind == "file" else "index")))

    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    if kind == "forbidden":
        monkeypatch.setattr(Path, "read_text", refuse)
    if kind == "full":
        monkeypatch.setattr("nexus.data.catalog.index.write_text", refuse)
    monkeypatch.setattr("warnings.filters", [])
    assert run(["check", str(everything / "ends")]) == 0
    assert "usable videos" in capsys.readouterr().out
    [warning] = [one for one in recwarn if "the video index" in str(one.message)]
    assert "NEXUS_CACHE names another folder" in str(warning.message)
