"""Behaviour cloning: what it is given to imitate, and that it learns to arrive."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_reach import write_reach

from nexus.control.cloning import CloningConfig, CloningPolicy, clone
from nexus.control.cloning_data import Recorded, record, shrunk
from nexus.control.evaluation import evaluate
from nexus.control.seeds import evaluation_seeds
from nexus.data.episodes.opening import open_episodes
from nexus.envs import TableEnv
from nexus.errors import DataError
from nexus.planning import ActionSpace

SPACE = ActionSpace.within([-1.0, -1.0], [1.0, 1.0])
TINY = CloningConfig.from_mapping(
    {"steps": 4, "check_every": 2, "batch": 8, "places": 4, "width": 16}
)


def numbered(lengths):
    """Episodes whose pictures and actions say which step of which episode they are."""
    steps = np.concatenate([np.arange(length) for length in lengths])
    episode = np.repeat(np.arange(len(lengths)), lengths)
    frames = np.zeros((len(steps), 2, 2, 3), np.uint8)
    frames[..., 0], frames[..., 1] = episode[:, None, None], steps[:, None, None]
    told = np.stack([episode, steps], axis=1).astype(np.float32)
    left = np.concatenate([np.arange(length)[::-1] for length in lengths])
    return Recorded(frames, told, told, left)


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    ahead=st.floats(1, 6),
    block=st.integers(1, 3),
)
def test_goals_are_later_pictures_of_the_same_episode(lengths, ahead, block):
    recorded = numbered(lengths)
    if max(lengths) <= block:
        with pytest.raises(DataError, match="nothing to imitate"):
            recorded.pairs(np.random.default_rng(0), 5, ahead=ahead, block=block)
        return
    pairs = recorded.pairs(np.random.default_rng(0), 200, ahead=ahead, block=block)
    now, goal = pairs.now[:, 0, 0].int(), pairs.goal[:, 0, 0].int()
    assert torch.equal(now[:, 0], goal[:, 0]), "the same episode"
    assert (goal[:, 1] > now[:, 1]).all()
    assert torch.equal(now[:, :2].float(), pairs.own_now)
    assert torch.equal(goal[:, :2].float(), pairs.own_goal)
    assert torch.equal(pairs.block[:, 0], pairs.own_now), "the actions from now on"
    for step in range(block):
        assert torch.equal(pairs.block[:, step, 1], pairs.own_now[:, 1] + step)
        assert torch.equal(pairs.block[:, step, 0], pairs.own_now[:, 0])
    if ahead == 1:
        assert torch.equal(goal[:, 1], now[:, 1] + 1)


def test_near_goals_are_the_most_and_far_ones_occur():
    pairs = numbered([1000]).pairs(np.random.default_rng(0), 20_000, ahead=4.0, block=1)
    away = (pairs.own_goal - pairs.own_now)[:, 1]
    assert float(away.mean()) == pytest.approx(4, abs=0.2)
    assert float((away == 1).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_what_is_read_is_what_was_recorded(reach_episodes):
    read = record(reach_episodes, [3, 1], camera="top", size=64, proprioception=True)
    assert np.array_equal(read.frames[12:], reach_episodes.frames(1, "top", range(12)))
    assert np.array_equal(read.own[:12], reach_episodes.states(3))
    assert np.array_equal(read.actions[12:], reach_episodes.actions(1))
    assert read.left.tolist() == [*range(11, -1, -1)] * 2
    blind = record(reach_episodes, [3], camera="top", size=16, proprioception=False)
    assert blind.own.shape == (12, 0)
    means = reach_episodes.frames(3, "top", [5])[0].reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(blind.frames[5] - means).max() <= 0.5
    assert shrunk(read.frames, 64) is read.frames


def test_the_same_seed_gives_the_same_network(reach_episodes):
    before = torch.random.get_rng_state()
    one, again, other = (
        clone(reach_episodes, SPACE, TINY.with_changes(seed=seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(torch.random.get_rng_state(), before), "others' random numbers stay theirs"
    for key, value in one.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[key])
    assert one.error == again.error != other.error


def test_what_was_best_on_the_held_out_episodes_is_kept(reach_episodes):
    """A learning rate that destroys the network ends training; the first steps are kept."""
    wild = TINY.with_changes(lr=10.0, steps=60, patience=3)
    told = clone(reach_episodes, SPACE, wild)
    assert told.steps < 60 - 3 * 2


def test_one_episode_is_too_few(tmp_path):
    with pytest.raises(DataError, match="too few to hold some out"):
        clone(open_episodes(write_reach(tmp_path / "one", 1)), SPACE, TINY)


def success(config, folder, count):
    policy = CloningPolicy(clone(open_episodes(folder), SPACE, config))
    make = partial(TableEnv, "reach")
    told = evaluate(policy, make, evaluation_seeds(0, count), steps=30, timed_steps=0)
    return sum(one.success_at_end for one in told.episodes) / count


def test_a_little_training_goes_in_the_right_direction(reach_episodes):
    quick = {"size": 32, "batch": 32, "steps": 120, "check_every": 40, "lr": 3e-3}
    told = clone(reach_episodes, SPACE, CloningConfig.from_mapping(quick | {"ahead": 1.0}))
    assert told.error < 0.8, "1 is what the mean action has"


@pytest.mark.slow
def test_cloning_reaches_nearly_all_goals_of_reach(tmp_path):
    assert success(CloningConfig(), write_reach(tmp_path / "reach", 300, 20), 100) >= 0.95
