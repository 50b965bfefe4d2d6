"""`nexus plan`: table, page and folder; what is asked for wrongly is said before anything acts."""

import json

import pytest
from oracles.world import robot, world

import nexus
from nexus.checkpoints.files import ModelCard, save_checkpoint
from nexus.cli.main import run
from nexus.control.cloning import CloningConfig
from nexus.control.collection import Collection
from nexus.control.seeds import evaluation_seeds
from nexus.envs import TableEnv
from nexus.errors import CheckpointError, ConfigError, DataError, RunError
from nexus.jobs.planning import _seeds_of, check_fits
from nexus.models.ssl import VJEPAModel
from nexus.runs.control import ControlTable

TINY = CloningConfig.from_mapping(
    {"steps": 2, "check_every": 1, "batch": 4, "places": 2, "width": 8}
)


def test_the_command_prints_the_table_and_goes_on_after_what_is_finished(tmp_path, capsys):
    words = ["plan", "--env", "reach", "--out", str(tmp_path / "plans"), "--episodes", "3"]
    words += ["--steps", "12", "--policies", "oracle,random", "--seed", "4"]
    assert run(words) == 0
    printed = capsys.readouterr()
    assert "planner in the true world" in printed.out and "random actions" in printed.out
    assert "zero action" not in printed.out
    assert "acting: random actions" in printed.err
    table = ControlTable.read(tmp_path / "plans" / "planning.json")
    assert [row.role for row in table.rows] == ["oracle", "random"]
    assert [one.seed for one in table.rows[0].episodes] == list(evaluation_seeds(4, 3))
    assert table.rows[0].successes_at_end == 3, "reach is easy for the oracle"
    page = (tmp_path / "plans" / "planning.html").read_text()
    assert "<script" not in page and page.count("data:image/webp") == 2
    assert run(words) == 0
    again = capsys.readouterr()
    assert "acting" not in again.err and again.out == printed.out


def test_recordings_are_imitated_once_for_all_shifts(tmp_path, reach_folder, monkeypatch):
    import nexus.jobs.planning as planning

    calls = []

    def clone(*given):
        calls.append(given)
        return whole(*given)

    whole = planning.clone
    monkeypatch.setattr(planning, "clone", clone)
    settings = {"env": "reach", "out": tmp_path, "episodes": 2, "steps": 2, "timed_steps": 1}
    told = {"data": reach_folder, "policies": ["zero", "cloning"], "cloning": TINY}
    table = nexus.plan(**settings, **told)
    assert [(row.role, row.shift) for row in table.rows] == [
        ("zero", None),
        ("cloning", None),
        ("cloning", "colours"),
        ("cloning", "agent size"),
        ("cloning", "background"),
    ]
    assert len(calls) == 1
    assert nexus.plan(**settings, **told) == table and len(calls) == 1
    assert len(nexus.plan(**settings, **told, shifts=False).rows) == 2 and len(calls) == 1
    nexus.plan(**settings, **told | {"cloning": TINY.with_changes(seed=1)}, shifts=False)
    assert len(calls) == 2
    kept = json.loads((tmp_path / "planning.json").read_text())
    assert kept["rows"][1]["settings"]["data"]["path"] == str(reach_folder)


def test_what_there_is_not_is_said_before_anything_acts(tmp_path):
    with pytest.raises(ConfigError, match="unknown environment 'pusch'; did you mean 'push'"):
        nexus.plan(env="pusch", out=tmp_path)
    with pytest.raises(ConfigError, match="there is no policy 'randm' here; did you mean 'random'"):
        nexus.plan(env="push", out=tmp_path, policies=["randm"])
    with pytest.raises(ConfigError, match="name them \\(--data\\)"):
        nexus.plan(env="push", out=tmp_path, policies=["cloning"])
    with pytest.raises(DataError, match="no such file or folder"):
        nexus.plan(env="push", out=tmp_path, data=tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        nexus.plan(tmp_path, env="push", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_world_model_plans_from_what_it_was_trained_on(tmp_path, capsys):
    folder, made, plans = tmp_path / "push", tmp_path / "run", tmp_path / "plans"
    words = ["world", "collect", "push", "--out", str(folder), "--episodes", "11", "--steps", "8"]
    assert run(words) == 0
    small = "{kind: adaln, width: 24, depth: 1, heads: 2, window: 1}"
    words = ["world", "train", str(folder), "--out", str(made), "--steps", "2", "--no-report"]
    words += ["--set", "training.batch_size=4", "--set", f"model.predictor={small}"]
    assert run(words) == 0
    capsys.readouterr()
    words = ["plan", str(made), "--env", "push", "--out", str(plans), "--episodes", "1"]
    words += ["--steps", "2", "--validation", "1", "--no-shifts"]
    assert run([*words, "--policies", "picture,proprioception,both,untrained"]) == 0
    printed = capsys.readouterr()
    assert "acting: validation, things 1" in printed.err
    table = ControlTable.read(plans / "planning.json")
    roles = ["picture", "proprioception", "both", "untrained"]
    assert [row.role for row in table.rows] == roles
    tried = ControlTable.read(plans / "weights.json")
    assert len(tried.rows) == 5 + 2
    picture, alone, both, untrained = (row.settings["cost"] for row in table.rows)
    assert picture["proprioception"] == 0 and untrained == picture
    assert alone["picture"] == alone["things"] == 0 and alone["proprioception"] == 1
    assert {**both, "proprioception": 0} == {**picture, "proprioception": 0}


def test_seeds_of_several_recordings_are_theirs_and_none_between(tmp_path):
    for seed in (0, 7):
        told = Collection(environment="push", policy="play", seed=seed, episodes=3)
        (tmp_path / str(seed) / "meta").mkdir(parents=True)
        told.write(tmp_path / str(seed))
    folders = [tmp_path / "0", tmp_path / "elsewhere", str(tmp_path / "7")]
    first = 10**9
    assert _seeds_of(folders) == [
        range(first, first + 3),
        range(first + 7 * 10**6, first + 7000003),
    ]
    (tmp_path / "7/meta/nexus_collection.json").write_text('{"reset')
    with pytest.raises(DataError, match="cannot be read"):
        _seeds_of(folders)


def test_a_model_that_does_not_fit_the_world_is_refused(tmp_path):
    model = world(robots=(robot(3, 2),))
    card = ModelCard("world", model.config.to_mapping(), 0, {})
    save_checkpoint(tmp_path / "world", model, card, {}, keep=1)
    with pytest.raises(ConfigError, match="actions of 3 numbers, the environment takes 2"):
        check_fits(tmp_path / "world", TableEnv("push"))
    sizes = {"encoder_dim": 24, "num_heads": 2, "num_spatial_layers": 1, "num_temporal_layers": 0}
    other = VJEPAModel({"img_size": 16, "num_frames": 4, "patch_size": 8, **sizes})
    card = ModelCard("vjepa", other.config.to_mapping(), 0, {})
    save_checkpoint(tmp_path / "video", other, card, {}, keep=1)
    with pytest.raises(RunError, match="a model of kind 'vjepa', which knows no actions"):
        check_fits(tmp_path / "video", TableEnv("push"))
