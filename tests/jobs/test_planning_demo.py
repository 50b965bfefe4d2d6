"""The models that come with nexus: small, told of by a card, and able to do what they are for."""

import re
from pathlib import Path

import pytest

import nexus
from nexus.errors import ConfigError
from nexus.jobs.planning_demo import SHIPPED, shipped_world


@pytest.mark.parametrize("env", SHIPPED)
def test_a_shipped_model_is_small_and_has_a_card(env):
    folder = shipped_world(env)
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "planning.yaml",
    ]  # fmt: skip
    card = (folder / "README.md").read_text()
    for part in ("trained on", "recipe, seed", "command", "planner, picture alone"):
        assert part in card
    texts = [card, (folder / "config.json").read_text(), (folder / "planning.yaml").read_text()]
    assert not any(re.search(r"[\"'` ]/\w+/", text) for text in texts), "a path of some machine"


def test_they_take_less_than_eight_megabytes():
    every = Path(shipped_world(SHIPPED[0])).parent.rglob("*")
    assert sum(file.stat().st_size for file in every) < 8e6


def test_they_reach_goals_from_pictures(tmp_path):
    tables = nexus.plan_demo(tmp_path / "demo", episodes=3, steps=16)
    assert set(tables) == set(SHIPPED)
    reached = 0
    for env, table in tables.items():
        random, picture = table.rows
        assert (random.role, picture.role) == ("random", "picture")
        assert random.successes_ever <= 1
        reached += picture.successes_ever
        assert (tmp_path / "demo" / env / "planning.html").exists()
    assert reached >= 4  # of six


def test_an_environment_without_a_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no model of 'pusht'"):
        nexus.plan_demo(tmp_path, env="pusht")
