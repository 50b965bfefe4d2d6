"""Robots, batches and world models for tests, and the rollout written out as whole sequences."""

import torch

from nexus.data.episodes.batch import EpisodeBatch
from nexus.data.episodes.robot import Robot
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.statistics import EpisodeStatistics, Statistics
from nexus.models.worlds.world import WorldModel

NUMBERS = ("mean", "std", "min", "max", "q01", "q10", "q50", "q90", "q99")


def statistics(names, mean=0.0, std=1.0, low=-2.0, high=2.0):
    values = {"mean": mean, "std": std, "min": low, "max": high}
    columns = {key: (values.get(key, 0.0),) * len(names) for key in NUMBERS}
    return Statistics(names=tuple(names), count=10, **columns)


def robot(action=2, state=3, cameras=("top",), block=1, name="arm", **scale):
    action_names = [f"a{i}" for i in range(action)]
    state_names = [f"s{i}" for i in range(state)]
    dims = [{"name": n, "low": -1, "high": 1} for n in action_names]
    return Robot(
        name=name,
        cameras=tuple(cameras),
        action=Schema.from_mapping({"dimensions": dims, "rate": 10}),
        state=Schema.plain(state_names, 10) if state else None,
        statistics=EpisodeStatistics(
            action=statistics(action_names, **scale),
            state=statistics(state_names, **scale) if state else None,
        ),
        block=block,
    )


def world(seed=0, **settings):
    torch.manual_seed(seed)
    given = {
        "img_size": 16,
        "num_frames": 6,
        "robots": (robot(),),
        "encoder": {"kind": "patches", "patch_size": 8, "dim": 12, "hidden": 16, "patch_dim": 8},
        "predictor": {"kind": "adaln", "width": 24, "depth": 2, "heads": 2, "window": 3},
        **settings,
    }
    model = WorldModel(given)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # nothing that starts at 0 stays there
            if "modulation" in name or name.startswith("predictor.proj"):
                parameter.normal_(std=0.2)
    return model


def batch(model, size=4, time=None, robot=0, seed=1):
    config = model.config
    draw = torch.Generator().manual_seed(seed)
    time = time or config.num_frames
    one = config.robots[robot]
    frames = torch.randn(
        size, config.views, time, config.in_chans, *config.image_sides, generator=draw
    )
    states = torch.randn(size, time, one.state_width, generator=draw) if one.state_width else None
    actions = torch.randn(size, time - 1, one.action_width, generator=draw)
    return EpisodeBatch(frames, actions, states, robot=robot)


def slow_rollout(model, latents, actions, states, context, robot=0):
    """Each step from the whole sequence so far, nothing remembered.

    Returns the predicted latents and states after the context, (batch, steps, ...).
    """
    latents, states = latents[:, :context], states[:, :context]
    for step in range(context - 1, actions.shape[1]):
        predicted, summary = model._predict(latents, actions[:, : step + 1], states, robot, None)
        after = model.robots[robot].foretold(states, summary, actions[:, : step + 1])
        latents = torch.cat([latents, predicted[:, -1:]], dim=1)
        states = torch.cat([states, after[:, -1:]], dim=1)
    return latents[:, context:], states[:, context:]
