"""Which weights of a cost are taken, and on how many goals that is found out."""

from functools import partial

import numpy as np
import pytest

from nexus.control.choosing import choose, halving
from nexus.control.goal_cost import CostConfig
from nexus.envs import TableEnv
from nexus.runs.control import ControlTable


class Straight:
    """Goes straight to where the agent is in the goal, as far a step as its cost weighs pictures:
    with 0.01 hardly, with 1 in a few steps."""

    def __init__(self, cost):
        self.name, self.speed = "straight", cost.picture

    def begin(self, observations, goals, seeds):
        self.goals = np.stack([goal.proprioception for goal in goals])

    def act(self, observations, states=()):
        here = np.stack([one["proprioception"] for one in observations])
        return np.clip(10 * (self.goals - here), -1, 1) * self.speed


def chosen(weights, tmp_path, goals, started=None):
    return choose(
        Straight,
        [CostConfig(picture=weight) for weight in weights],
        partial(TableEnv, "reach"),
        range(900, 900 + goals),
        steps=12,
        record=tmp_path / "weights.json",
        environment="reach",
        started=started,
    )


@pytest.mark.parametrize(
    ("goals", "candidates", "rounds"),
    [
        (1, 5, [(1, 1)]),
        (15, 5, [(15, 1)]),
        (16, 5, [(8, 3), (16, 1)]),
        (32, 5, [(8, 3), (16, 2), (32, 1)]),
        (40, 5, [(8, 3), (16, 2), (40, 1)]),
        (32, 2, [(8, 2), (16, 2), (32, 1)]),
    ],
)
def test_the_better_half_gets_twice_the_goals(goals, candidates, rounds):
    assert list(halving(goals, candidates)) == rounds


def test_the_best_is_taken_and_the_worse_get_few_goals(tmp_path):
    said = []
    best = chosen([0.01, 0.1, 1.0, 0.03, 0.02], tmp_path, 32, said.append)
    assert best.picture == 1.0
    table = ControlTable.read(tmp_path / "weights.json")
    tried = {row.settings["picture"]: row for row in table.rows}
    assert {weight: row.count + row.dropped for weight, row in tried.items()} == {
        0.01: 8, 0.02: 8, 0.03: 16, 0.1: 32, 1.0: 32,
    }  # fmt: skip
    assert tried[1.0].successes_at_end == tried[1.0].count > 0
    seeds = [one.seed for one in tried[1.0].episodes]
    assert len(set(seeds)) == tried[1.0].count
    assert said[:2] == ["validation, picture 0.01, 8 goals", "validation, picture 0.1, 8 goals"]
    assert said[-1] == "validation, picture 0.1, 16 goals"


def test_what_was_tried_is_not_tried_again_and_more_goals_go_on_after_it(tmp_path):
    chosen([0.1, 1.0], tmp_path, 8)
    before = ControlTable.read(tmp_path / "weights.json")
    said = []
    assert chosen([0.1, 1.0], tmp_path, 8, said.append).picture == 1.0
    assert not said
    chosen([0.1, 1.0], tmp_path, 16, said.append)
    assert len(said) == 2
    after = ControlTable.read(tmp_path / "weights.json")
    for old, new in zip(before.rows, after.rows, strict=True):
        assert new.episodes[: old.count] == old.episodes and new.count > old.count


def test_a_single_candidate_costs_nothing(tmp_path):
    assert chosen([0.3], tmp_path, 8).picture == 0.3
    assert not (tmp_path / "weights.json").exists()
