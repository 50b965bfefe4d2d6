"""Probes in use, on real files: train, label, refuse."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from odd_videos import write_clip, write_damaged
from oracles.tiny import stir
from tiny_weights import QUICK, make_model

import nexus
from nexus.checkpoints.official import save_official
from nexus.checkpoints.probe_folder import load_probe_folder
from nexus.cli.main import run
from nexus.errors import CheckpointError, ConfigError, DataError
from nexus.features.table_files import load_table
from nexus.probes import attentive


def test_a_trained_probe_is_kept_with_all_that_it_needs(folder, trained):
    card = load_probe_folder(trained.folder)[1]
    assert card.classes == tuple(sorted(card.classes)) and len(card.classes) == 2
    assert card.encoder.source == str(folder / "w.pt") and card.encoder.dim == 32
    assert card.clips.fps == 8.0 and card.clips.size == (32, 32)
    assert card.clips.resize == 36  # as the weights that it was trained on are shown pictures
    assert len(card.sweep) == 8 and card.chosen in [
        {"learning_rate": row.learning_rate, "weight_decay": row.weight_decay} for row in card.sweep
    ]
    assert card.training["epochs"] == 2 and card.result["n_test"] == 12
    assert trained.row.probe == "attentive, 2 blocks" and trained.row.n_test == 12
    rows = json.loads((trained.folder.parent / "probes/w/probes.json").read_text())["rows"]
    assert [(row["arm"], row["task"]) for row in rows] == [("w", "speed")]
    assert list((trained.folder.parent / "probes/w/features").glob("*.arrow"))


def test_the_kept_probe_labels_videos_as_it_was_scored(folder, trained, here):
    listing = folder / "clips/labels.csv"
    classifier = nexus.load_probe(trained.folder, clips={"clips_per_video": 1})
    found = nexus.label(classifier, listing, here / "out.csv", top=2)
    table = pd.read_csv(listing).set_index("path")
    right = [
        str(table.loc[key, "speed"]) == label
        for key, label in zip(found.rows["key"], found.labels, strict=True)
        if table.loc[key, "split"] == "test"
    ]
    assert np.mean(right) == pytest.approx(trained.row.mean)
    assert len(pd.read_csv(here / "out.csv")) == 2 * 48
    assert found.rows["end"].tolist() == pytest.approx([found.rows["end"][0]] * 48)
    windows = nexus.label(classifier, folder / "clips/test", windows=True, overlap=0.5)
    assert len(windows) == 12 * 3


def test_a_video_is_labelled_from_several_clips_unless_told_otherwise(folder, trained, capsys):
    def labelled(**choices):
        classifier = nexus.load_probe(trained.folder, **choices)
        assert classifier.card.clips.clips_per_video == choices.get("clips", {}).get(
            "clips_per_video", 1
        )
        found = nexus.label(classifier, folder / "clips/test")
        return found.probabilities, " ".join(capsys.readouterr().err.split())

    several, told = labelled()
    assert "each video is labelled from 3 clips spread through it, their probabilities av" in told
    alike, _ = labelled(clips={"clips_per_video": 3})
    one, told = labelled(clips={"clips_per_video": 1})
    np.testing.assert_array_equal(several, alike)
    assert "each video is labelled" not in told and np.abs(several - one).max() > 1e-6
    _, told = labelled(clips={"clips_per_video": 2}, join_clips=True)
    assert "from 2 clips spread through it, their tokens pooled together" in told
    windows = nexus.label(nexus.load_probe(trained.folder), folder / "clips/test", windows=True)
    assert len(windows) == 24 and "each video" not in capsys.readouterr().err


def test_a_video_whose_name_is_not_utf8_is_labelled(folder, trained, here, capsys):
    odd = here / "videos" / os.fsdecode(b"caf\xe9.mp4")
    odd.parent.mkdir()
    shutil.copyfile(min((folder / "clips/test").glob("*.mp4")), odd)
    line = ["label", str(trained.folder), "videos"]
    assert run(line) == 0
    assert "caf\ufffd.mp4" in capsys.readouterr().out
    for ending in (".csv", ".parquet", ".jsonl"):
        assert run([*line, "--out", f"new/labels{ending}"]) == 0
        assert "caf\ufffd.mp4".encode() in (here / "new" / f"labels{ending}").read_bytes()


def test_where_labels_go_is_checked_before_the_encoder_is_opened(here, capsys):
    (here / "file").touch()
    for out, message in (
        (
            "file/labels.csv",
            "file is a file, and a folder is needed there;",
        ),
        ("labels.txt", "labels go to a .csv, .parquet or .jsonl file"),
    ):
        assert run(["label", "none", "videos", "--encoder", "none.pt", "--out", out]) == 1
        told = capsys.readouterr().err
        assert message in told and "Traceback" not in told


def test_a_video_of_which_a_clip_is_missing_is_told_from_one_left_out(trained, here, capsys):
    (here / "videos").mkdir()
    write_clip(here / "videos/whole.mp4", 120)
    write_damaged(here / "videos/half.mp4", packet=100)
    line = ["label", str(trained.folder), "videos", "--clips", "2", "--out", "o.csv"]
    for join, verb, keys in (
        ("--average", "note: {}: labelled from 1 of 2 clips: ", ["half.mp4", "whole.mp4"]),
        ("--join", "left out {}: 1 of 2 clips cannot be read, and the probe ", ["whole.mp4"]),
    ):
        assert run([*line, join, "--force"]) == 0
        told = capsys.readouterr().err.replace("\n", "")
        assert verb.format(here / "videos/half.mp4").replace(" ", "") in told.replace(" ", "")
        assert pd.read_csv("o.csv")["key"].tolist() == keys


def test_a_probe_pools_features(folder, trained, here):
    nexus.embed(
        folder / "w.pt", folder / "clips/test", here / "f.parquet", fps=8.0,
        pooling="attentive", probe=trained.folder,
    )  # fmt: skip
    table = load_table(here / "f.parquet")
    assert table.pooling == "attentive" and table.features.shape == (24, 32)
    for wrong in ({"pooling": "attentive"}, {"probe": trained.folder}):
        with pytest.raises(DataError, match="belong together"):
            nexus.embed(folder / "w.pt", folder / "clips/test", here / "g.parquet", **wrong)


def test_windows_are_cut_as_the_probe_that_pools_them_was_trained(folder, trained, here, capsys):
    probe = {"pooling": "attentive", "probe": trained.folder}
    table = load_table(
        nexus.embed(folder / "w.pt", folder / "clips/test", here / "f.parquet", **probe)
    )
    # 16 frames at 8 a second hold two windows of 8; at the 4 of published weights, one.
    assert sorted(set(table.rows["start"].round(3))) == [0.0, 1.0] and len(table) == 24
    assert "was trained on" not in capsys.readouterr().err
    nexus.embed(folder / "w.pt", folder / "clips/test", here / "g.parquet", fps=4.0, **probe)
    told = " ".join(capsys.readouterr().err.split())
    pixels = "32 x 32 pixels, cut out of a short side of 36"
    assert f"was trained on clips of 8 frames at 8 a second of {pixels}; these are " in told
    assert f"these are clips of 8 frames at 4 a second of {pixels}" in told
    assert len(load_table(here / "g.parquet")) == 12
    nexus.embed(folder / "w.pt", folder / "pictures/dark.png", here / "h.parquet", **probe)
    told = " ".join(capsys.readouterr().err.split())
    assert "these are pictures as 2 frames of 32 x 32 pixels" in told


def test_pictures_have_no_rate_and_no_overlap(folder, here):
    for option in ({"fps": 8.0}, {"overlap": 0.5}):
        with pytest.raises(DataError, match=f"{next(iter(option))} .*pictures do not have"):
            nexus.embed(folder / "w.pt", folder / "pictures/dark.png", here / "f.arrow", **option)
    assert not list(here.iterdir())


def test_an_index_is_for_files_of_several_probes(folder, trained, here):
    for probe in (trained.folder, folder / "hf"):
        for index in (0, 3):
            with pytest.raises(CheckpointError, match=rf"holds one probe; an index \({index}\)"):
                nexus.load_probe(probe, index=index)
    assert nexus.load_probe(folder / "probe.pt", encoder=folder / "w.pt", index=0)


def test_columns_that_cannot_be_learned_are_left_out_before_anything_is_encoded(
    folder, here, capsys
):
    table = pd.read_csv(folder / "clips/labels.csv")
    table["path"] = [str(folder / "clips" / path) for path in table["path"]]
    table["clip_id"] = [f"clip {number}" for number in range(len(table))]
    # A class whose only training sample is too short for a clip: that shows when it is read.
    table["rare"] = ["ab"[number % 2] for number in range(len(table))]
    first = {split: table.index[table["split"] == split][0] for split in ("train", "test")}
    table.loc[list(first.values()), "rare"] = "odd"
    table["end"] = [0.5 if row == first["train"] else 1.5 for row in table.index]
    table.to_csv(here / "list.csv", index=False)
    with pytest.raises(DataError, match="no training sample of class clip"):
        nexus.train_probe(folder / "w.pt", here / "list.csv", label="clip_id")
    assert [path.name for path in here.iterdir()] == ["list.csv"]
    quick = {"overrides": QUICK, "clips": {"fps": 8.0}}
    found = nexus.train_probe(folder / "w.pt", here / "list.csv", **quick)
    learned = {one.folder.name for one in found}
    assert {"speed", "rare"} <= learned and "clip_id" not in learned
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("clip_id: not learned") == 1
    assert told.count("rare: 1 of") == 1 and "without a training sample: odd" in told
    [rare] = [one for one in found if one.folder.name == "rare"]
    assert "odd" not in json.loads((rare.folder / "probe.json").read_text())["classes"]


def test_joined_clips_of_several_layers(folder, here):
    [found] = nexus.train_probe(
        folder / "w.pt", folder / "clips/labels.csv", label="speed", overrides=QUICK,
        clips={"fps": 8.0, "clips_per_video": 2}, join_clips=True, layers=(0, 2),
        keep_tokens=False,
    )  # fmt: skip
    assert found.folder == Path("probes/w/speed")
    card = load_probe_folder(found.folder)[1]
    assert card.clips.join and card.clips.clips_per_video == 2
    assert card.encoder.layers == (0, 2)
    labelled = nexus.label(nexus.load_probe(found.folder), folder / "clips/test")
    assert len(labelled) == 12


def test_another_encoder_is_refused(folder, trained, tmp_path):
    other = make_model()
    with torch.no_grad():
        other.target_encoder.norm.bias += 1e-3
    save_official(tmp_path / "other.pt", other)
    save_official(tmp_path / "wide.pt", make_model(encoder_dim=64))
    with pytest.raises(CheckpointError, match=r"holds other weights .*--any-encoder"):
        nexus.load_probe(trained.folder, encoder=tmp_path / "other.pt")
    assert nexus.load_probe(trained.folder, encoder=tmp_path / "other.pt", any_encoder=True)
    assert nexus.load_probe(trained.folder, encoder=folder / "hf")  # the same weights
    for any_encoder in (False, True):
        with pytest.raises(CheckpointError, match=r"width 32, .*wide\.pt gives 64"):
            nexus.load_probe(trained.folder, encoder=tmp_path / "wide.pt", any_encoder=any_encoder)


def test_a_probe_of_meta_needs_its_encoder_and_names(folder, here):
    with pytest.raises(CheckpointError, match="a probe without its encoder"):
        nexus.load_probe(folder / "probe.pt")
    numbered = nexus.load_probe(folder / "probe.pt", encoder=folder / "w.pt")
    assert numbered.classes == ("class 0", "class 1")
    assert any("numbered from 0" in note for note in numbered.notes)
    with pytest.raises(CheckpointError, match="has 2 classes, 3 names were given"):
        nexus.load_probe(folder / "probe.pt", encoder=folder / "w.pt", classes=["a", "b", "c"])
    (here / "names.json").write_text('{"slow": "1", "fast": "0"}')
    line = ["label", str(folder / "probe.pt"), str(folder / "clips/test"), "--encoder"]
    line += [str(folder / "w.pt"), "--classes", "names.json", "--fps", "8", "--save", "kept"]
    assert run([*line, "--out", "out.parquet"]) == 0
    assert set(pd.read_parquet("out.parquet")["label"]) <= {"slow", "fast"}
    again = nexus.load_probe("kept")
    assert again.classes == ("fast", "slow") and again.spec.fps == 8.0
    with pytest.raises(CheckpointError, match="names its classes itself"):
        nexus.load_probe("kept", classes=["a", "b"])


def test_a_missing_probe_is_an_error_not_a_random_head(folder, here):
    for missing in (here / "none", "none", here):
        with pytest.raises(CheckpointError, match=r"does not exist|holds no probe"):
            nexus.load_probe(missing, encoder=folder / "w.pt")
    with pytest.raises(CheckpointError, match="has no classifier"):
        nexus.load_probe(folder / "hf")


def test_a_classifier_of_transformers_labels_by_itself(folder, here):
    from transformers import VJEPA2Config, VJEPA2ForVideoClassification

    torch.manual_seed(0)
    config = VJEPA2Config(
        crop_size=32, frames_per_clip=8, hidden_size=32, num_attention_heads=2,
        num_hidden_layers=2, pred_hidden_size=24, pred_num_attention_heads=2,
        pred_num_hidden_layers=1, num_pooler_layers=1, id2label={0: "yes", 1: "no"},
        label2id={"yes": 0, "no": 1},
    )  # fmt: skip
    model = VJEPA2ForVideoClassification(config).eval()
    stir(model, scale=0.1)
    model.save_pretrained(here / "classifier")
    classifier = nexus.load_probe(here / "classifier")
    assert classifier.classes == ("yes", "no")
    video = torch.randint(0, 256, (2, 3, 8, 32, 32), generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1, 1) for v in (
        [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    ))  # fmt: skip
    pixels = ((video / 255 - mean) / std).transpose(1, 2)
    with torch.no_grad():
        expected = model(pixel_values_videos=pixels).logits.softmax(-1).numpy()
    found = classifier.clips(video.to(torch.uint8))
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 1e-5
    assert np.ptp(expected[:, 0]) > 1e-4


def test_mistakes_are_found_before_anything_is_encoded(folder, here):
    data = folder / "clips/labels.csv"
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        nexus.train_probe(folder / "w.pt", data, overrides=["epoch=3"])
    with pytest.raises(DataError, match="rising block numbers from 0 to 2"):
        nexus.train_probe(folder / "w.pt", data, layers=(1, 7))
    with pytest.raises(DataError, match="no label column 'sped'"):
        nexus.train_probe(folder / "w.pt", data, label="sped")
    with pytest.raises(DataError, match="no label columns of classes"):
        nexus.train_probe(folder / "w.pt", folder / "clips/test")
    assert not list(here.iterdir())


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_what_probe_measures_is_kept_and_labels_as_it_was_scored(folder, here, capsys, kind):
    listing, clips = folder / "clips/labels.csv", {"fps": 8.0}
    [found] = nexus.train_probe(folder / "w.pt", listing, label="speed", kind=kind, clips=clips)
    assert found.folder == Path(f"probes/w/speed-{kind}") and found.row.probe == kind
    measured = nexus.probe(folder / "w.pt", listing, label="speed", kinds=(kind,), clips=clips)
    assert found.row == measured[0]
    card = json.loads((found.folder / "probe.json").read_text())
    assert card["head"]["kind"] == kind and card["head"]["pooling"] == "mean"
    assert card["encoder"]["digest"] and card["clips"]["fps"] == 8.0
    one = {"clips_per_video": 1}
    labelled = nexus.label(nexus.load_probe(found.folder, clips=one), listing)
    table = pd.read_csv(listing).set_index("path")
    right = [
        str(table.loc[key, "speed"]) == label
        for key, label in zip(labelled.rows["key"], labelled.labels, strict=True)
        if table.loc[key, "split"] == "test"
    ]
    assert len(right) == 12 and np.mean(right) == pytest.approx(found.row.mean)
    assert run(["label", str(found.folder), str(folder / "clips/test"), "--windows"]) == 0

    other = make_model()
    with torch.no_grad():
        other.target_encoder.norm.bias += 1e-3
    save_official(here / "other.pt", other)
    with pytest.raises(CheckpointError, match="holds other weights"):
        nexus.load_probe(found.folder, encoder=here / "other.pt")
    for wrong in ({"layers": (0, 2)}, {"join_clips": True}):
        with pytest.raises(CheckpointError, match=f"is {kind}: it reads the mean over a clip's"):
            nexus.load_probe(found.folder, **wrong)
    with pytest.raises(DataError, match=f"is {kind}: .* or an attentive probe"):
        nexus.embed(
            folder / "w.pt", listing, here / "f.parquet", pooling="attentive", probe=found.folder
        )
    line = ["train-probe", str(folder / "w.pt"), str(listing), "--kind", kind, "--fps", "8"]
    assert run([*line, "--label", "speed"]) == 0  # the same one again
    assert run([*line, "--label", "speed", "--set", "split_seed=1"]) == 1
    assert "holds another probe: training.split_seed (0 there" in capsys.readouterr().err
    assert run([*line, "--label", "speed", "--join", "--save", "joined"]) == 1
    assert run([*line, "--label", "speed", "--seeds", "2"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "leave --join out" in told and "leave --seeds out" in told


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(
    folder, trained, here, capsys, monkeypatch
):
    listing = str(folder / "clips/labels.csv")
    line = ["train-probe", str(folder / "w.pt"), listing, "--label", "speed", "--fps", "8"]
    line += [word for change in QUICK for word in ("--set", change)]
    real, steps = attentive.train_step, []

    def step(*given):
        steps.append(1)
        if len(steps) == 9:
            os.kill(os.getpid(), signal.SIGINT)
        real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(attentive, "train_step", step)
        assert run(line) == 130
    told = capsys.readouterr().err
    kept = "probes/w/speed/unfinished-0.pt"
    assert f"Ctrl-C: the training so far is kept in {kept}; the same command goes on" in told
    assert Path(kept).exists() and not Path("probes/w/probes.json").exists()
    assert run(line) == 0
    assert f"going on from {kept}" in capsys.readouterr().err and not Path(kept).exists()
    head, _ = load_probe_folder(here / "probes/w/speed")
    for name, tensor in load_probe_folder(trained.folder)[0].state_dict().items():
        assert torch.equal(tensor, head.state_dict()[name]), name

    def stopped(*given, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nexus.features.extract.encode", stopped)
        assert run(["embed", str(folder / "w.pt"), listing, "--out", "f.parquet"]) == 130
        assert "nothing is written to f.parquet; the same command starts over" in (
            capsys.readouterr().err
        )
        assert not Path("f.parquet").exists()
        assert run(["probe", str(folder / "w.pt"), listing, "--fps", "4"]) == 130
        told = capsys.readouterr().err
        assert "finished features are kept in probes/w/features; the same command goes on" in told
        shutil.rmtree("probes/w/features")
        assert run(["probe", str(folder / "w.pt"), listing, "--fps", "4"]) == 130
        assert "nothing is kept yet; the same command starts over" in capsys.readouterr().err
