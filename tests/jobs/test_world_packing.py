"""A world model as a folder to pass on: planning with it is planning with its run."""

import json

import pytest

import nexus
from nexus.errors import OutputError, RunError
from nexus.jobs.planning import SETTINGS, TABLE, WEIGHTS
from nexus.runs.control import ControlTable

QUICK = {"episodes": 2, "steps": 3, "shifts": False, "policies": ["picture"], "timed_steps": 1}
SMALL = (
    "training.steps=2",
    "training.batch_size=4",
    "training.tensorboard=false",
    "training.threads=1",
    "model.img_size=64",
    "model.encoder={kind: keypoints, patch_size: 8, width: 8}",
    "model.predictor={kind: adaln, width: 24, depth: 1, heads: 2, window: 1}",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("packing")
    nexus.collect_episodes("push", home / "pushes", episodes=11, steps=6)
    nexus.train_world(home / "pushes", home / "run", overrides=SMALL, report=False)
    nexus.plan(home / "run", env="push", out=home / "planned", validation=1, **QUICK)
    return home / "run"


def numbers(table):
    return [[each.final_distance for each in row.episodes] for row in table.rows]


def test_a_packed_model_plans_as_its_run_does(run, tmp_path):
    planned = run.parent / "planned"
    packed = nexus.pack_world(run, tmp_path / "packed", planned=[planned], note="For a test.")
    table = nexus.plan(packed, env="push", out=tmp_path / "again", validation=1, **QUICK)
    before = json.loads((planned / TABLE).read_text())
    assert [[e["final_distance"] for e in row["episodes"]] for row in before["rows"]] == numbers(
        table
    )
    # No weights are tried again: what was chosen came along.
    assert not (tmp_path / "again" / WEIGHTS).exists()
    assert (tmp_path / "again" / SETTINGS).read_bytes() == (planned / SETTINGS).read_bytes()
    assert sorted(file.name for file in packed.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "planning.yaml",
    ]  # fmt: skip
    card = (packed / "README.md").read_text()
    assert "For a test." in card and "planner, picture alone" in card and "world-joint, 0" in card
    assert "| things 1 | 1 | " in card  # the weights that were tried


def test_a_packed_model_searches_as_it_did_and_otherwise_on_demand(run, tmp_path):
    settings = {"horizon": 2, "planner": {"candidates": 16}}
    out = tmp_path / "planned"
    told = {"env": "push", "validation": 1, **QUICK}
    nexus.plan(run, out=out, planning=settings, **told)
    packed = nexus.pack_world(run, tmp_path / "packed", planned=[out])
    table = nexus.plan(packed, out=tmp_path / "again", **told)
    search = table.rows[-1].settings["planning"]
    assert (search["horizon"], search["planner"]["candidates"]) == (2, 16)
    assert search["planner"]["kind"] == "icem"
    # Other plans, other weights: they are tried anew.
    other = nexus.plan(packed, out=tmp_path / "other", planning={"planner": "mppi"}, **told)
    assert other.rows[-1].settings["planning"]["planner"] == "mppi"
    assert (tmp_path / "other" / WEIGHTS).exists()


def test_weights_tried_with_another_search_are_not_taken_for_this_one(run, tmp_path):
    told = {"env": "push", "validation": 1, **QUICK}
    for horizon in (2, 3):
        nexus.plan(run, out=tmp_path, planning={"horizon": horizon}, **told)
        tried = ControlTable.read(tmp_path / WEIGHTS).rows
        assert {row.settings["planning"]["horizon"] for row in tried} == {horizon}


def test_weights_of_another_environment_are_not_taken(run, tmp_path):
    packed = nexus.pack_world(run, tmp_path / "packed", planned=[run.parent / "planned"])
    nexus.plan(packed, env="push-walls", out=tmp_path / "walls", validation=0, **QUICK)
    assert not (tmp_path / "walls" / SETTINGS).exists()


def test_what_cannot_be_packed_is_refused(run, tmp_path):
    with pytest.raises(OutputError, match="is there already"):
        nexus.pack_world(run, tmp_path)
    with pytest.raises(RunError, match="expected a folder that `nexus plan"):
        nexus.pack_world(run, tmp_path / "new", planned=[run])
    assert not (tmp_path / "new").exists()
