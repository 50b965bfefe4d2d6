"""`nexus probe`, `train-probe` and `label` on a run that lies among the assets."""

import re

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import nexus
from nexus.cli.main import run
from nexus.jobs.probe_training import KINDS

QUICK = ["--set", "epochs=1", "--set", "depth=1", "--set", "weight_decays=[0.1]"]


def lines_of(capsys):
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_probe_prints_the_rows_that_it_keeps(here, capsys):
    line = ["probe", "finished", "--label", "direction", "--kind", "knn", "--seeds", "1"]
    assert run(line) == 0
    [head, *rows] = lines_of(capsys)
    assert head[:4] == ["arm", "label", "probe", "metric"]
    kept = [
        row
        for row in nexus.probe("finished", label="direction", kinds=("knn",), seeds=1)
        if row.task == "direction"
    ]
    assert [row[-1] for row in rows] == [str(row.n_test) for row in kept]
    for shown, row in zip(rows, kept, strict=True):
        assert " ".join(shown).startswith(f"{row.arm} direction knn accuracy")
        assert f"{100 * row.mean:.1f}" in shown


def test_a_trained_probe_is_kept_and_labels_videos(here, capsys):
    line = ["train-probe", "finished", "--label", "speed", "--save", "kept", "--frames", "4"]
    assert run([*line, *QUICK, "--precision", "bf16", "--layers", "0,1", "--which", "context"]) == 0
    printed = lines_of(capsys)
    assert printed[-1] == ["Probe:", "kept"]
    probe = nexus.load_probe("kept")
    assert probe.card.encoder.layers == (0, 1) and probe.card.encoder.which == "context"
    assert probe.card.training["epochs"] == 1 and probe.card.training["precision"] == "bf16"

    assert run(["label", "kept", "videos/labels.csv", "--top", "2"]) == 0
    frame = nexus.label(probe, "videos/labels.csv").to_frame(2)
    shown = lines_of(capsys)[1:]
    assert [row[0] for row in shown] == frame["key"].tolist()
    assert [row[3] for row in shown] == frame["label"].tolist()
    assert [row[4] for row in shown] == [f"{value:.3f}" for value in frame["probability"]]


def test_windows_go_to_a_file(here, capsys):
    line = ["label", "probe", "videos/labels.csv", "--encoder", "finished", "--out", "w.csv"]
    assert run([*line, "--windows", "--overlap", "0.5", "--fps", "20", "--pad"]) == 0
    assert "Labels: w.csv" in capsys.readouterr().out
    table = pd.read_csv("w.csv")
    probe = nexus.load_probe("probe", encoder="finished", clips={"fps": 20.0, "pad": True})
    windows = nexus.label(probe, "videos/labels.csv", windows=True, overlap=0.5).to_frame()
    assert table["start"].tolist() == pytest.approx(windows["start"].tolist())
    assert table["label"].tolist() == windows["label"].tolist()
    assert table.groupby("key").size().min() > 1


def test_a_probe_is_kept_elsewhere_before_it_labels(here, capsys):
    line = ["label", "probe", "videos/labels.csv", "--encoder", "finished", "--out", "l.csv"]
    assert run([*line, "--save", "copy"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("Probe: copy") < printed.index("Labels: l.csv")
    kept, copy = (load_file(here / name / "probe.safetensors") for name in ("probe", "copy"))
    assert kept.keys() == copy.keys() and all(torch.equal(kept[key], copy[key]) for key in kept)


def test_another_probe_is_replaced_by_force_alone(here, capsys):
    line = ["train-probe", "finished", "--label", "direction", "--save", "probe", *QUICK]
    before = (here / "probe/probe.json").read_bytes()
    assert run(line) == 1
    assert "holds another probe" in " ".join(capsys.readouterr().err.split())
    assert (here / "probe/probe.json").read_bytes() == before
    assert run([*line, "--force"]) == 0
    assert nexus.load_probe("probe").card.task == "direction"


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("probe w.pt l.csv --layers 1", "--layers"),
        ("probe w.pt l.csv --join", "--join"),
        ("probe w.pt l.csv --out f.csv", "--out"),
        ("probe w.pt l.csv --index 0", "--index"),
        ("probe w.pt l.csv --force", "--force"),
        ("train-probe w.pt l.csv --windows", "--windows"),
        ("train-probe w.pt l.csv --overlap 0.5", "--overlap"),
        ("train-probe w.pt l.csv --top 5", "--top"),
        ("train-probe w.pt l.csv --index 0", "--index"),
        ("label p videos --kind knn", "--kind"),
        ("label p videos --label action", "--label"),
        ("label p videos --seeds 2", "--seeds"),
        ("label p videos --which context", "--which"),
        ("label p videos --set epochs=3", "--set"),
    ],
)
def test_options_of_other_commands_are_refused(here, capsys, line, option):
    assert run(line.split()) == 2
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"No such option: {option}" in shown


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("--overlap 0.5", "--overlap"),
        ("--windows --clips 2", "--clips"),
        ("--windows --join", "--join/--average"),
        ("--windows --average", "--join/--average"),
        ("--force", "--force"),
    ],
)
def test_options_that_do_nothing_beside_others_are_refused(here, capsys, line, option):
    assert run(["label", "probe", "videos", *line.split()]) == 2
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"{option}: " in shown and "leave it out" in shown


def test_a_kind_of_probe_that_does_not_exist_is_named(here, capsys):
    assert run(["probe", "finished", "--kind", "lineal"]) == 1
    assert "lineal" in capsys.readouterr().err


def test_help_names_what_can_be_set(capsys):
    assert run(["train-probe", "--help"]) == 0
    told = set(re.findall(r"\w+", capsys.readouterr().out))
    for kind, probe in KINDS.items():
        assert told >= type(probe).model_fields.keys(), kind
