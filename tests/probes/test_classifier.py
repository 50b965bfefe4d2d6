"""A probe's labels against encoder and head called by hand; files, windows, failures."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from feature_worlds import memory_world, picture_frames, tiny_encoder
from oracles.tiny import stir

from nexus.checkpoints.probe_folder import EncoderIdentity, ProbeCard, load_probe_folder
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.batch import normalise
from nexus.errors import DataError, OutputError
from nexus.features.encoding import FeatureConfig
from nexus.features.table import as_objects
from nexus.models.heads import AttentiveHead, AttentiveHeadConfig
from nexus.probes.classifier import Labelled, VideoClassifier, check_label_file

HEAD = AttentiveHeadConfig(dim=8, num_classes=3, num_heads=2, depth=2)


def make_classifier(layers: tuple[int, ...] = (-1,), **clips: Any) -> VideoClassifier:
    torch.manual_seed(1)
    head = AttentiveHead(HEAD)
    encoder = tiny_encoder()
    for module in (head, encoder):
        stir(module)
    card = ProbeCard(
        task="action",
        classes=("a", "b", "c"),
        head=HEAD,
        encoder=EncoderIdentity(source="x", dim=8, layers=layers),
        clips=ClipSpec(num_frames=4, size=16, sampling="uniform", **clips),
    )
    return VideoClassifier(encoder, head, card, FeatureConfig(batch_size=3))


def by_hand(classifier: VideoClassifier, clips: list[np.ndarray], joined: bool) -> np.ndarray:
    layers = classifier.card.encoder.layers
    video = torch.stack([torch.from_numpy(clip).permute(3, 0, 1, 2) for clip in clips])
    with torch.no_grad():
        levels = classifier.encoder.features(normalise(video), blocks=layers)
        tokens = torch.cat(levels, dim=1)
        tokens = tokens.flatten(0, 1)[None] if joined else tokens
        return classifier.head(tokens).softmax(-1).mean(0).numpy()


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("layers", [(-1,), (0, 1)])
def test_a_video_is_labelled_from_its_clips(
    tmp_path: Path, joined: bool, layers: tuple[int, ...]
) -> None:
    catalog, decoder = memory_world(tmp_path, [10, 8, 6])
    classifier = make_classifier(layers, clips_per_video=2, join=joined)
    seen: list[tuple[int, int]] = []
    found = classifier.videos(catalog, decoder=decoder, progress=lambda *at: seen.append(at))
    assert found.rows["key"].tolist() == ["video 0.mp4", "video 1.mp4", "video 2.mp4"] and seen[
        -1
    ] == (6, 6)
    assert found.rows["start"].tolist() == [0.0, 0.0, 0.0]
    assert found.rows["end"].tolist() == pytest.approx([1.0, 0.8, 0.6])
    for row, last in enumerate([6, 4, 2]):
        frames = picture_frames(row, catalog.records[row])
        expected = by_hand(classifier, [frames[:4], frames[last : last + 4]], joined)
        np.testing.assert_allclose(found.probabilities[row], expected, atol=1e-5)
    assert found.labels == ["abc"[row.argmax()] for row in found.probabilities]


def test_joining_is_something_else_than_averaging(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [10])
    apart, joined = (
        make_classifier(clips_per_video=2, join=join).videos(catalog, decoder=decoder)
        for join in (False, True)
    )
    assert np.abs(apart.probabilities - joined.probabilities).max() > 1e-4


def test_each_window_is_labelled_with_its_times(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [10, 4])
    classifier = make_classifier()
    found = classifier.windows(catalog, 0.5, decoder=decoder)
    assert found.rows["key"].tolist() == ["video 0.mp4"] * 4 + ["video 1.mp4"]
    assert found.rows["start"].tolist() == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.0])
    assert found.rows["end"].tolist() == pytest.approx([0.4, 0.6, 0.8, 1.0, 0.4])
    frames = picture_frames(0, catalog.records[0])
    for row, first in enumerate([0, 2, 4, 6]):
        expected = by_hand(classifier, [frames[first : first + 4]], False)
        np.testing.assert_allclose(found.probabilities[row], expected, atol=1e-5)
    video = torch.from_numpy(frames[2:6]).permute(3, 0, 1, 2)[None]
    np.testing.assert_allclose(classifier.clips(video)[0], found.probabilities[1], atol=1e-6)


def test_files_that_fail_are_named_and_have_no_row(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [10, 3, 8])
    decoder.broken[str(catalog.records[2].path)] = 0
    for found in (
        make_classifier().videos(catalog, decoder=decoder),
        make_classifier().windows(catalog, decoder=decoder),
    ):
        assert set(found.rows["key"]) == {"video 0.mp4"}
        assert {problem.kind for problem in found.problems} == {"too_short", "decode_failed"}
    decoder.broken[str(catalog.records[0].path)] = 0
    for call in ("videos", "windows"):
        with pytest.raises(DataError, match=r"no clip of memory could be read \(.*video"):
            getattr(make_classifier(), call)(catalog, decoder=decoder)


def test_a_video_that_fails_in_part_is_labelled_from_the_rest_and_said_so(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [10, 8, 6])
    decoder.broken[str(catalog.records[1].path)] = 5  # the second of its two clips
    decoder.broken[str(catalog.records[2].path)] = 0
    classifier = make_classifier(clips_per_video=2)
    found = classifier.videos(catalog, decoder=decoder)
    assert found.rows["key"].tolist() == ["video 0.mp4", "video 1.mp4"]
    expected = by_hand(classifier, [picture_frames(1, catalog.records[1])[:4]], False)
    np.testing.assert_allclose(found.probabilities[1], expected, atol=1e-5)
    told = [(Path(p.path).name, p.fatal, p.reason) for p in found.problems]
    assert told == [
        ("video 1.mp4", False, "labelled from 1 of 2 clips: frame 7 is damaged"),
        ("video 2.mp4", True, "frame 3 is damaged"),
    ]


def test_where_clips_are_joined_all_of_them_are_needed(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [10, 8])
    decoder.broken[str(catalog.records[1].path)] = 5
    classifier = make_classifier(clips_per_video=2, join=True)
    found = classifier.videos(catalog, decoder=decoder)
    assert found.rows["key"].tolist() == ["video 0.mp4"]
    [problem] = found.problems
    assert problem.fatal and Path(problem.path).name == "video 1.mp4"
    assert problem.reason.startswith("1 of 2 clips cannot be read, and the probe joins all of them")
    decoder.broken[str(catalog.records[0].path)] = 5
    with pytest.raises(DataError, match=r"no video of memory has all of its clips \(.*1 of 2"):
        classifier.videos(catalog, decoder=decoder)


def test_segments_of_one_file_are_told_apart(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [24])
    record = catalog.records[0]
    parts = tuple(
        replace(record, key=f"part {n}", start=0.8 * n, end=0.8 * (n + 1)) for n in range(3)
    )
    catalog = replace(catalog, records=parts)
    decoder.broken[str(record.path)] = 15  # the second half of the second part, and the third
    found = make_classifier(clips_per_video=2).videos(catalog, decoder=decoder)
    assert found.rows["key"].tolist() == ["part 0", "part 1"]
    assert [(p.fatal, p.reason) for p in found.problems] == [
        (False, "labelled from 1 of 2 clips: frame 15 is damaged"),
        (True, "frame 19 is damaged"),
    ]


def test_modules_and_gradients_are_left_as_they_were(tmp_path: Path) -> None:
    catalog, decoder = memory_world(tmp_path, [5])
    classifier = make_classifier()
    classifier.head.train()
    classifier.encoder.train()
    classifier.videos(catalog, decoder=decoder)
    assert classifier.head.training and classifier.encoder.training and torch.is_grad_enabled()


def test_a_classifier_is_saved_as_a_probe(tmp_path: Path) -> None:
    classifier = make_classifier((0, 1), clips_per_video=2)
    head, card = load_probe_folder(classifier.save(tmp_path / "probe"))
    assert card.clips == classifier.spec and card.encoder.layers == (0, 1)
    assert torch.equal(head.linear.weight, classifier.head.linear.weight)


ROWS = pd.DataFrame(
    {
        "key": as_objects(["a.mp4", "ü.mp4"]),
        "path": as_objects(["/v/a.mp4", "/v/ü.mp4"]),
        "start": [0.0, 0.5],
        "end": [1.0, 1.5],
    }
)
TABLE = Labelled(
    rows=ROWS,
    probabilities=np.array([[0.2, 0.7, 0.1], [0.4, 0.2, 0.4]], np.float32),
    classes=("x", "y", "ž"),
)


def test_the_most_probable_classes_come_first() -> None:
    frame = TABLE.to_frame(2)
    assert frame["label"].tolist() == ["y", "x", "x", "ž"]
    assert frame["rank"].tolist() == [1, 2, 1, 2]
    assert frame["probability"].tolist() == pytest.approx([0.7, 0.2, 0.4, 0.4])
    assert frame["start"].tolist() == [0.0, 0.0, 0.5, 0.5]
    assert len(TABLE.to_frame(99)) == 6 and TABLE.labels == ["y", "x"]


FILES = pytest.mark.parametrize(
    ("name", "read"),
    [
        ("out.csv", pd.read_csv),
        ("out.parquet", pd.read_parquet),
        ("out.jsonl", lambda p: pd.DataFrame(map(json.loads, p.read_text("utf-8").splitlines()))),
    ],
)


@FILES
def test_files_hold_the_table(tmp_path: Path, name: str, read) -> None:
    path = TABLE.save(tmp_path / "new" / name, top=3)
    frame = read(path)
    expected = TABLE.to_frame(3)
    assert list(frame.columns) == ["key", "path", "start", "end", "rank", "label", "probability"]
    for column in frame.columns:
        if column == "probability":
            np.testing.assert_allclose(frame[column], expected[column], rtol=1e-6)
        else:
            assert frame[column].tolist() == expected[column].tolist(), column


@FILES
def test_names_that_are_not_utf8_are_made_readable(tmp_path: Path, name: str, read) -> None:
    odd = os.fsdecode(b"caf\xe9.mp4")
    names = {"key": as_objects(["a.mp4", odd]), "path": as_objects(["/v/a.mp4", f"/v/{odd}"])}
    table = replace(TABLE, rows=ROWS.assign(**names))
    frame = read(table.save(tmp_path / name))
    assert frame["key"].tolist() == ["a.mp4", "caf\ufffd.mp4"]
    assert frame["path"].tolist() == ["/v/a.mp4", "/v/caf\ufffd.mp4"]
    assert table.rows["key"][1] == odd


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.csv, \.parquet or \.jsonl"):
        TABLE.save(tmp_path / "out.txt")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    check_label_file(tmp_path / "new" / "out.csv")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    for path in (tmp_path / "file" / "out.csv", Path("/proc/out.csv")):
        with pytest.raises(OutputError, match=r"(is a file|cannot be written).*\(--out\)"):
            check_label_file(path)
    with pytest.raises(OutputError, match=r"folder\.csv is a folder, and a file is needed"):
        check_label_file(tmp_path / "folder.csv")
