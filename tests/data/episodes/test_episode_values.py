"""Schemas that check themselves, statistics against slow code, blocks against a slow loop."""

import json
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_episodes import ACTION, FPS, LENGTHS, in_memory, write_made

from nexus.data.episodes.blocks import Blocks, blocked
from nexus.data.episodes.opening import open_episodes
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.statistics import EpisodeStatistics, Statistics
from nexus.errors import ConfigError, DataError


def test_a_schema_is_json_both_ways_and_knows_its_bounds():
    again = Schema.from_mapping(json.loads(json.dumps(ACTION.to_mapping())))
    assert again == ACTION and again.width == 2 and again.names == ("x", "grip")
    assert again.low.tolist() == [-1, 0] and again.high.tolist() == [1, 1]
    assert again.grippers == (1,)
    plain = Schema.plain(["a"], 5)
    assert plain.low.tolist() == [-np.inf] and plain.high.tolist() == [np.inf]


@pytest.mark.parametrize(
    ("dimensions", "text"),
    [
        ([], "dimensions"),
        ([{"name": "a"}, {"name": "a"}], "dimensions of one name: a"),
        ([{"name": "a", "low": 1, "high": 1}], "bounds from 1 to 1; expected low < high"),
        ([{"name": "g", "gripper": "binary"}], "binary gripper; say its two values"),
        ([{"name": "a", "units": "m"}], "did you mean 'dimensions.0.unit'|unknown key"),
        ([{"name": "a", "low": float("nan")}], "low"),
    ],
)
def test_a_schema_that_contradicts_itself(dimensions, text):
    with pytest.raises(ConfigError, match=text):
        Schema.from_mapping({"dimensions": dimensions, "rate": 10})
    with pytest.raises(ConfigError, match="rate"):
        Schema.plain(["a"], 0)


def test_values_are_held_against_a_schema():
    assert ACTION.faults(np.zeros((3, 2))) == []
    assert ACTION.faults(np.array([[0, 1], [0, np.inf]])) == [
        "dimension 'grip' is inf at step 1 (1 of 2 values are not finite)"
    ]
    edge = np.array([[1 + 5e-7, 1]])  # float32 rounds
    assert ACTION.out_of_bounds(edge) == []
    assert ACTION.out_of_bounds(np.array([[-1.2, 0.5]])) == [
        "dimension 'x' is -1.2 at step 0, below its lower bound -1"
    ]


def slow_quantile(values, share):
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(sum),
    dims=st.integers(1, 3),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    offset=st.sampled_from([0.0, -50.0, 1e5]),
    seed=st.integers(0, 99),
)
def test_statistics_are_those_of_everything_at_once(lengths, dims, scale, offset, seed):
    rng = np.random.default_rng(seed)
    parts = [(rng.normal(size=(n, dims)) * scale + offset).astype(np.float32) for n in lengths]
    told = in_memory(parts).statistics().action
    assert Statistics.from_mapping(json.loads(json.dumps(told.to_mapping()))) == told
    assert told.count == sum(lengths)
    for dim in range(dims):
        column = [float(value) for part in parts for value in part[:, dim]]
        size = max(abs(value) for value in column)
        near = {"rel_tol": 1e-9, "abs_tol": 1e-9 * size}
        assert math.isclose(told.mean[dim], statistics.fmean(column), **near)
        assert math.isclose(told.std[dim], statistics.pstdev(column), **near)
        assert (told.min[dim], told.max[dim]) == (min(column), max(column))
        for name, share in (("q01", 0.01), ("q10", 0.1), ("q50", 0.5), ("q90", 0.9), ("q99", 0.99)):
            assert math.isclose(getattr(told, name)[dim], slow_quantile(column, share), **near)


