"""Evaluation: who is counted how, which starts are dropped, which seeds are refused."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import norm

from nexus.control.evaluation import PolicyResult, evaluate
from nexus.control.films import BAR, MISSED, REACHED, montage
from nexus.control.results import policy_row, wilson
from nexus.control.seeds import BETWEEN, check_unseen, evaluation_seeds
from nexus.control.simple import ZeroAction
from nexus.envs import Goal, TableEnv
from nexus.errors import DataError, SimulatorError
from nexus.planning import ActionSpace
from nexus.runs.control import ControlEpisode

SPACE = ActionSpace.within([-1.0, -1.0], [1.0, 1.0])
REACH = partial(TableEnv, "reach")


class Told:
    """Does what it was told, step by step, in every environment."""

    name = "told"

    def __init__(self, *actions):
        self.actions = actions

    def begin(self, observations, goals, seeds):
        self.step, self.seeds = 0, seeds
        assert all(seen["pixels"].shape == (64, 64, 3) for seen in observations)

    def act(self, observations, states):
        assert len(observations) == len(states) == len(self.seeds)
        self.step += 1
        return np.tile(np.float32(self.actions[self.step - 1]), (len(states), 1))


def goal_at(seed, right):
    """A goal so far to the right of the start of a seed."""
    env = TableEnv("reach")
    state = env.reset(seed=seed)[1]["state"] + [right, 0]
    return Goal(state, env.set_state(state)["pixels"], state.astype(np.float32))


def seeds_with_room(count):
    """Of those whose start lies far from the right edge."""
    starts = {seed: TableEnv("reach").reset(seed=seed)[1]["state"] for seed in range(60)}
    return [seed for seed, start in starts.items() if start[0] < 0.5][:count]


def test_success_at_the_end_and_ever_and_the_steps_to_it():
    seeds = seeds_with_room(4)
    # The agent goes .32 to the right in two steps, and half of it back in the third.
    policy = Told([1, 0], [1, 0], [-1, 0])
    goals = [*map(goal_at, seeds, (0.32, 0.16, 0.0, 0.24))]
    told = evaluate(policy, REACH, seeds, steps=3, goals=goals, timed_steps=0)
    assert told.dropped == (seeds[2],), "its start is its goal"
    first, second, fourth = told.episodes
    assert [one.seed for one in told.episodes] == [seeds[0], seeds[1], seeds[3]]
    assert (first.success_at_end, first.steps_to_success) == (False, 2)
    assert (second.success_at_end, second.steps_to_success) == (True, 1)
    assert (fourth.success_at_end, fourth.steps_to_success) == (False, None)
    distances = [one.final_distance for one in told.episodes]
    assert distances == pytest.approx([0.16, 0.0, 0.08], abs=1e-6)
    row = policy_row(told, role="other")
    assert (row.count, row.dropped, row.successes_at_end, row.successes_ever) == (3, 1, 1, 2)
    assert row.steps_to_success == 1.5 and row.final_distance == pytest.approx(0.08, abs=1e-6)
    assert row.interval_at_end == wilson(1, 3) and row.interval_ever == wilson(2, 3)


def test_an_environment_that_ends_is_stepped_no_further():
    seed = seeds_with_room(1)
    make = partial(TableEnv, "reach", max_steps=2)
    policy = Told([1, 0], [1, 0], [1, 0])
    told = evaluate(policy, make, seed, steps=3, goals=[goal_at(*seed, 0.32)], timed_steps=0)
    assert told.episodes[0].steps == 2 and told.episodes[0].success_at_end
    assert policy.step == 2 and len(told.films[0].frames) == 3


def test_where_every_start_is_its_goal_there_is_nothing_to_do():
    with pytest.raises(SimulatorError, match="each satisfies its goal already"):
        evaluate(ZeroAction(SPACE), REACH, [1], steps=2, goals=[goal_at(1, 0)])


def test_actions_out_of_bounds_or_of_another_shape_are_refused():
    for actions, words in (([1.5, 0], "leaves the bounds.*dimension 0 is 1.5"), ([1], "shape")):
        with pytest.raises(SimulatorError, match=words):
            evaluate(Told(actions), REACH, [1], steps=1)
    with pytest.raises(SimulatorError, match="leaves the bounds"):
        evaluate(Told([np.nan, 0]), REACH, [1], steps=1)


def test_times_are_of_an_action_alone_and_of_its_share_side_by_side():
    result = PolicyResult(
        policy="slow",
        episodes=tuple(ControlEpisode(seed=i, steps=3, success_at_end=False) for i in range(4)),
        dropped=(),
        films=(),
        seconds=(0.4, 0.8, 1.2),
        seconds_alone=tuple(np.linspace(0.1, 0.2, 101)),
    )
    row = policy_row(result)
    assert (row.ms, row.ms_95) == pytest.approx((150, 195))
    assert row.ms_side_by_side == pytest.approx(200)
    assert row.steps_to_success is None and row.final_distance is None


def test_episodes_are_timed_one_at_a_time():
    told = evaluate(ZeroAction(SPACE), REACH, range(3), steps=5, timed_steps=3)
    assert len(told.seconds) == 5 and len(told.seconds_alone) == 2 * 3
    assert all(took > 0 for took in told.seconds_alone)


def test_the_interval_is_wilsons():
    """Against the formula, and numbers of Newcombe (1998), table I."""
    z = norm.ppf(0.975)
    for successes, count in ((0, 20), (81, 263), (95, 100), (100, 100)):
        share = successes / count
        middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
        half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
        assert wilson(successes, count) == pytest.approx((middle - half, middle + half), abs=1e-9)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_evaluations_share_no_seed_and_seen_ones_are_refused():
    first, second = evaluation_seeds(0, 100), evaluation_seeds(1, 100)
    assert len({*first, *second}) == 200
    check_unseen(first, [range(100_000), second])
    with pytest.raises(DataError, match="3 seeds of the evaluation were seen in training"):
        check_unseen(first, [first[5:7], range(9), first[99:]])
    with pytest.raises(DataError, match="other|another"):
        check_unseen(range(10), [range(5, 8)])
    check_unseen(first[5:8], [first[:5], first[8:]])  # what lies between two recordings is free
    assert max(evaluation_seeds(499, BETWEEN)) < 10**9, "where those of collections begin"
    for number, count in ((-1, 5), (500, 5), (0, 0), (0, BETWEEN + 1)):
        with pytest.raises(DataError, match="an evaluation has a number"):
            evaluation_seeds(number, count)


def test_a_film_shows_each_episode_beside_its_goal_and_how_it_ended():
    seeds = seeds_with_room(7)
    goals = [goal_at(seed, 0.16 if seed == seeds[0] else 0.4) for seed in seeds]
    told = evaluate(Told([1, 0], [0, 0]), REACH, seeds, steps=2, goals=goals, timed_steps=0)
    film = montage(told.films)
    assert len(film) == 3
    for number in (0, 6):
        top, left = (number // 5) * (64 + BAR + 6), (number % 5) * (129 + 6)
        cell = film[:, top : top + 64 + BAR, left : left + 129]
        assert np.array_equal(cell[:, :64, :64], told.films[number].frames)
        assert all(np.array_equal(part, goals[number].pixels) for part in cell[:, :64, 65:])
        assert np.all(cell[:, 64:] == (REACHED if number == 0 else MISSED))
