"""All settings of a world model: what it is made of, and what it is trained to do."""

from typing import Literal, Self

import pydantic
import torch

from nexus.data.episodes.robot import Robot
from nexus.models.contract import ModelConfig
from nexus.models.objectives.anti_collapse import Regularizer
from nexus.models.objectives.losses import Loss
from nexus.models.worlds.embodiment import StateDynamics
from nexus.models.worlds.frame_encoder import FRAME_ENCODERS
from nexus.models.worlds.pose import NUMBERS as POSE
from nexus.registry import Choice, split_choice


class WorldConfig(ModelConfig):
    """All settings of a `WorldModel`."""

    kind: Literal["world"] = "world"
    img_size: pydantic.PositiveInt | tuple[pydantic.PositiveInt, pydantic.PositiveInt] = 64
    num_frames: int = pydantic.Field(5, ge=2)
    """Frames of a training stretch, a model step apart."""
    robots: tuple[Robot, ...] = ()
    """What is known of each robot that it was trained with; filled in when training begins."""
    encoder: Choice = "patches"
    """`patches`, `keypoints`, `vit` or `frozen`, or your own (`package.module:Class`), with its
    settings."""
    encoder_steps: pydantic.PositiveInt | None = None
    """After so many steps the encoder stays as it is, and the predictor goes on alone: what happens
    on contact takes far longer to learn than where things are. None: both to the end."""
    predictor: Choice = "adaln"
    """`adaln` or `interleaved`, or your own, with its settings."""
    frequencies: pydantic.NonNegativeInt = 4
    """Octaves of waves by which numbers of a state are told from one another; 0: plain numbers."""
    latent_norm: Literal["none", "layer"] = "none"
    """`layer`: predictions are normalised to mean 0 and spread 1 a token, as frozen tokens are."""
    context: pydantic.PositiveInt = 1
    """Frames that a rollout starts from."""
    loss: Loss = "mse"
    in_changes: bool = False
    """Errors of a dimension count in units of how much it changes in a step. What moves seldom, and
    only when it is moved, then counts as much as what moves all the time."""
    teacher_weight: pydantic.NonNegativeFloat = 0.0
    """Weight of the error of single steps from what was seen."""
    rollout_weight: pydantic.NonNegativeFloat = 1.0
    """Weight of the error of steps from the last prediction."""
    state_weight: pydantic.NonNegativeFloat = 2.0
    """Weight of the squared error of the foretold states, in spreads of training."""
    regularizer: Regularizer = "variance_covariance"
    """What keeps latents that are trained along from collapsing; nothing where they are frozen."""
    regularizer_weight: pydantic.NonNegativeFloat = 1.0
    slow_dim: pydantic.NonNegativeInt = 0
    """So many dimensions of a token are to change little from step to step. A robot moves all the
    time, things only when it moves them: these come to say where the things are."""
    slow_weight: pydantic.NonNegativeFloat = 0.0
    inverse_weight: pydantic.NonNegativeFloat = 0.0
    """Weight of reading the action from two neighbouring latents."""
    state_dynamics: StateDynamics = "learned"
    """How states go on: `learned`, or `pose`: position, angles and gripper, moved by the action."""
    state_dropout: float = pydantic.Field(0.0, ge=0.0, lt=1.0)
    """Share of batches whose states are hidden: the model then plans without them as well."""

    @pydantic.model_validator(mode="after")
    def _leaves_a_step(self) -> Self:
        if self.context >= self.num_frames:
            raise ValueError(
                f"context {self.context} of num_frames {self.num_frames} leaves nothing to predict"
            )
        cameras = {len(robot.cameras) for robot in self.robots}
        if len(cameras) > 1:
            raise ValueError(f"robots have different numbers of cameras: {sorted(cameras)}")
        widths = {(robot.action.width, robot.state_width) for robot in self.robots}
        if self.state_dynamics == "pose" and widths - {(POSE, POSE)}:
            raise ValueError(
                f"state_dynamics pose is for actions and states of {POSE} numbers (position, "
                f"angles, gripper); the robots have {sorted(widths)}"
            )
        return self

    @property
    def views(self) -> int:
        """Cameras of a robot."""
        return len(self.robots[0].cameras) if self.robots else 1

    @property
    def latent_shape(self) -> tuple[int, int]:
        """Tokens of a step, all cameras together, and their width."""
        with torch.device("meta"):
            encoder = FRAME_ENCODERS.build(
                self.encoder, img_size=self.image_sides, in_chans=self.in_chans
            )
        return self.views * encoder.grid.places, encoder.dim

    @property
    def frozen(self) -> bool:
        """Whether the encoder is one that was trained before, and stays as it is."""
        return split_choice(self.encoder, FRAME_ENCODERS.what)[0] == "frozen"
