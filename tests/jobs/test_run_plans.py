"""A run whose recipe nobody named: looked at, chosen, said, written down, trained; never twice."""

import json

import pytest
import yaml

import nexus
from nexus.cli.main import run
from nexus.errors import ConfigError, DataError, OutputError
from nexus.jobs import fitting, pretraining
from nexus.training.recipe import load_recipe, read_run_recipe

TINY = [
    "training.batch_size=2", "training.threads=1", "model.encoder_dim=16", "model.num_heads=2",
    "model.predictor_dim=16", "model.predictor_heads=2", "model.img_size=32",
    "model.num_spatial_layers=1", "model.num_temporal_layers=0", "model.num_predictor_layers=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def listing(folder):
    """24 clips to train on: 16 frames in two seconds, 64 x 64."""
    return folder / "clips/labels.csv"


def test_a_run_without_a_recipe_looks_chooses_tells_and_trains(listing, here, capsys, monkeypatch):
    line = ["pretrain", str(listing), "--out", "run", "--seed", "4", "--minutes", "3", *TINY]
    line += ["--no-report", "--steps"]
    assert run([*line, "2"]) == 0
    info = json.loads((here / "run/run.json").read_text())
    lines, objections = info["plan"]["lines"], info["plan"]["objections"]
    said = capsys.readouterr().err
    log = (here / "run/log.txt").read_text()
    for text in (said, log):
        assert [text.count(one) for one in (*lines, objections)] == [1] * 4
    assert lines[0].startswith("clips of 2.0 s: 16 frames at 8 a second, 32 x 32; your 24 videos")
    assert lines[2].startswith("2 steps, as asked, take about ")
    assert "24 videos hold 24 different clips" in objections
    recipe = read_run_recipe("run")
    assert (recipe.name, recipe.training.seed, recipe.training.steps) == ("planned", 4, 2)
    assert recipe.model.to_mapping()["encoder_dim"] == 16
    assert recipe.model.to_mapping()["mask"] == load_recipe("footage").model.to_mapping()["mask"]

    monkeypatch.setattr(fitting, "look_at_movement", None)  # nothing is looked at again
    assert run([*line, "3", "--resume"]) == 0
    assert read_run_recipe("run") == recipe.with_changes(
        training=recipe.training.with_changes(steps=3)
    )
    assert json.loads((here / "run/run.json").read_text())["plan"] == info["plan"]
    edited = ["--recipe", "run/recipe.yaml", "--out", "again", "--no-report"]
    assert run(["pretrain", str(listing), *edited, "training.steps=1"]) == 0
    assert json.loads((here / "again/run.json").read_text())["plan"] is None


def test_a_plan_trains_nothing_and_writes_what_it_is_asked_to(listing, here, capsys):
    assert run(["plan-run", str(listing), "--minutes", "1", *TINY]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5 and not any(here.iterdir())
    assert run(["plan-run", str(listing), "--out", "mine.yaml", *TINY]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == f"  nexus pretrain {listing} --recipe mine.yaml --out RUN"
    assert (here / "mine.yaml").read_text().startswith("".join(f"# {one}\n" for one in told[:3]))
    recipe = load_recipe("mine.yaml")
    assert recipe.training.batch_size == 2 and recipe.model.img_size == 32
    assert (
        recipe.training.steps
        == yaml.safe_load((here / "mine.yaml").read_text())["training"]["steps"]
    )
    with pytest.raises(OutputError, match="mine.yaml is there already"):
        nexus.plan_run(listing, out="mine.yaml")
    with pytest.raises(ConfigError, match="called NAME.yaml"):
        nexus.plan_run(listing, out="mine")


def test_what_cannot_be_is_said_before_anything_is_tried(listing, here, monkeypatch):
    def tried(*_):
        raise AssertionError

    monkeypatch.setattr("nexus.fitting.plan.rehearse_step", tried)
    for problem, told in (
        ({"overrides": ["optim.lrr=1"]}, "did you mean 'optim.lr'"),
        ({"overrides": ["model.num_frames=64"]}, "none of the 24 videos is as long as a clip"),
        ({"overrides": ["model.kind=pixels"]}, "a run of kind vjepa is chosen; name a recipe of"),
        ({"minutes": 0}, "minutes 0: expected a number above 0"),
        ({"minutes": 9, "recipe": "small"}, "is as long as its training.steps"),
        ({"label": "sped"}, "no label column 'sped'"),
    ):
        with pytest.raises((ConfigError, DataError), match=told):
            nexus.pretrain(listing, "run", **problem)
    assert not any(here.iterdir())


def test_weights_without_a_recipe_are_continued(listing, folder, here, monkeypatch):
    def trained(recipe, *_, **__):
        raise InterruptedError(recipe.name)

    monkeypatch.setattr(pretraining, "train", trained)
    with pytest.raises(InterruptedError, match="adapt"):
        nexus.pretrain(listing, "run", init=folder / "w.pt", overrides=["data.clip.stride=1"])
