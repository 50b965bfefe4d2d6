"""V-JEPA 2-AC as a world model: its encoder stays frozen, its predictor says what follows.

    published                        world model
    encoder.*                        encoder.encoder.*
    embed.* blocks.* norm.* proj.*   predictor.*
    action_embed.*                   robots.0.action.*
    state_embed.*                    robots.0.state.*
    extrinsics_embed.*               left out: never used

Published actions and states are not scaled; a robot's are, so its scale goes into the weights:
W (x std + mean) + b = (W std) x + (b + W mean). How the state goes on is not learned but worked out
(`nexus.models.worlds.pose`), as the published planner does.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from nexus.checkpoints.load import Loaded
from nexus.data.episodes.robot import Robot
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.statistics import QUANTILES, EpisodeStatistics, Statistics
from nexus.errors import CheckpointError
from nexus.models.encoder import EncoderConfig
from nexus.models.worlds.action_predictor import ActionPredictorConfig
from nexus.models.worlds.config import WorldConfig
from nexus.models.worlds.embodiment import Embodiment
from nexus.models.worlds.pose import NUMBERS
from nexus.models.worlds.world import WorldModel

RATE = 4.0
"""Steps a second in training."""
FRAMES = 8
"""... of a clip in training: what the predictor has seen of time."""
MOVE, TURN, GRIP = 0.05, 1e-3, 0.75
"""Bounds of an action as the published planner has them: metres along each axis, no turn (radians;
a planner's bounds have to differ), a share of the gripper's way."""
AXES, ANGLES = ("x", "y", "z"), ("roll", "pitch", "yaw")


def published_world(loaded: Loaded, robot: Robot | None = None) -> WorldModel:
    """The world model that V-JEPA 2-AC's weights are, in eval mode.

    Args:
        loaded: both halves of a file.
        robot: whose states are poses and whose actions their changes, see
            `nexus.models.worlds.pose`; None: `droid_robot()`.

    Raises:
        CheckpointError: there is no action-conditioned predictor, it needs the camera's pose, or
            the robot is not of this kind.
    """
    robot, actions = robot or droid_robot(), loaded.action_predictor
    if actions is None:
        raise CheckpointError(
            f"{loaded.path} holds no action-conditioned predictor; a world model is made of "
            "V-JEPA 2-AC's weights, or trained (`nexus world train`)"
        )
    _check(robot, actions.config)
    config = _config(loaded, actions.config, robot)
    with torch.device("meta"):
        model = WorldModel(config)
    body = Embodiment(robot, actions.config.predictor_dim, 0, config.state_dynamics)
    tensors = {f"encoder.encoder.{n}": t for n, t in loaded.encoder.state_dict().items()}
    for name, tensor in actions.state_dict().items():
        if not name.startswith(("action_embed.", "state_embed.", "extrinsics_embed.")):
            tensors[f"predictor.{name}"] = tensor
    tensors["predictor.view"] = torch.zeros(1, 1, actions.config.predictor_dim)
    own = body.state_dict()
    own |= _scaled("action", actions.action_embed, *robot.action_scale())
    own |= _scaled("state", actions.state_embed, *robot.state_scale())
    tensors |= {f"robots.0.{name}": tensor for name, tensor in own.items()}
    model.load_state_dict({n: t.detach() for n, t in tensors.items()}, assign=True)
    return model.eval()


def droid_robot() -> Robot:
    """The arm of the published model, as far as it is known without its recordings.

    One camera; positions in metres and angles (about x, y, z) in radians, from the arm's base; the
    gripper from 0 to 1. Its statistics are those of values spread evenly over the bounds.
    """
    moves = [{"name": f"d{name}", "unit": "m", "low": -MOVE, "high": MOVE} for name in AXES]
    moves += [{"name": f"d{name}", "unit": "rad", "low": -TURN, "high": TURN} for name in ANGLES]
    moves += [{"name": "dgripper", "gripper": "continuous", "low": -GRIP, "high": GRIP}]
    action = [{**move, "kind": "delta", "frame": "base"} for move in moves]
    state = [{"name": name, "unit": "m", "frame": "base"} for name in AXES]
    state += [{"name": name, "unit": "rad", "frame": "base"} for name in ANGLES]
    state += [{"name": "gripper", "gripper": "continuous", "low": 0.0, "high": 1.0}]
    schemas = [Schema.from_mapping({"dimensions": d, "rate": RATE}) for d in (action, state)]
    reach = [(-1.0, 1.0)] * 3 + [(-math.pi, math.pi)] * 3 + [(0.0, 1.0)]
    bounds = list(zip(schemas[0].low, schemas[0].high, strict=True))
    return Robot(
        name="droid",
        cameras=("camera",),
        action=schemas[0],
        state=schemas[1],
        statistics=EpisodeStatistics(
            action=_even(schemas[0].names, bounds), state=_even(schemas[1].names, reach)
        ),
    )


def _even(names: Sequence[str], bounds: Sequence[tuple[float, float]]) -> Statistics:
    """Of values that are spread evenly between bounds."""

    def at(share: float) -> tuple[float, ...]:
        return tuple(float(low + share * (high - low)) for low, high in bounds)

    return Statistics(
        names=tuple(names),
        count=1,
        mean=at(0.5),
        std=tuple(float(high - low) / math.sqrt(12) for low, high in bounds),
        min=at(0.0),
        max=at(1.0),
        **{name: at(share) for name, share in QUANTILES.items()},
    )


def _check(robot: Robot, config: ActionPredictorConfig) -> None:
    if config.use_extrinsics:
        raise CheckpointError(
            "the action-conditioned predictor takes the camera's pose (use_extrinsics), which no "
            "world model is given"
        )
    widths = (config.action_dim, config.state_dim, robot.action_width, robot.state_width)
    if set(widths) != {NUMBERS}:
        raise CheckpointError(
            f"V-JEPA 2-AC acts with {NUMBERS} numbers (position, angles, gripper) from a state of "
            f"as many; the file has {widths[0]} and {widths[1]}, robot {robot.name!r} "
            f"{widths[2]} and {widths[3]} a step of the model"
        )
    if len(robot.cameras) != 1:
        raise CheckpointError(
            f"V-JEPA 2-AC has one camera; robot {robot.name!r} has {', '.join(robot.cameras)}"
        )


def _config(loaded: Loaded, actions: ActionPredictorConfig, robot: Robot) -> WorldConfig:
    told = loaded.model.config.to_mapping()
    own = {"img_size", "in_chans"}  # these are the world model's
    encoder = {k: v for k, v in told.items() if k in EncoderConfig.model_fields and k not in own}
    return WorldConfig.from_mapping(
        {
            **{key: told[key] for key in own},
            "num_frames": FRAMES,
            "robots": (robot,),
            "encoder": {"kind": "frozen", "model": encoder},
            "predictor": {
                "kind": "interleaved",
                "width": actions.predictor_dim,
                "depth": actions.depth,
                "heads": actions.heads,
                "mlp_ratio": actions.mlp_ratio,
                "window": 2 * FRAMES,
                "rotary": "tiled",
                "side": actions.grid_side,
            },
            "frequencies": 0,
            "latent_norm": "layer",
            "loss": "l1",
            "teacher_weight": 1.0,
            "rollout_weight": 1.0,
            "state_weight": 0.0,
            "state_dynamics": "pose",
        }
    )


def _scaled(name: str, layer: nn.Linear, mean: object, std: object) -> Mapping[str, Tensor]:
    """A layer for scaled numbers that answers as the published one for plain ones."""
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    mean, std = (torch.as_tensor(each, dtype=torch.float64) for each in (mean, std))
    return {
        f"{name}.weight": (weight * std).to(layer.weight.dtype),
        f"{name}.bias": (bias + weight @ mean).to(layer.bias.dtype),
    }
