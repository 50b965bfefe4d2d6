"""A world model as a folder to pass on: planning with it is planning with its run."""

import json

import pytest

import nexus
from nexus.errors import OutputError, RunError
from nexus.jobs.planning import TABLE, WEIGHTS

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
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (planned / WEIGHTS).read_bytes()
    assert sorted(file.name for file in packed.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "weights.json",
    ]  # fmt: skip
    card = (packed / "README.md").read_text()
    assert "For a test." in card and "planner, picture alone" in card and "world-joint, 0" in card


def test_weights_of_another_environment_are_not_taken(run, tmp_path):
    packed = nexus.pack_world(run, tmp_path / "packed", planned=[run.parent / "planned"])
    nexus.plan(packed, env="push-walls", out=tmp_path / "walls", validation=0, **QUICK)
    assert not (tmp_path / "walls" / WEIGHTS).exists()


def test_what_cannot_be_packed_is_refused(run, tmp_path):
    with pytest.raises(OutputError, match="is there already"):
        nexus.pack_world(run, tmp_path)
    with pytest.raises(RunError, match="expected a folder that `nexus plan"):
        nexus.pack_world(run, tmp_path / "new", planned=[run])
    assert not (tmp_path / "new").exists()
