"""`nexus plan`: table, page and folder; what is asked for wrongly is said before anything acts."""

import json

import pytest

import nexus
from nexus.cli.main import run
from nexus.control.cloning import CloningConfig
from nexus.control.seeds import evaluation_seeds
from nexus.errors import ConfigError, DataError, RunError
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
    with pytest.raises(RunError, match="is not the run of a world model"):
        nexus.plan(tmp_path, env="push", out=tmp_path)
    assert not list(tmp_path.iterdir())
