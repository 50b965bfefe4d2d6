"""Environments by name, with settings, and of somebody else."""

import sys

import pytest

from nexus.envs import TableEnv
from nexus.envs.registry import ENVIRONMENTS, environment_choice, make_environment
from nexus.errors import ConfigError, SimulatorError


@pytest.mark.parametrize("name", ["reach", "push", "reach-walls", "push-walls"])
def test_ours(name):
    env = make_environment(name)
    assert env.task.name == name.split("-")[0] and bool(env.table.walls) == name.endswith("walls")
    assert env.state_names == ("agent_x", "agent_y", "block_x", "block_y")[: len(env.get_state())]
    small = make_environment({"kind": name, "size": 32})
    assert small.reset(seed=0)[0]["pixels"].shape == (32, 32, 3)


def test_one_of_your_own_is_named_by_its_class():
    env = make_environment({"kind": "nexus.envs.table:TableEnv", "task": "reach"})
    assert isinstance(env, TableEnv) and env.task.name == "reach"


class Bare:
    """Gymnasium's interface alone."""

    action_space = None

    def reset(self):
        return None

    step = reset


def test_what_is_not_one_is_refused():
    with pytest.raises(
        ConfigError, match=f"lacks get_state, set_state, goal, solved .* {'gym:ID'}"
    ):
        make_environment(f"{__name__}:Bare")
    with pytest.raises(ConfigError, match="unknown environment 'psuh'; did you mean 'push'"):
        make_environment("psuh")
    with pytest.raises(ConfigError, match=r"'push' does not take these settings \(sise\)"):
        make_environment({"kind": "push", "sise": 3})
    with pytest.raises(ConfigError, match="'gym:CartPole-v1' does not take these settings: .*stat"):
        make_environment({"kind": "gym:CartPole-v1", "stat": 3})


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gym_pusht", None)
    with pytest.raises(SimulatorError, match=r"Push-T needs gym-pusht .*nexus-vjepa\[envs\]"):
        make_environment("pusht")
    with pytest.raises(SimulatorError, match="unknown rule 'half'; there are: pose, coverage"):
        make_environment({"kind": "pusht", "rule": "half"})


def test_as_it_is_typed():
    assert environment_choice("push") == "push"
    assert environment_choice("{kind: push, size: 96}") == {"kind": "push", "size": 96}
    with pytest.raises(ConfigError, match="environment: got {'size': 96}; expected a name"):
        environment_choice("{size: 96}")
    assert {"reach", "push", "reach-walls", "push-walls", "pusht"} == set(ENVIRONMENTS.names)


def test_a_table_without_room_says_so(monkeypatch):
    """10,000 draws in vain are an error, not a goal like any other."""
    env = TableEnv("push")
    monkeypatch.setattr("nexus.envs.table.FAR", (2.0, 3.0))
    with pytest.raises(SimulatorError, match="seed 3: none of 10,000 goals that were drawn is fre"):
        env.goal(3)
    crowded = TableEnv("push", agent_radius=0.49)
    with pytest.raises(SimulatorError, match="none of 10,000 states that were drawn is free"):
        crowded.reset(seed=0)
