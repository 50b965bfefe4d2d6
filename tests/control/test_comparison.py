"""Comparisons: the same starts for all, nothing computed twice, nothing taken for another."""

import json
from functools import partial

import pytest

from nexus.control.comparison import Comparison, Entrant
from nexus.control.oracle import Oracle
from nexus.control.simple import RandomActions, ZeroAction
from nexus.envs import TableEnv, shifted
from nexus.errors import DataError
from nexus.planning import ICEM, ActionSpace
from nexus.runs.control import ControlTable

SPACE = ActionSpace.within([-1.0, -1.0], [1.0, 1.0])
REACH = partial(TableEnv, "reach")
SHIFTED = partial(shifted, TableEnv("reach"), "background")
COMPARISON = Comparison("reach", {None: REACH, "background": SHIFTED}, range(5, 9), 3, 1)


def entrants(made):
    """Two policies that note when they are made."""

    def make(name, kind, world):
        made.append((name, world().look.stripes is not None))
        return kind(SPACE)

    zero = Entrant("nothing", "zero", partial(make, "nothing", ZeroAction), shifted=False)
    random = Entrant("chance", "random", partial(make, "chance", RandomActions), {"width": 1})
    return [zero, random]


def test_each_policy_acts_once_in_each_world_that_it_is_for(tmp_path):
    made, said = [], []
    table = COMPARISON.run(entrants(made), tmp_path, started=said.append)
    assert [row.name for row in table.rows] == [
        ("nothing", None), ("chance", None), ("chance", "background")
    ]  # fmt: skip
    assert made == [("nothing", False), ("chance", False), ("chance", True)]
    assert said == ["nothing", "chance", "chance, other background"]
    assert [[one.seed for one in row.episodes] for row in table.rows] == [[5, 6, 7, 8]] * 3
    assert all((tmp_path / row.film).read_bytes()[:4] == b"RIFF" for row in table.rows if row.film)
    table.save(tmp_path / "table.json")
    assert ControlTable.read(tmp_path / "table.json") == table


def test_what_is_finished_is_not_computed_again(tmp_path):
    first = COMPARISON.run(entrants([]), tmp_path)
    made = []
    assert COMPARISON.run(entrants(made), tmp_path) == first and made == []
    # A row that is lost, or half of one, is made again; the others are not.
    lost = tmp_path / first.rows[0].film
    lost.unlink()
    half = (tmp_path / first.rows[2].film).with_suffix(".json")
    half.write_text(half.read_text()[:100])
    again = COMPARISON.run(entrants(made), tmp_path)
    assert made == [("nothing", False), ("chance", True)]
    assert [row.episodes for row in again.rows] == [row.episodes for row in first.rows]


@pytest.mark.parametrize("change", ["settings", "seeds", "steps", "environment"])
def test_other_settings_are_another_result(tmp_path, change):
    COMPARISON.run(entrants([]), tmp_path)
    made, people = [], entrants([])
    worlds = {None: REACH}
    told = {"environment": "reach", "worlds": worlds, "seeds": range(5, 9), "steps": 3}
    if change == "settings":
        people[1] = Entrant("chance", "random", entrants(made)[1].make, {"width": 2})
    else:
        other = {"environment": "reach, too", "seeds": range(5, 8), "steps": 2}[change]
        told[change] = other
        people = entrants(made)
    Comparison(**told, timed_steps=1).run(people, tmp_path)
    assert made == (
        [("chance", False)] if change == "settings" else [("nothing", False), ("chance", False)]
    )


def test_an_interrupted_comparison_keeps_what_is_finished(tmp_path):
    made = []
    first, second = entrants(made)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        COMPARISON.run([first, Entrant("stopped", "other", stop)], tmp_path)
    COMPARISON.run([first, second], tmp_path)
    assert made.count(("nothing", False)) == 1


def test_seeds_of_training_are_refused_before_anything_acts(tmp_path):
    made = []
    first, _ = entrants(made)
    learned = Entrant("learned", "cloning", first.make, training_seeds=[range(8, 100)])
    with pytest.raises(DataError, match=r"1 seeds of the evaluation were seen in training \(8\)"):
        COMPARISON.run([first, learned], tmp_path)
    assert made == []


def test_a_row_says_what_the_policy_was_made_with(tmp_path):
    planner = ICEM.from_mapping({"candidates": 8, "iterations": 1, "elites": 4})
    oracle = Entrant(
        "oracle",
        "oracle",
        lambda make: Oracle(make(), SPACE, planner=planner, horizon=2),
        {"planner": planner.to_mapping()},
    )
    [row] = Comparison("reach", {None: REACH}, range(2), 2, 1).run([oracle], tmp_path).rows
    assert row.settings["planner"]["candidates"] == 8 and row.settings["seeds"] == [0, 2]
    assert json.loads(json.dumps(row.model_dump()))["role"] == "oracle"
