"""A world model that acts: what the camera sees, and what an action will do to it.

    frame t      frame t+1    ...          the encoder sees each frame by itself
      |            |
    z_t  ------>  z_t+1      compared      teacher forcing: from what was seen to the next step
      a_t, s_t                             rollout: from the context on, each step from the last
    z_c -> z'_c+1 -> z'_c+2 -> ...         prediction, k steps, the gradient through all of them

With a frozen encoder this is V-JEPA 2-AC (arXiv 2506.09985, section 3); trained together with its
encoder, a term on the latents keeps them from collapsing (arXiv 2603.19312; seed, "World Models").
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import pydantic
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nexus.data.episodes.batch import EpisodeBatch
from nexus.data.episodes.robot import Robot
from nexus.errors import VideoShapeError
from nexus.models.contract import EncoderRole, ModelConfig, checked, checked_role
from nexus.models.objectives.anti_collapse import Regularizer, sigreg, variance_covariance
from nexus.models.objectives.losses import Loss
from nexus.models.ssl import collapse
from nexus.models.worlds.embodiment import Embodiment, StateDynamics
from nexus.models.worlds.frame_encoder import FRAME_ENCODERS, FrameEncoder
from nexus.models.worlds.pose import NUMBERS as POSE
from nexus.models.worlds.predictors import PREDICTORS, StepPredictor
from nexus.nn.causal import Memory
from nexus.registry import Choice, split_choice

Latents = Float[Tensor, "batch time tokens dim"]
LEAST_CHANGE = 1e-3
"""Where a dimension changes less in a step, its errors count no more than if it changed so much."""


class WorldConfig(ModelConfig):
    """All settings of a `WorldModel`."""

    kind: Literal["world"] = "world"
    img_size: pydantic.PositiveInt | tuple[pydantic.PositiveInt, pydantic.PositiveInt] = 64
    num_frames: int = pydantic.Field(5, ge=2)
    """Frames of a training stretch, a model step apart."""
    robots: tuple[Robot, ...] = ()
    """What is known of each robot that it was trained with; filled in when training begins."""
    encoder: Choice = "patches"
    """`patches`, `vit` or `frozen`, or your own (`package.module:Class`), with its settings."""
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


@dataclass(frozen=True, eq=False)
class WorldState:
    """Where a rollout stands, a row a continuation: tokens, state vectors' source and memory.

    `latent` are the tokens of the last step, `state` its scaled state (None where none is known).
    """

    latent: Float[Tensor, "batch tokens dim"]
    state: Float[Tensor, "batch state"] | None
    memory: Memory
    robot: int = 0

    def spread(self, times: int) -> "WorldState":
        """Each row, so many times after one another."""
        state = None if self.state is None else self.state.repeat_interleave(times, dim=0)
        latent = self.latent.repeat_interleave(times, dim=0)
        return replace(self, latent=latent, state=state, memory=self.memory.spread(times))


class WorldModel(nn.Module):
    """Answers `loss, metrics = model(batch)` for an `EpisodeBatch`, and what actions lead to.

    Args:
        config: a plain mapping or a `WorldConfig` with the robots that it is for.

    Raises:
        ConfigError: an unknown key or an impossible value.
    """

    Config = WorldConfig

    def __init__(self, config: Mapping[str, Any] | WorldConfig) -> None:
        super().__init__()
        if not isinstance(config, WorldConfig):
            config = WorldConfig.from_mapping(config)
        self.config = config
        built = FRAME_ENCODERS.build(
            config.encoder, img_size=config.image_sides, in_chans=config.in_chans
        )
        self.encoder: FrameEncoder = checked(built, FrameEncoder, "encoder of frames")
        grid, dim = self.encoder.grid, self.encoder.dim
        self.predictor: StepPredictor = checked(
            PREDICTORS.build(config.predictor, dim=dim, grid=grid, views=config.views),
            StepPredictor,
            "predictor",
        )
        width = self.predictor.config.width  # pyright: ignore
        self.robots = nn.ModuleList(
            Embodiment(robot, width, config.frequencies, config.state_dynamics)
            for robot in config.robots
        )
        self.inverse = None
        if config.inverse_weight:
            joined = 2 * dim * grid.places * config.views
            self.inverse = nn.ModuleList(
                nn.Sequential(
                    nn.Linear(joined, width), nn.GELU(), nn.Linear(width, one.action_width)
                )
                for one in config.robots
            )

    def encode(self, frames: Float[Tensor, "batch cameras time channels height width"]) -> Latents:
        """Tokens of each frame, those of all cameras side by side.

        Raises:
            VideoShapeError: another number of cameras, channels or another size.
        """
        config = self.config
        batch, cameras, time = frames.shape[:3]
        expected = (config.views, config.in_chans, *config.image_sides)
        if (cameras, *frames.shape[3:]) != expected:
            raise VideoShapeError(
                f"got frames of (cameras, channels, height, width) {(cameras, *frames.shape[3:])}; "
                f"the model takes {expected}"
            )
        tokens = self.encoder(frames.flatten(0, 2)).unflatten(0, (batch, cameras, time))
        return tokens.transpose(1, 2).flatten(2, 3)

    def forward(
        self, batch: EpisodeBatch, *, meters: bool = True
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """Predict each next step, from what was seen and from predictions, and compare.

        Returns:
            The loss to call `backward()` on, and plain numbers: `loss`, its parts, and the meters
            of `nexus.models.ssl.collapse` with the errors beside those of trivial predictors.
        """
        config = self.config
        seen = batch.latents if batch.latents is not None else self.encode(batch.frames)  # pyright: ignore
        batch = self._some_without_states(batch)
        states = batch.states
        parts: dict[str, Tensor] = {}
        rolled, foretold = self._rollout(seen, batch)
        targets = seen[:, config.context :]
        units = self._units(seen)
        parts["rollout_loss"] = (_errors(rolled, targets, config.loss) / units).mean()
        loss = config.rollout_weight * parts["rollout_loss"]
        if config.teacher_weight:
            forced, _ = self._step_from_seen(seen, batch)
            parts["teacher_loss"] = (_errors(forced, seen[:, 1:], config.loss) / units).mean()
            loss = loss + config.teacher_weight * parts["teacher_loss"]
        if foretold is not None and states is not None and config.state_weight:
            parts["state_loss"] = F.mse_loss(foretold, states[:, config.context :])
            loss = loss + config.state_weight * parts["state_loss"]
        if not config.frozen and config.regularizer != "none":
            parts["regularizer_loss"] = _regularized(seen, config.regularizer)
            loss = loss + config.regularizer_weight * parts["regularizer_loss"]
        if config.slow_weight and config.slow_dim:
            slow = seen[..., : config.slow_dim]
            parts["slow_loss"] = (slow[:, 1:] - slow[:, :-1]).square().mean()
            loss = loss + config.slow_weight * parts["slow_loss"]
        if self.inverse is not None:
            pairs = torch.cat([seen[:, :-1].flatten(2), seen[:, 1:].flatten(2)], dim=-1)
            parts["inverse_loss"] = F.mse_loss(self.inverse[batch.robot](pairs), batch.actions)
            loss = loss + config.inverse_weight * parts["inverse_loss"]
        metrics = {n: float(v.detach()) for n, v in {"loss": loss, **parts}.items()}
        if meters:
            metrics.update(self._meters(seen.detach(), rolled.detach()))
        return loss, metrics

    def begin(
        self,
        latents: Latents,
        actions: Float[Tensor, "batch steps action"],
        states: Float[Tensor, "batch time state"] | None,
        robot: int = 0,
    ) -> WorldState:
        """Where rollouts start: after some frames that were seen, a model step apart.

        Args:
            latents: of the frames, the present one last; at least one.
            actions: scaled, of the steps between them: one fewer than frames.
            states: scaled, at each frame; None where none are known.
        """
        memory = self.predictor.remember()
        if latents.shape[1] > 1:
            past = None if states is None else states[:, :-1]
            self._predict(latents[:, :-1], actions, past, robot, memory)
        last = None if states is None else states[:, -1]
        return WorldState(latents[:, -1], last, memory, robot)

    def step(self, state: WorldState, actions: Float[Tensor, "batch action"]) -> WorldState:
        """One step on, in place of the state that is given.

        Args:
            actions: scaled.
        """
        given = None if state.state is None else state.state[:, None]
        latents, summary = self._predict(
            state.latent[:, None], actions[:, None], given, state.robot, state.memory
        )
        foretold = self.robots[state.robot].foretold(given, summary, actions[:, None])  # pyright: ignore
        after = None if foretold is None else foretold[:, 0]
        return replace(state, latent=latents[:, 0], state=after)

    def update_target(self, step: int) -> float | None:
        """There is no second encoder that follows."""
        return None

    def evaluation_encoder(self, role: EncoderRole = "target") -> Any:
        """The one encoder there is, in either role."""
        checked_role(role)
        return self.encoder

    def _predict(
        self,
        latents: Latents,
        actions: Tensor,
        states: Tensor | None,
        robot: int,
        memory: Memory | None,
    ) -> tuple[Latents, Tensor]:
        """The step after each one."""
        body = self.robots[robot]
        vectors = body.state_vectors(states, actions)  # pyright: ignore
        done = body.action_vectors(actions)  # pyright: ignore
        latents, summary = self.predictor(latents, done, vectors, memory)
        if self.config.latent_norm == "layer":
            latents = F.layer_norm(latents, latents.shape[-1:])
        return latents, summary

    def _some_without_states(self, batch: EpisodeBatch) -> EpisodeBatch:
        """The batch, its states hidden for a random share of batches: both ways are learned."""
        hides = self.training and float(torch.rand(())) < self.config.state_dropout
        return replace(batch, states=None) if hides else batch

    def _step_from_seen(self, seen: Latents, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        states = None if batch.states is None else batch.states[:, :-1]
        return self._predict(seen[:, :-1], batch.actions, states, batch.robot, None)

    def _rollout(self, seen: Latents, batch: EpisodeBatch) -> tuple[Tensor, Tensor | None]:
        """Predictions of all steps after the context, each from the last, and foretold states."""
        context = self.config.context
        states = None if batch.states is None else batch.states[:, :context]
        state = self.begin(seen[:, :context], batch.actions[:, : context - 1], states, batch.robot)
        latents, foretold = [], []
        for number in range(context - 1, batch.actions.shape[1]):
            state = self.step(state, batch.actions[:, number])
            latents.append(state.latent)
            foretold.append(state.state)
        known = None if batch.states is None else torch.stack(foretold, dim=1)
        return torch.stack(latents, dim=1), known

    @torch.no_grad()
    def _units(self, seen: Latents) -> Tensor:
        """What errors of each dimension are divided by."""
        if not self.config.in_changes:
            return seen.new_ones(())
        changes = _errors(seen[:, 1:], seen[:, :-1], self.config.loss).mean(dim=(0, 1, 2))
        return changes.clamp(min=LEAST_CHANGE)

    @torch.no_grad()
    def _meters(self, seen: Latents, rolled: Tensor) -> dict[str, float]:
        batch, time, tokens, _ = seen.shape
        index = torch.arange(tokens).repeat(time).expand(batch, -1)
        found, share = collapse.measure("context", seen.flatten(1, 2), index, tokens)
        twins = {name.replace("context", "target"): found[name] for name in found}
        targets, loss = seen[:, self.config.context :], self.config.loss
        copied = seen[:, self.config.context - 1, None].expand_as(targets)
        mean = seen.mean(dim=(0, 1)).expand_as(targets)
        error = _errors(rolled, targets, loss).mean()
        return {
            **found,
            **twins,
            **({"rank_share": share} if found else {}),
            "error_vs_copy": float(error / _errors(copied, targets, loss).mean().clamp(min=1e-12)),
            "error_vs_mean": float(error / _errors(mean, targets, loss).mean().clamp(min=1e-12)),
        }


def _errors(predicted: Tensor, target: Tensor, loss: Loss) -> Tensor:
    return (predicted - target).abs() if loss == "l1" else (predicted - target).square()


def _regularized(seen: Latents, kind: Regularizer) -> Tensor:
    """The anti-collapse term, on the tokens of all frames."""
    term = sigreg if kind == "sigreg" else variance_covariance
    return term(seen.flatten(0, 2))
