"""`nexus pretrain` and `nexus adapt` do what their options say."""

import json
import shlex
import sys

import pytest

from nexus.cli.main import run
from nexus.training.recipe import read_run_recipe, recipe_names

pytestmark = pytest.mark.usefixtures("undrawn")
TINY = ["training.threads=1", "training.batch_size=4", "data.num_workers=0"]


@pytest.fixture
def typed(here, monkeypatch):
    """`typed(line)` runs a command as the shell would; the videos lie in `my videos`."""
    (here / "videos").rename(here / "my videos")

    def run_line(line):
        words = shlex.split(line) + TINY
        monkeypatch.setattr(sys, "argv", ["nexus", *words])
        return run(words)

    return run_line


def test_pretrain_trains_what_it_is_told(here, typed, capsys):
    line = "pretrain 'my videos/labels.csv' --out runs/a --seed 7 optim.lr=3e-4 model.mask=tube"
    line += " --recipe finished/recipe.yaml --label shape training.steps=1"
    assert typed(line) == 0
    recipe = read_run_recipe(here / "runs/a")
    assert recipe.training.seed == 7 and recipe.training.steps == 1
    assert recipe.optim.lr == 3e-4 and recipe.model.mask == "tube"
    assert recipe.model.encoder_dim == 16, "as the recipe in the file"
    info = json.loads((here / "runs/a/run.json").read_text())
    assert info["command"] == " ".join(["nexus", line, *TINY])
    assert info["data"]["source"].endswith("my videos/labels.csv")
    rows = json.loads((here / "runs/a/results/probes.json").read_text())["rows"]
    assert {row["task"] for row in rows} == {"shape"}
    printed = capsys.readouterr().out
    assert printed.startswith("Health: unproven: not collapsed, but after 1 step of training")
    assert "shape, linear" in printed
    assert "Report: runs/a/report.html" in printed

    assert typed(line) == 1
    assert "--resume" in capsys.readouterr().err
    assert typed(f"{line} --resume") == 0


def test_a_run_is_resumed_and_made_longer_by_its_folder_alone(here, typed, capsys):
    line = "pretrain 'my videos/labels.csv' --out runs/c --recipe finished/recipe.yaml"
    assert typed(f"{line} --steps 1 --label shape optim.lr=3e-4") == 0
    assert typed("pretrain --resume --out runs/c") == 0
    assert typed("pretrain --resume --out runs/c --steps 2 --label shape") == 0
    recipe = read_run_recipe(here / "runs/c")
    info = json.loads((here / "runs/c/run.json").read_text())
    assert (recipe.training.steps, recipe.optim.lr) == (2, 3e-4)
    assert (info["status"], info["steps_done"]) == ("finished", 2)
    capsys.readouterr()
    assert typed("pretrain --out runs/d") == 1
    assert "name a folder of videos or a list" in capsys.readouterr().err
    assert typed("pretrain --resume --out runs/nothing") == 1
    assert "runs/nothing" in capsys.readouterr().err


def test_the_help_names_every_recipe(capsys):
    assert run(["pretrain", "--help"]) == 0
    words = capsys.readouterr().out.replace(",", " ").split()
    assert set(recipe_names()) <= set(words)


def test_pretrain_starts_from_weights_and_may_write_no_page(here, typed, capsys):
    line = "pretrain 'my videos' --out b --recipe adapt --init finished --no-report"
    assert typed(f"{line} training.steps=1") == 0
    info = json.loads((here / "b/run.json").read_text())
    assert info["init"]["source"] == "finished" and info["recipe"] == "adapt"
    assert not (here / "b/report.html").exists() and not (here / "b/results").exists()
    assert "Report" not in capsys.readouterr().out


def test_adapt_trains_the_grid_and_judges_as_it_is_told(here, typed, capsys):
    line = (
        "adapt 'my videos' --init finished --out s --labels 'my videos/labels.csv' --label motion"
    )
    line += " --label shape --lr 1e-3 --ema 0.9 --ema 0.99 --probe knn --seed 3 training.steps=1"
    assert typed(line) == 0
    result = json.loads((here / "s/adaptation.json").read_text())
    arms = ["no adaptation", "lr 0.001, EMA 0.99", "lr 0.001, EMA 0.9"]
    assert [row["arm"] for row in result["rows"]] == arms
    assert set(result["metrics"]) == {"motion", "shape"} and result["probe"].startswith("knn")
    for folder in (here / "s/runs").iterdir():
        assert read_run_recipe(folder).training.seed == 3
    printed = capsys.readouterr().out
    best = result["chosen"].replace("lr ", "lr").replace(", EMA ", "-ema").replace(" ", "-")
    assert f"Run: s/runs/{best}\n" in printed and "Report: s" in printed
