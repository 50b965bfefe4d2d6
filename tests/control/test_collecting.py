"""Collected episodes: what is recorded is what happened, again and again, whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import time

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import nexus
from nexus.control.collection import Collection, training_seeds
from nexus.data.episodes.checking import check_episodes
from nexus.data.episodes.opening import open_episodes
from nexus.envs import TableEnv
from nexus.envs.adapter import AdaptedEnv
from nexus.envs.registry import make_environment
from nexus.errors import ConfigError, DataError, SimulatorError

SMALL = {"kind": "push", "size": 32}


def contents(folder):
    """Every number and picture of a folder."""
    episodes = open_episodes(folder)
    return [
        (
            episodes.actions(index).tobytes(),
            episodes.states(index).tobytes(),
            episodes.environment_states(index).tobytes(),
            episodes.frames(index, "camera", np.arange(episodes.episode(index).length)).tobytes(),
        )
        for index in episodes.indices
    ]


@pytest.mark.parametrize("policy", ["play", "random"])
def test_what_is_recorded_is_what_happened(tmp_path, policy):
    """Recorded actions, from recorded states, lead to the next recorded states, to the bit."""
    made = nexus.collect_episodes(
        SMALL, tmp_path / "a", episodes=6, steps=12, policy=policy, seed=2
    )
    assert (made.episodes, made.steps, made.made, made.short, made.solved) == (6, 72, 6, 0, None)
    episodes, env = open_episodes(tmp_path / "a"), make_environment(SMALL)
    seeds = training_seeds(tmp_path / "a")
    assert len(seeds) == 6
    for index in episodes.indices:
        states, actions = episodes.environment_states(index), episodes.actions(index)
        assert np.array_equal(states[0], env.reset(seed=seeds[index])[1]["state"])
        for step in range(12):
            seen = env.set_state(states[step])
            [frame] = episodes.frames(index, "camera", [step])
            assert np.array_equal(frame, seen["pixels"])
            assert np.array_equal(episodes.states(index)[step], seen["proprioception"])
            env.step(actions[step])
            if step < 11:
                assert np.array_equal(env.get_state(), states[step + 1])
    assert episodes.action.names == ("dx", "dy")
    assert list(episodes.action.low) == [-1, -1] and list(episodes.action.high) == [1, 1]
    assert episodes.state.names == ("agent_x", "agent_y")
    assert episodes.environment.names == ("agent_x", "agent_y", "block_x", "block_y")
    assert episodes.fps == 10 and episodes.episode(0).tasks == (f"push: {policy}",)
    assert check_episodes(tmp_path / "a").problems == ()


def test_an_episode_follows_from_its_seed_and_number_alone(tmp_path):
    """At once, in three goes, and by one who began elsewhere: the same."""
    nexus.collect_episodes(SMALL, tmp_path / "once", episodes=5, steps=6, seed=1)
    for episodes in (1, 3, 5):
        made = nexus.collect_episodes(SMALL, tmp_path / "goes", episodes=episodes, steps=6, seed=1)
    assert made.made == 2
    assert contents(tmp_path / "once") == contents(tmp_path / "goes")
    nexus.collect_episodes(SMALL, tmp_path / "other", episodes=5, steps=6, seed=3)
    assert not set(contents(tmp_path / "once")) & set(contents(tmp_path / "other"))
    again = nexus.collect_episodes(SMALL, tmp_path / "goes", episodes=4, steps=6, seed=1)
    assert again.made == 0 and again.episodes == 5


def test_seeds_of_collections_have_nothing_in_common(tmp_path):
    for seed in (0, 1, 999):
        nexus.collect_episodes(SMALL, tmp_path / str(seed), episodes=2, steps=2, seed=seed)
    taken = [training_seeds(tmp_path / name) for name in ("0", "1", "999")]
    assert len(set().union(*map(set, taken))) == 6
    assert min(map(min, taken)) >= 10**9 and max(map(max, taken)) < 2**31
    told = json.loads((tmp_path / "1/meta/nexus_collection.json").read_text())
    assert told == {
        "environment": SMALL,
        "policy": "play",
        "steps": 2,
        "seed": 1,
        "codec": "lossless",
        "episodes": 2,
        "reset_seeds": [1_001_000_000, 1_001_000_002],
    }
    # One that was to be longer, and was stopped, keeps what it meant to take.
    Collection.of(tmp_path / "0").with_changes(episodes=40).write(tmp_path / "0")
    nexus.collect_episodes(SMALL, tmp_path / "0", episodes=3, steps=2)
    assert training_seeds(tmp_path / "0") == range(10**9, 10**9 + 40)
    assert len(open_episodes(tmp_path / "0")) == 3
    with pytest.raises(DataError, match="does not say which seeds"):
        training_seeds(tmp_path)


def test_an_experts_episode_ends_where_its_goal_is_reached(tmp_path):
    made = nexus.collect_episodes(
        "reach", tmp_path / "a", episodes=8, steps=12, policy="expert", codec="h264"
    )
    assert made.solved == 8 and made.short == 0
    env, episodes = make_environment("reach"), open_episodes(tmp_path / "a")
    for index, seed in zip(episodes.indices, training_seeds(tmp_path / "a"), strict=True):
        states, goal = episodes.environment_states(index), env.goal(seed)
        assert [env.solved(state, goal) for state in states] == [False] * (len(states) - 1) + [True]
    assert len({one.length for one in episodes.episodes}) > 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"steps": 7}, "was begun with another steps: 6, now 7"),
        ({"seed": 4}, "was begun with another seed: 0, now 4"),
        ({"policy": "random"}, "was begun with another policy: 'play', now 'random'"),
        ({"environment": "push"}, "was begun with another environment: .*32.*, now 'push'"),
    ],
)
def test_a_folder_goes_on_as_it_was_begun(tmp_path, change, text):
    asked = {"environment": SMALL, "out": tmp_path, "episodes": 1, "steps": 6}
    nexus.collect_episodes(**asked)
    before = contents(tmp_path)
    with pytest.raises(DataError, match=text):
        nexus.collect_episodes(**(asked | {"episodes": 3} | change))
    assert contents(tmp_path) == before
    (tmp_path / "meta/nexus_collection.json").unlink()
    with pytest.raises(DataError, match="holds 1 episodes, and no meta/nexus_coll.* not collected"):
        nexus.collect_episodes(**asked)


KILLED = """
import nexus
nexus.collect_episodes({"kind": "push", "size": 32}, "FOLDER", episodes=500, steps=5, seed=6)
"""


def test_kill_9_loses_the_episode_that_was_being_made_and_no_other(tmp_path):
    nexus.collect_episodes(SMALL, tmp_path / "whole", episodes=40, steps=5, seed=6)
    whole, folder = contents(tmp_path / "whole"), tmp_path / "killed"
    for wait in (0.11, 0.0):
        code = KILLED.replace("FOLDER", str(folder))
        child = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
        before = count(folder)
        while count(folder) < before + 3:
            assert child.poll() is None
            time.sleep(0.01)
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        child.wait()
        counted, finished = count(folder), len(open_episodes(folder))
        assert finished >= counted >= before + 3
        assert contents(folder)[:40] == whole[:finished]
    assert training_seeds(folder) == range(1_006_000_000, 1_006_000_500)
    if finished < 40:
        nexus.collect_episodes(SMALL, folder, episodes=40, steps=5, seed=6)
    assert contents(folder)[:40] == whole
    assert check_episodes(folder).problems == ()


def count(folder):
    """Episodes that are counted so far; the file is replaced whole, so it can be read any time."""
    path = folder / "meta/info.json"
    return json.loads(path.read_text())["total_episodes"] if path.exists() else 0


class Mute(gymnasium.Env):
    """Has no state that could be saved, says no names, and ends of itself after four steps."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012
    render_mode = "rgb_array"
    action_space = spaces.Box(-2, 2, (3, 1), np.float32)
    observation_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 4
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert action.shape == (3, 1) and action.dtype == np.float32
        self.left -= 1
        return np.zeros(2, np.float32), 0.0, self.left == 0, False, {}

    def render(self):
        return self.np_random.integers(0, 255, (16, 16, 3)).astype(np.uint8)


