"""Policies: the oracle reaches goals, and what one does is the same alone and among others."""

from functools import partial

import numpy as np
import pytest

from nexus.control.cloning import CloningConfig, CloningPolicy, clone
from nexus.control.evaluation import evaluate
from nexus.control.oracle import Oracle, step_seed, true_world
from nexus.control.playing import begin_episode, play
from nexus.control.seeds import evaluation_seeds
from nexus.control.simple import RandomActions, ZeroAction
from nexus.control.stepping import SteppedWorld
from nexus.envs import TableEnv
from nexus.errors import DataError, SimulatorError
from nexus.planning import ICEM, ActionSpace

SPACE = ActionSpace.within([-1.0, -1.0], [1.0, 1.0])
QUICK = ICEM.from_mapping({"candidates": 24, "iterations": 2, "elites": 6})
TINY = CloningConfig.from_mapping(
    {"steps": 6, "check_every": 3, "batch": 8, "places": 4, "width": 16}
)


class Plain:
    """The table, without what lets a planner try many actions at once."""

    def __init__(self, task, *, tells_distance=True):
        env = TableEnv(task)
        for name in ("reset", "step", "get_state", "set_state", "goal", "solved", "action_space"):
            setattr(self, name, getattr(env, name))
        if tells_distance:
            self.distance = env.distance


def reached(task, count, steps=15, **settings):
    env = TableEnv(task)
    oracle = Oracle(true_world(env), SPACE, **settings)
    make = partial(TableEnv, task)
    told = evaluate(oracle, make, evaluation_seeds(0, count), steps=steps, timed_steps=0)
    return sum(one.success_at_end for one in told.episodes)


def test_the_oracle_reaches_most_goals_of_push_and_a_short_sight_does_not():
    assert reached("push", 4) >= 3
    assert reached("push", 4, horizon=1) <= 2, "it takes a look ahead to go round the block"


@pytest.mark.slow
@pytest.mark.parametrize(("task", "least"), [("reach", 100), ("push", 95)])
def test_the_oracle_at_full_size(task, least):
    assert reached(task, 100, steps=25) >= least


def test_a_pull_to_the_agents_own_place_makes_push_harder():
    """Why the agent weighs so little: the goal picture says where it is, too."""
    assert reached("push", 4, own_weight=10.0) <= 2


def rolled(world):
    rng = np.random.default_rng(0)
    env = TableEnv("push")
    states = np.stack([env.reset(seed=seed)[1]["state"] for seed in (3, 4)])
    actions = rng.uniform(-1, 1, (2, 5, 6, 2))
    after = world.rollout(states, actions)
    return after, world.distances(after[1], env.goal(4))


def test_trying_out_step_by_step_is_trying_out_at_once():
    """`SteppedWorld` is the oracle of the vectorised physics, and the other way round."""
    after, (moved, own) = rolled(TableEnv("push"))
    slow, (slow_moved, slow_own) = rolled(SteppedWorld(Plain("push")))
    assert after.shape == (2, 5, 6, 4)
    assert np.array_equal(after, slow) and np.array_equal(moved, slow_moved)
    assert own == pytest.approx(slow_own, abs=1e-6), "proprioception is in single precision"
    goal = TableEnv("push").goal(4).state
    assert moved == pytest.approx(np.hypot(*np.moveaxis(after[1] - goal, -1, 0)[2:]))
    assert own == pytest.approx(np.hypot(*np.moveaxis(after[1] - goal, -1, 0)[:2]))


def test_trying_out_leaves_the_environment_where_it_is():
    env = TableEnv("push")
    env.reset(seed=3)
    before = env.get_state()
    true_world(env).rollout(before[None], np.ones((1, 2, 3, 2)))
    assert np.array_equal(env.get_state(), before)


def test_any_environment_with_a_distance_has_an_oracle():
    assert isinstance(true_world(Plain("reach")), SteppedWorld)
    with pytest.raises(SimulatorError, match="Plain does not say how far"):
        true_world(Plain("reach", tells_distance=False))


def policy_of(name, episodes):
    if name == "zero":
        return ZeroAction(SPACE)
    if name == "random":
        return RandomActions(SPACE)
    if name == "oracle":
        return Oracle(TableEnv("reach"), SPACE, planner=QUICK, horizon=4)
    return CloningPolicy(clone(episodes, SPACE, TINY.with_changes(block=2)))


def ways(policy, seeds, steps=5):
    episodes = [begin_episode(partial(TableEnv, "reach"), seed) for seed in seeds]
    play(policy, episodes, steps=steps)
    return np.stack([np.stack(one.states) for one in episodes])


@pytest.mark.parametrize("name", ["zero", "random", "oracle", "cloning"])
def test_an_environment_alone_and_among_sixteen_gets_the_same_actions(name, reach_episodes):
    policy = policy_of(name, reach_episodes)
    seeds = evaluation_seeds(1, 16)
    together = ways(policy, seeds)
    for place in (0, 9):
        assert np.array_equal(ways(policy, seeds[place : place + 1])[0], together[place])
    assert np.array_equal(ways(policy, seeds), together), "a second time, too"
    moved = np.abs(np.diff(together, axis=1)).max()
    assert (moved == 0) == (name == "zero")


def test_random_actions_fill_their_bounds_and_differ_between_environments():
    space = ActionSpace.within([-2.0, 0.0], [-1.0, 0.5])
    policy = RandomActions(space)
    policy.begin([], [], range(200))
    drawn = np.stack([policy.act([], []) for _ in range(10)])
    assert drawn.min(axis=(0, 1)) == pytest.approx([-2, 0], abs=0.01)
    assert drawn.max(axis=(0, 1)) == pytest.approx([-1, 0.5], abs=0.01)
    assert len(np.unique(drawn)) > 3990


def test_zero_is_brought_into_the_bounds():
    policy = ZeroAction(ActionSpace.within([0.5, -1.0], [1.0, 1.0]))
    policy.begin([], [], [0, 1])
    assert policy.act([], []).tolist() == [[0.5, 0], [0.5, 0]]


def test_no_two_steps_of_a_planner_draw_the_same():
    seeds = {step_seed(seed, step) for seed in range(50) for step in range(50)}
    assert len(seeds) == 2500 and max(seeds) < 2**63


def test_cloning_needs_actions_of_the_environment(reach_episodes):
    with pytest.raises(DataError, match="2 dimensions, those of the environment 3"):
        clone(reach_episodes, ActionSpace.within([0, 0, 0], [1, 1, 1]), TINY)
