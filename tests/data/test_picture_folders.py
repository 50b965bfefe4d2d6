"""Folders of pictures with more than one thing in them: a video a series, and all are named."""

import json
from pathlib import Path

import numpy as np
import pytest
from odd_videos import draw_number, read_number
from PIL import Image

from nexus.data.catalog.catalog import Catalog, scan
from nexus.data.catalog.contents import content_problems
from nexus.data.catalog.sources import find_entries
from nexus.data.loading.cache import CacheConfig, file_identity
from nexus.data.loading.video_reader import VideoReader
from nexus.data.stills.check import look_at_series, look_at_stack
from nexus.data.stills.files import files_of, is_there, list_images, signature
from nexus.data.stills.frames import FrameFolder
from nexus.errors import DataError


def write(folder: Path, form: str, numbers=range(4), first: int = 0) -> list[Path]:
    """A picture each number; what it shows counts from `first`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / form.format(number) for number in numbers]
    for shown, path in enumerate(paths, start=first):
        Image.fromarray(draw_number(shown)).save(path)
    return paths


def shown(catalog: Catalog, key: str) -> list[int]:
    """The numbers on the frames of a video, by its key."""
    place = [record.key for record in catalog.records].index(key)
    frames = VideoReader(catalog).frames(place, np.arange(catalog.records[place].num_frames))
    return [read_number(frame) for frame in frames]


def reasons(catalog: Catalog) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for problem in catalog.problems:
        told.setdefault(Path(problem.path).name, []).append(problem.reason)
    return told


def test_each_series_is_a_video(tmp_path):
    write(tmp_path / "clip", "img_{:05d}.jpg", range(3))
    write(tmp_path / "clip", "flow_x_{:05d}.jpg", range(3), first=100)
    write(tmp_path / "clip", "flow_y_{:05d}.jpg", range(3), first=200)
    write(tmp_path / "other", "frame_{:04d}.png")
    write(tmp_path / "other", "frame_{:04d}_mask.png", first=300)
    write(tmp_path / "pair", "vida_{:04d}.png")
    write(tmp_path / "pair", "vidb_{:04d}.png", first=400)
    write(tmp_path / "plain", "{:04d}.png", first=500)
    catalog = scan(tmp_path, workers=0)
    assert {record.key: shown(catalog, record.key)[0] for record in catalog.records} == {
        "clip/flow_x_#.jpg": 100,
        "clip/flow_y_#.jpg": 200,
        "clip/img_#.jpg": 0,
        "other/frame_#.png": 0,
        "other/frame_#_mask.png": 300,
        "pair/vida_#.png": 0,
        "pair/vidb_#.png": 400,
        "plain": 500,
    }
    for record in catalog.records:
        numbers = shown(catalog, record.key)
        assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
    assert catalog.records[-1].path == tmp_path / "plain"
    told = reasons(catalog)
    assert set(told) == {"flow_x_#.jpg", "flow_y_#.jpg", "frame_#_mask.png"}
    assert told["frame_#_mask.png"][0].startswith("by its name (mask) not what a camera saw")


def test_times_and_dates_as_names_and_gaps(tmp_path):
    write(tmp_path / "tum", "13050311{}.png", ["02.175304", "02.211214", "03.011364", "03.979"])
    write(tmp_path / "cam", "2026-11-{}.png", ["28_12-30-05", "28_12-30-06", "29_00-00-01"])
    write(tmp_path / "gap", "f{}.png", [7, 8, 9, 500, 501])
    catalog = scan(tmp_path, workers=0)
    assert {record.key: shown(catalog, record.key) for record in catalog.records} == {
        "tum": [0, 1, 2, 3],
        "cam": [0, 1, 2],
        "gap": [0, 1, 2, 3, 4],
    }
    assert reasons(catalog) == {
        "gap": ["the numbers jump from 9 to 500; the pictures are shown as if none were missing"]
    }


def test_a_cover_beside_a_series_is_no_frame_of_it(tmp_path):
    frames = write(tmp_path / "clip", "f{}.png")
    write(tmp_path / "clip", "cover{}.png", [""], first=9)
    for source in (tmp_path, tmp_path / "clip"):
        catalog = scan(source, workers=0)
        [record] = catalog.records
        assert record.key == "clip" and shown(catalog, "clip") == [0, 1, 2, 3]
        assert record.path == tmp_path / "clip" / "f#.png" and files_of(record.path) == frames
        assert not catalog.problems


def test_a_series_has_a_path_like_any_other(tmp_path):
    write(tmp_path / "clip", "img_{}.png")
    write(tmp_path / "clip", "flow_{}.png", first=50)
    series = tmp_path / "clip" / "flow_#.png"
    rows = tmp_path / "list.jsonl"
    rows.write_text(json.dumps({"path": "clip/flow_#.png", "label": "x"}) + "\n")
    for source in (series, rows):
        catalog = scan(source, workers=0)
        [record] = catalog.records
        assert record.path == series and shown(catalog, record.key) == [50, 51, 52, 53]
    again = scan([record.to_mapping()["path"] for record in scan(tmp_path).records], workers=0)
    assert [record.num_frames for record in again.records] == [4, 4]
    for gone in ("flow_#.jpg", "depth_#.png"):
        with pytest.raises(DataError, match="no such series of pictures; there are: flow_#.png"):
            list_images(tmp_path / "clip" / gone)
    assert not is_there(tmp_path / "clip" / "flow.png")
    with pytest.raises(DataError, match="no such file"):
        scan(tmp_path / "away" / "flow_#.png")
    listed = tmp_path / "folder.csv"
    listed.write_text("path\nclip\n")
    [problem] = scan(listed, workers=0).problems
    assert problem.fatal and problem.reason.startswith("holds 2 series of pictures (flow_#.png, im")


def test_what_is_kept_of_series_is_kept_apart(tmp_path):
    images = write(tmp_path / "clip", "img_{}.png")
    flow = write(tmp_path / "clip", "flow_{}.png", first=50)
    one, other = tmp_path / "clip" / "img_#.png", tmp_path / "clip" / "flow_#.png"
    before = signature(one), file_identity(one), signature(other), file_identity(other)
    assert len({before[0], before[2]}) == 2 and before[1] != before[3]
    flow[0].write_bytes(flow[1].read_bytes() + b" ")
    after = signature(one), file_identity(one), signature(other), file_identity(other)
    assert after[:2] == before[:2] and after[2] != before[2] and after[3] != before[3]
    index, cache = tmp_path / "index", CacheConfig(kind="disk", folder=tmp_path / "kept")
    for _ in range(2):
        catalog = scan(tmp_path / "clip", index_dir=index, workers=0)
        reader = VideoReader(catalog, cache=cache)
        pictures = [reader.frames(place, np.arange(4)) for place in (0, 1)]
        assert [read_number(one) for one in pictures[1]] == [0, 1, 2, 3]
        assert [read_number(one) for one in pictures[0]] == [51, 51, 52, 53]
    assert not content_problems(catalog.records)
    for number, image in enumerate(images):
        flow[number].write_bytes(image.read_bytes())
    [twin] = content_problems(scan(tmp_path / "clip", workers=0).records)
    assert twin.kind == "duplicate" and twin.path == str(one)
    for image in images:
        image.unlink()
    with pytest.raises(DataError, match="no such series"):
        FrameFolder().timestamps(one)
    with pytest.raises(OSError, match="no such series"):
        file_identity(one)


def test_class_folders_of_series(tmp_path):
    for name in ("jump", "run"):
        for number in range(2):
            write(tmp_path / name / f"v{number}", "img_{}.png", range(2))
            write(tmp_path / name / f"v{number}", "flow_{}.png", range(2))
    labels = {entry.key: entry.labels.get("class") for entry in find_entries(tmp_path)}
    assert labels == {key: key.partition("/")[0] for key in labels} and len(labels) == 8


@pytest.mark.parametrize("kind", ["series", "stack"])
def test_in_full_every_picture_is_looked_at(tmp_path, kind):
    if kind == "series":
        _, middle, _ = write(tmp_path / "clip", "f{}.bmp", range(3))
        middle.write_bytes(middle.read_bytes()[:-500])
        path, look = tmp_path / "clip", look_at_series
    else:
        path, look = tmp_path / "s.tif", look_at_stack
        pages = [Image.fromarray(draw_number(number)) for number in range(3)]
        pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_deflate")
        data = bytearray(path.read_bytes())
        starts = [place for place in range(len(data)) if data[place : place + 2] == b"x\x9c"]
        data[starts[1] : starts[1] + 12] = bytes(12)
        path.write_bytes(data)
    assert look(path).count == 3
    with pytest.raises(DataError, match="not a readable picture"):
        look(path, full=True)


def test_a_hundred_thousand_pictures_are_not_opened(tmp_path, monkeypatch):
    write(tmp_path / "clip", "f{}.png", range(30))
    opened = []
    monkeypatch.setattr(
        "nexus.data.catalog.sources.pages_of", lambda path: opened.append(path.name)
    )
    assert len(find_entries(tmp_path)) == 1
    assert sorted(opened) == ["f0.png", "f15.png", "f29.png"]
