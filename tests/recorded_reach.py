"""Recordings of `reach` to imitate."""

import numpy as np
import pytest

from nexus.data.episodes.lerobot_writer import LeRobotWriter
from nexus.data.episodes.opening import open_episodes
from nexus.data.episodes.schema import Schema
from nexus.envs import TableEnv
from nexus.envs.picture import draw


def write_reach(folder, episodes, steps=12):
    """The agent goes to one place after the other, at many speeds."""
    delta = {"kind": "delta", "low": -1, "high": 1}
    dimensions = [{"name": name, **delta} for name in ("dx", "dy")]
    action = Schema.from_mapping({"rate": 10, "dimensions": dimensions})
    settings = {"action": action, "state": Schema.plain(["x", "y"], 10), "codec": "lossless"}
    env, rng = TableEnv("reach"), np.random.default_rng(0)
    with LeRobotWriter(folder, fps=10, cameras={"top": (64, 64)}, **settings) as writer:
        for seed in range(episodes):
            state, states, actions = env.reset(seed=seed)[1]["state"], [], []
            for step in range(steps):
                if step % 4 == 0:
                    place, speed = rng.uniform(0.06, 0.94, 2), rng.uniform(0.3, 1)
                away = (place - state) / 0.16
                action = np.clip(away, -speed, speed)
                states.append(state)
                actions.append(action)
                state = env.table.step(state, action)
            frames = {"top": draw(env.table, env.look, np.stack(states))}
            told = {"actions": np.stack(actions), "states": np.stack(states)}
            writer.add_episode(frames=frames, **told)
    return folder


@pytest.fixture(scope="session")
def reach_folder(tmp_path_factory):
    return write_reach(tmp_path_factory.mktemp("recordings") / "reach", 8)


@pytest.fixture(scope="session")
def reach_episodes(reach_folder):
    return open_episodes(reach_folder)
