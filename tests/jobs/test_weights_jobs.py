"""Published weights in use, on real files: embed, linear probes, refuse."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import nexus
from nexus.cli.main import run
from nexus.errors import DataError
from nexus.features.table_files import load_table
from nexus.jobs.opening import open_encoder
from nexus.nn.grid import Grid


def test_published_files_of_either_layout_give_the_same_features(folder, here):
    features = []
    for name in ("w.pt", "hf"):
        out = nexus.embed(
            str(folder / name), folder / "clips/test", here / "f.parquet", fps=8.0, overlap=0.5,
            layers=(0, 2), force=True,
        )  # fmt: skip
        table = load_table(out)
        assert table.features.shape == (12 * 3, 64) and table.layers == (0, 2)
        assert sorted(set(table.rows["start"].round(3))) == [0.0, 0.5, 1.0]
        features.append(table.features)
    np.testing.assert_array_equal(*features)


def test_published_weights_get_clips_as_trained(folder):
    opened = open_encoder(folder / "w.pt")
    assert (opened.clips.spec.num_frames, opened.clips.spec.fps) == (8, 4.0)
    assert opened.clips.spec.size == (32, 32) and opened.recipe is None
    assert opened.off_distribution() is None and not opened.encoder.training
    other = opened.with_clips({"num_frames": 4, "img_size": 64, "pad": True})
    assert "these are pictures of 64 x 64 pixels, not" in (other.off_distribution() or "")
    assert other.clips.spec.pad == "repeat_last"
    for choice, message in (
        ({"num_frames": 5}, "multiples of tubelet_size 2"),
        ({"img_size": 40}, "multiples of patch_size 16"),
    ):
        with pytest.raises(DataError, match=message):
            opened.with_clips(choice)


def test_other_clips_are_warned_about_in_one_line(folder, here, capsys):
    source, clips = str(folder / "w.pt"), str(folder / "clips/test")
    line = ["embed", source, clips, "--out", "f.arrow", "--precision", "bf16"]
    for frames, fps, warned in ((4, 4, 0), (8, 8, 0), (10, 8, 1)):
        more = ["--frames", str(frames), "--fps", str(fps), "--pooling", "tokens", "--force"]
        assert run([*line, *more]) == 0
        err = capsys.readouterr().err
        told = [t for t in err.splitlines() if "as the weights were trained" in t]
        assert len(told) == warned == err.count("may be worse")
        assert load_table(here / "f.arrow").features.shape[1:] == (4 * frames // 2, 32)
    assert told[0].startswith("note: these are clips of 10 frames, not 8")


def test_a_picture_is_an_image_or_fills_one_tubelet(folder, here):
    dark, config = folder / "pictures/dark.png", {"pooling": "tokens", "force": True}
    for weights, frames in (("image.pt", 1), ("w.pt", 2)):
        nexus.embed(folder / weights, dark, here / "one.arrow", **config)
        nexus.embed(folder / weights, dark.parent, here / "both.arrow", images=True, **config)
        one, both = load_table(here / "one.arrow"), load_table(here / "both.arrow")
        assert both.rows["key"].tolist() == ["dark.png", "light.jpg"]
        assert one.rows["key"].tolist() == ["dark.png"]
        assert both.rows["start"].tolist() == both.rows["end"].tolist() == [0.0, 0.0]
        assert one.grid == Grid(1, 2, 2)
        np.testing.assert_allclose(one.features[0], both.features[0], atol=5e-3)
        encoder = nexus.load(folder / weights).encoder
        mean, std = (torch.tensor(v).view(3, 1, 1, 1) for v in (
            [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        ))  # fmt: skip
        picture = (torch.full((3, frames, 32, 32), 30 / 255) - mean) / std
        with torch.no_grad():
            expected = encoder(picture[None])[0].numpy()
        np.testing.assert_allclose(one.features[0], expected, atol=5e-3)


def test_linear_probes_of_published_weights(folder, here, capsys):
    line = ["probe", str(folder / "w.pt"), str(folder / "clips/labels.csv"), "--label", "speed"]
    assert run([*line, "--kind", "linear", "--fps", "8"]) == 0
    printed = capsys.readouterr().out
    assert all(arm in printed for arm in ("raw pixels", "frame differences", " w "))
    rows = json.loads((here / "probes/w/probes.json").read_text())["rows"]
    assert {row["arm"] for row in rows} == {"w", "raw pixels", "frame differences"}
    with pytest.raises(DataError, match="has no data of its own"):
        nexus.probe(folder / "w.pt")


def test_what_published_weights_cannot_be_probed_on_is_named(folder, here, capsys):
    table = pd.read_csv(folder / "clips/labels.csv")
    table["path"] = [str(folder / "clips" / path) for path in table["path"]]
    table["end"] = [0.5 if number % 24 == 0 else 1.5 for number in range(len(table))]
    table["same"] = "x"
    table.to_csv(here / "list.csv", index=False)
    rows = nexus.probe(folder / "w.pt", here / "list.csv", kinds=("knn",), clips={"fps": 8.0})
    told = "".join(capsys.readouterr().err.split())  # lines are folded anywhere
    short = [path for path, end in zip(table["path"], table["end"], strict=True) if end == 0.5]
    assert len(short) == 2 and all(told.count(f"leftout{path}:") == 1 for path in short)
    counted = "list.csv, clips of 8 frames at 8 a second: 2 of 48 files left out (too short: 2)"
    assert "".join(counted.split()) in told
    assert "same:notmeasured(labelcolumn'same'holdsthesingleclassx" in told
    assert {row.task for row in rows} == {"shape", "speed"}
    notes = json.loads((here / "probes/w/probes.json").read_text())["notes"]
    assert any(counted in note for note in notes) and any("same: not" in note for note in notes)
    table[["path", "split", "same"]].to_csv(here / "same.csv", index=False)
    with pytest.raises(DataError, match=r"same\.csv can be learned: same: not measured"):
        nexus.probe(folder / "w.pt", here / "same.csv", kinds=("knn",), clips={"fps": 8.0})


def test_settings_of_opened_weights_are_kept_apart(folder):
    opened = open_encoder(folder / "w.pt", "context")
    assert opened.which == "context" and opened.name == "w"
    assert replace(opened, source="org/name").results == Path("probes/org--name")
