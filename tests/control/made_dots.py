"""A world whose truth is known: a square that moves by whole pixels, and models of it by hand."""

import numpy as np
import torch

from nexus.control.trust.measuring import Trial
from nexus.data.episodes.lerobot_writer import LeRobotWriter
from nexus.data.episodes.opening import open_episodes
from nexus.data.episodes.robot import Robot
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.stretches import Stretches
from nexus.models.worlds.config import WorldConfig
from nexus.models.worlds.world import WorldState
from nexus.nn.causal import Memory

SIDE = 16
MOVE = {"low": -2, "high": 2, "kind": "delta", "unit": "px"}
ACTION = Schema.from_mapping(
    {"rate": 10, "dimensions": [{"name": "dx", **MOVE}, {"name": "dy", **MOVE}]}
)
PLACE = Schema.from_mapping(
    {"rate": 10, "dimensions": [{"name": "x", "unit": "px"}, {"name": "y", "unit": "px"}]}
)


def write_dots(folder, episodes=12, steps=10, seed=0, told=lambda actions, rng: actions, **named):
    """Episodes in which the square's place is moved by the action, exactly.

    `told` is what is written down as the action.
    """
    settings = {"state": PLACE, "environment": PLACE, **named}
    rng = np.random.default_rng(seed)
    with LeRobotWriter(
        folder, fps=10, action=ACTION, cameras={"top": (SIDE, SIDE)}, codec="lossless", **settings
    ) as out:
        for _ in range(episodes):
            place, places, moves = rng.integers(3, 13, 2), [], []
            for _ in range(steps):
                after = np.clip(place + rng.integers(-2, 3, 2), 2, 13)
                places.append(place)
                moves.append(after - place)
                place = after
            frames = np.zeros((steps, SIDE, SIDE, 3), np.uint8)
            for frame, (x, y) in zip(frames, places, strict=True):
                frame[y - 1 : y + 2, x - 1 : x + 2] = 255
            places = np.stack(places).astype(np.float64)
            given = {"states": places.astype(np.float32)} if settings["state"] else {}
            if settings["environment"]:
                given["environment_states"] = places
            actions = told(np.stack(moves).astype(np.float32), rng)
            out.add_episode(frames={"top": frames}, actions=actions, **given)
    return folder


class Dots:
    """Knows where the square is, and moves it by `gain` times the action.

    `sees`: which of x and y its latents hold.
    """

    def __init__(self, robot, gain=(1.0, 1.0), sees=(1.0, 1.0), context=1, slow_dim=0):
        self.config = WorldConfig.from_mapping(
            {
                "img_size": SIDE,
                "num_frames": context + 1,
                "context": context,
                "robots": (robot,),
                "slow_dim": slow_dim,
            }
        )
        self.robot = robot
        self.gain, self.sees = torch.tensor(gain), torch.tensor(sees)

    def encode(self, frames):
        light = frames.mean(dim=(1, 3))
        light = light - light.amin(dim=(-2, -1), keepdim=True)
        light = light / light.sum(dim=(-2, -1), keepdim=True)
        along = torch.arange(SIDE, dtype=light.dtype)
        place = torch.stack([(light.sum(-2) * along).sum(-1), (light.sum(-1) * along).sum(-1)], -1)
        return (place * self.sees)[:, :, None]

    def begin(self, latents, actions, states, robot=0):
        return WorldState(latents[:, -1], None if states is None else states[:, -1], Memory(1))

    def step(self, state, actions):
        mean, std = (torch.from_numpy(each).float() for each in self.robot.action_scale())
        moved = (actions * std + mean).unflatten(-1, (self.robot.block, -1)).sum(1) * self.gain
        where = state.state
        if where is not None:
            where = where + moved / torch.from_numpy(self.robot.state_scale()[1]).float()
        return WorldState(state.latent + (moved * self.sees)[:, None], where, state.memory)


def robot_of(folder, block=1):
    episodes = open_episodes(folder)
    return Robot.of(episodes, episodes.indices, block=block)


def trial_of(judged, fitted, robot, **named):
    """All of one recording is judged, all of the other fitted on."""
    judged, fitted = open_episodes(judged), open_episodes(fitted)

    def stretches(episodes):
        return Stretches(
            episodes, episodes.indices, robot, size=(SIDE, SIDE), length=2, memory=10**8
        )

    return Trial(
        stretches(judged),
        judged.indices,
        stretches(fitted),
        fitted.indices,
        source=str(judged.source),
        choice="all of it",
        **named,
    )
