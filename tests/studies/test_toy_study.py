"""The toy study, small: all arms run, validation chooses the weight, a rerun adds nothing."""

import json
from dataclasses import replace

import pytest

from nexus.cli.main import run
from nexus.errors import ConfigError
from nexus.jobs import sweep
from nexus.studies import toy
from nexus.toy.world import ToyConfig

WORLD = ToyConfig.from_mapping(
    {"train_clips": 32, "validation_clips": 16, "test_clips": 24, "tasks": {"direction": 1.0}}
)


SMALL = {"weights": (0.1, 1.0), "tasks": ("direction",)}
pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    return toy.run(out, seeds=2, steps=1, world=WORLD, **SMALL).parent


def test_every_arm_has_a_row_with_a_value_a_seed(study):
    rows = json.loads((study / "results.json").read_text())["rows"]
    linear = {row["arm"]: row for row in rows if row["probe"] == "linear"}
    assert list(linear) == list(toy.ARMS)
    for arm, row in linear.items():
        assert len(row["values"]) == (1 if arm in toy.PIXEL_ARMS else 2)
        assert row["n_test"] == 24
    table = (study / "table.md").read_text()
    assert all(arm in table for arm in toy.ARMS)
    assert "nexus study toy --out" in table
    assert (study / "study.html").exists()


def test_the_chosen_weight_validates_best(study):
    (note,) = (
        note
        for note in json.loads((study / "results.json").read_text())["notes"]
        if note.startswith("vjepa:")
    )
    tried = note.partition("(")[2].rstrip(")")
    scores = dict(part.split(": ") for part in tried.split(", "))
    best = max(scores, key=lambda weight: float(scores[weight]))
    assert f"weight {best} " in note


def test_a_finished_study_is_read_not_run_again(study, monkeypatch):
    before = (study / "table.md").read_text()

    def train(*_args, **_options):
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr(sweep, "train", train)
    toy.run(study, seeds=2, steps=1, world=WORLD, **SMALL)
    assert (study / "table.md").read_text() == before


def test_arms_differ_in_the_objective_alone():
    base = toy.arm_recipe("vjepa", seed=0, steps=None, weight=0.1)
    for name in ("vjepa, EMA only", "anti-collapse only", "pixel prediction, raw"):
        arm = toy.arm_recipe(name, seed=0, steps=None, weight=0.1)
        assert arm.data == base.data and arm.optim == base.optim and arm.training == base.training
        ours, theirs = arm.model.to_mapping(), base.model.to_mapping()
        same = set(ours) & set(theirs) - {"kind", "regularizer", "prediction_weight"}
        assert all(ours[key] == theirs[key] for key in same)
    assert toy.arm_recipe("vjepa, EMA only", seed=0, steps=None).model.regularizer == "none"
    assert toy.arm_recipe("anti-collapse only", seed=0, steps=None).model.prediction_weight == 0


def test_the_weight_does_not_see_the_test_split(study, monkeypatch):
    # Poisoned test accuracies must not change the choice.
    catalog = toy.read_videos(study / "videos/labels.csv")
    runs = sweep.Sweep(study, catalog, catalog, SMALL["tasks"], toy.PROBES, "")
    honest = toy.Study(runs, range(2), 1, SMALL["weights"])
    chosen, _ = honest.choose_weight("vjepa")
    measure = honest.measure

    def poisoned(name, seed, weight):
        measured, seconds = measure(name, seed, weight)
        results = {
            key: [replace(one, value=1.0 if weight != chosen else 0.0) for one in found]
            for key, found in measured.results.items()
        }
        return replace(measured, results=results), seconds

    monkeypatch.setattr(honest, "measure", poisoned)
    assert honest.choose_weight("vjepa")[0] == chosen


def test_an_unknown_arm_is_an_error_that_lists_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="anti-collapse only"):
        toy.run(tmp_path, arms=["vjepaa"], world=WORLD)
    assert not list(tmp_path.iterdir())


def test_the_command_prints_the_table(tmp_path, monkeypatch, capsys):
    small, real = (
        {"train_clips": 40, "validation_clips": 8, "test_clips": 8},
        ToyConfig.from_mapping,
    )
    monkeypatch.setattr(ToyConfig, "from_mapping", lambda given: real({**small, **given}))
    line = ["study", "toy", "--out", str(tmp_path / "s"), "--arm", "frame differences"]
    assert run([*line, "--steps", "5", "--seeds", "1"]) == 0
    table = (tmp_path / "s/table.md").read_text()
    assert capsys.readouterr().out.startswith(table)
    assert (
        "--seeds 1 --steps 5" in table
        and "frame differences" in table
        and "raw pixels" not in table
    )
    assert json.loads((tmp_path / "s/study.json").read_text())["steps"] == 5
    assert run(["study", "toy", "--out", str(tmp_path / "t"), "--arm", "vjepaa"]) == 1
    assert "anti-collapse only" in capsys.readouterr().err