def test_an_environment_that_says_little_is_recorded_as_far_as_it_does(tmp_path):
    env = AdaptedEnv(Mute(), proprioception=[0])
    made = nexus.collect_episodes(env, tmp_path / "a", episodes=3, steps=9, policy="random")
    assert made.short == 3 and made.steps == 12
    episodes = open_episodes(tmp_path / "a")
    assert episodes.environment is None and episodes.fps == 4
    assert episodes.action.names == ("action_0", "action_1", "action_2")
    assert list(episodes.action.high) == [2, 2, 2]
    assert episodes.state.names == ("own_0",)
    nexus.collect_episodes(AdaptedEnv(Mute()), tmp_path / "b", episodes=1, policy="random")
    assert open_episodes(tmp_path / "b").state is None


class Still:
    """Somebody's own policy."""

    name = "still"

    def begin(self, observations, goals, seeds):
        self.count = len(seeds)

    def act(self, observations, states):
        return np.zeros((self.count, 2))


class Offering(TableEnv):
    """An environment with a policy of its own."""

    def policies(self):
        return {"still": Still}


def test_an_environment_may_offer_policies_of_its_own(tmp_path):
    choice = {"kind": f"{__name__}:Offering", "size": 32}
    nexus.collect_episodes(choice, tmp_path / "a", episodes=1, steps=4, policy="still")
    assert not open_episodes(tmp_path / "a").actions(0).any()
    with pytest.raises(SimulatorError, match="no policy 'play'; known: random, still"):
        nexus.collect_episodes(choice, tmp_path / "b", episodes=1, policy="play")
    assert not (tmp_path / "b").exists()


def test_what_cannot_be_collected_is_said_before_anything_is_written(tmp_path):
    class Buttons(Mute):
        action_space = spaces.Discrete(3)

    for env, settings, error, text in (
        (AdaptedEnv(Buttons()), {"policy": "random"}, SimulatorError, "expected numbers .a Box"),
        ("push", {"policy": "plai"}, SimulatorError, "no policy 'plai'; did you mean 'play'"),
        ("push", {"seed": 1000}, ConfigError, "seed: got 1000"),
        ("push", {"steps": 0}, ConfigError, "steps: got 0"),
        (AdaptedEnv(Mute(), fps=2.5), {"policy": "random"}, SimulatorError, "2.5 control steps a"),
    ):
        with pytest.raises(error, match=text):
            nexus.collect_episodes(env, tmp_path / "a", episodes=1, **settings)
        assert not (tmp_path / "a").exists()
