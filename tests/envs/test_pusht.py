"""gym-pusht through the adapter: `make test-envs`."""

import numpy as np
import pytest

from nexus.envs import Goal
from nexus.envs.registry import make_environment

pytestmark = pytest.mark.envs


@pytest.fixture(scope="module")
def env():
    pytest.importorskip("gym_pusht")
    return make_environment({"kind": "pusht", "size": 128})


def test_a_state_comes_back_exactly(env):
    """Also in the middle of a push: steps, states and pictures, to the bit."""
    rng = np.random.default_rng(0)
    for seed in range(5):
        seen, _ = env.reset(seed=seed)
        play = env.policies()["play"]()
        play.begin([seen], [], [seed])
        for _ in range(10):
            [action] = play.act([seen], [env.get_state()])
            seen = env.step(action)[0]
        kept = env.get_state()
        actions = kept[2:4] + rng.uniform(-60, 60, (6, 2))  # into the block
        first = [(env.step(action)[0], env.get_state()) for action in actions]
        assert np.abs(first[-1][1][2:5] - kept[2:5]).max() > 1
        env.set_state(kept)
        for action, (shown, state) in zip(actions, first, strict=True):
            again = env.step(action)[0]
            assert np.array_equal(env.get_state(), state)
            assert all(np.array_equal(again[key], shown[key]) for key in shown)
            assert np.array_equal(env.set_state(state)["pixels"], shown["pixels"])


def test_the_picture_shows_the_state_and_no_goal(env):
    for seed in range(5):
        goal = env.goal(seed)
        shown = env.set_state(goal.state)["pixels"]
        assert np.array_equal(shown, goal.pixels)
        colours = shown.astype(int)
        agent = (colours[..., 2] - colours[..., 0] > 90) & (colours[..., 2] > 180)
        rows, columns = np.nonzero(agent)
        assert np.abs([columns.mean() * 4 + 2, rows.mean() * 4 + 2] - goal.state[:2]).max() < 8
        green = (colours[..., 1] - colours[..., 0] > 40) & (colours[..., 1] > 200)
        assert not green.any()
        assert np.allclose(goal.proprioception, goal.state[:2])


def test_a_step_is_gym_pushts_own(env):
    """Without contact nothing differs from it: the agent follows the same curve."""
    import gymnasium

    raw = gymnasium.make("gym_pusht/PushT-v0", disable_env_checker=True).unwrapped
    raw.reset(options={"reset_to_state": [100, 100, 300, 300, 0.5]})
    state = np.zeros(10)
    state[:5] = [*raw.agent.position, *raw.block.position, raw.block.angle]
    env.reset(seed=0)
    env.set_state(state)
    for action in ([140, 120], [180, 90], [60, 60]):
        raw.step(np.array(action, np.float64))
        env.step(np.array(action))
        assert np.allclose(env.get_state()[:2], raw.agent.position, atol=1e-9)
        assert np.allclose(env.get_state()[5:7], raw.agent.velocity, atol=1e-9)


def test_goals_and_when_they_are_reached(env):
    strict = make_environment({"kind": "pusht", "rule": "coverage"})
    for seed in range(8):
        goal = env.goal(seed)
        assert np.array_equal(goal.state, env.goal(seed).state)
        assert env.solved(goal.state, goal) and strict.solved(goal.state, goal)
        for place, change, posed in (
            (2, 19, True),
            (2, 21, False),
            (4, 0.34, True),
            (4, 0.36, False),
        ):
            state = goal.state.copy()
            state[place] += change
            assert env.solved(state, goal) == posed
            assert not strict.solved(state, goal)
        turned = goal.state.copy()
        turned[4] += 2 * np.pi
        assert env.solved(turned, goal)
        near = goal.state + np.array([50, 50, 1, 1, 0.01, 9, 9, 9, 9, 9])
        assert env.solved(near, goal) and strict.solved(near, goal)
    assert isinstance(goal, Goal)
    assert len({tuple(env.goal(seed).state) for seed in range(8)}) == 8


def test_play_is_collected(env, tmp_path):
    from nexus.data.episodes.opening import open_episodes
    from nexus.jobs.collecting import collect_episodes

    made = collect_episodes({"kind": "pusht", "size": 64}, tmp_path / "t", episodes=6, steps=30)
    assert made.episodes == 6 and made.steps == 180
    episodes = open_episodes(tmp_path / "t")
    assert episodes.action.names == ("agent_to_x", "agent_to_y")
    assert episodes.environment.names[:5] == (
        "agent_x", "agent_y", "block_x", "block_y", "block_angle",
    )  # fmt: skip
    states = [episodes.environment_states(index) for index in episodes.indices]
    moves = np.concatenate([np.abs(np.diff(one[:, 2:5], axis=0)).max(axis=1) for one in states])
    assert np.mean(moves > 1e-3) > 0.3