def test_statistics_are_of_the_training_episodes():
    parts = [np.full((4, 1), value, np.float32) for value in (1, 2, 30)]
    episodes = in_memory(parts, ["train", "train", "test"])
    assert episodes.of_split("train") == (0, 1) and episodes.of_split("test") == (2,)
    assert episodes.statistics().action.mean == (1.5,)
    assert episodes.statistics([2]).action.constant() == ("d0",)
    with pytest.raises(DataError, match="at least one step"):
        episodes.statistics([])
    parts[1][2] = np.nan
    with pytest.raises(DataError, match="memory: episode 1: action dimension 'd0' is nan at step"):
        episodes.statistics()


def test_another_unit_is_told_in_words():
    rng = np.random.default_rng(0)
    metres = rng.normal(0.5, 0.2, (50, 2)).astype(np.float32)
    told = Statistics.of(("x", "y"), [metres])
    assert told.faults(metres) == []
    assert told.faults(rng.normal(0.5, 0.2, (5, 2)) * [1, 30]) == []
    [text] = told.faults(metres * np.array([1, 1000]))
    assert text.startswith("dimension 'y' lies ") and "times the spread of the statistics" in text
    assert text.endswith("another unit?")
    [text] = told.faults(metres + np.array([40, 0]))  # an offset alone
    assert text.startswith("dimension 'x' lies ")
    [text] = told.faults(metres[:, :1])
    assert text == "has 1 dimensions; the statistics have 2"
    still = Statistics.of(("x",), [np.full((9, 1), 0.1)])
    assert still.faults(np.full((2, 1), 7.0)) == []  # nothing to divide by


def test_statistics_that_do_not_fit_are_refused():
    told = Statistics.of(("x",), [np.ones((2, 1))]).to_mapping()
    with pytest.raises(ConfigError, match="`mean` has 2 numbers for 1 dimensions"):
        Statistics.from_mapping(told | {"mean": [1.0, 2.0]})
    both = EpisodeStatistics(action=Statistics.from_mapping(told))
    assert EpisodeStatistics.from_mapping(json.loads(json.dumps(both.to_mapping()))) == both


@given(steps=st.integers(0, 23), size=st.integers(1, 7), dims=st.integers(1, 3))
def test_blocks_are_those_of_a_slow_loop(steps, size, dims):
    actions = np.arange(steps * dims, dtype=np.float32).reshape(steps, dims)
    told = blocked(in_memory([actions]), 0, Blocks(size=size))
    rows, numbers, step = [], [], 0
    while step + size <= steps:
        numbers.append(step)
        row = []
        for k in range(size):
            row += actions[step + k].tolist()
        rows.append(row)
        step += size
    assert len(told) == len(rows) and told.numbers.tolist() == numbers
    assert told.actions.shape == (len(rows), size * dims) and told.actions.tolist() == rows
    assert told.times.tolist() == [number / FPS for number in numbers]
    assert told.left_out == steps - step and told.states is None
    assert told.end == (step if rows and step < steps else None)


def test_blocks_of_a_recording(tmp_path):
    episodes = open_episodes(write_made(tmp_path, LENGTHS[:2]))
    told = blocked(episodes, 1, Blocks(size=3))
    assert np.array_equal(told.states, episodes.states(1)[[0, 3]])
    assert (told.left_out, told.end) == (1, 6)


def test_what_is_known_of_steps_is_known_of_blocks():
    blocks = Blocks(size=2)
    schema = blocks.schema(ACTION)
    assert schema.names == ("x+0", "grip+0", "x+1", "grip+1") and schema.rate == FPS / 2
    assert schema.low.tolist() == [-1, 0, -1, 0] and schema.grippers == (1, 3)
    steps = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    told = blocks.statistics(Statistics.of(ACTION.names, [steps]))
    assert told.names == schema.names and told.mean[:2] == told.mean[2:]
    assert blocks.joined(steps).shape[1] == len(told.mean)
    assert Blocks().schema(ACTION) == ACTION
    with pytest.raises(ConfigError, match="size"):
        Blocks.from_mapping({"size": 0})
