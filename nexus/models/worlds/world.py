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
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nexus.data.episodes.batch import EpisodeBatch
from nexus.errors import VideoShapeError
from nexus.models.contract import EncoderRole, checked, checked_role
from nexus.models.worlds.config import WorldConfig
from nexus.models.worlds.embodiment import Embodiment
from nexus.models.worlds.frame_encoder import FRAME_ENCODERS, FrameEncoder
from nexus.models.worlds.objective import Latents, changes, errors, measured_health, regularized
from nexus.models.worlds.predictors import PREDICTORS, Frames, StepPredictor
from nexus.nn.causal import Memory, spread


@dataclass(frozen=True, eq=False)
class WorldState:
    """Where a rollout stands, a row a continuation: tokens, state vectors' source and memory.

    `latent` are the tokens of the last step, `state` its scaled state (None where none is known).
    So many rows after one another are `alike`: what follows from them alone is worked out once.
    """

    latent: Float[Tensor, "batch tokens dim"]
    state: Float[Tensor, "batch state"] | None
    memory: Memory
    robot: int = 0
    alike: int = 1

    def spread(self, times: int) -> "WorldState":
        """Each row, so many times after one another."""
        return replace(
            self,
            latent=spread(self.latent, times),
            state=None if self.state is None else spread(self.state, times),
            memory=self.memory.spread(times),
            alike=times * self.alike,
        )


class WorldModel(nn.Module):
    """Answers `loss, metrics = model(batch)` for an `EpisodeBatch`, and what actions lead to.

    Args:
        config: a plain mapping or a `WorldConfig` with the robots that it is for.

    Raises:
        ConfigError: an unknown key or an impossible value.
    """

    Config = WorldConfig
    encoder_finished: Bool[Tensor, ""]

    def __init__(self, config: Mapping[str, Any] | WorldConfig) -> None:
        super().__init__()
        if not isinstance(config, WorldConfig):
            config = WorldConfig.from_mapping(config)
        self.config = config
        built = FRAME_ENCODERS.build(
            config.encoder, img_size=config.image_sides, in_chans=config.in_chans
        )
        self.encoder: FrameEncoder = checked(built, FrameEncoder, "encoder of frames")
        if config.encoder_steps:  # kept with the weights: a run that goes on knows where it is
            self.register_buffer("encoder_finished", torch.zeros((), dtype=torch.bool))
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
        fixed = self.encoder_fixed
        if fixed:
            self.encoder.eval()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not fixed):
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
        units = changes(seen, config.loss) if config.in_changes else seen.new_ones(())
        targets = seen[:, config.context :]
        parts["rollout_loss"] = (errors(rolled, targets, config.loss) / units).mean()
        loss = config.rollout_weight * parts["rollout_loss"]
        if config.teacher_weight:
            forced, _ = self._step_from_seen(seen, batch)
            parts["teacher_loss"] = (errors(forced, seen[:, 1:], config.loss) / units).mean()
            loss = loss + config.teacher_weight * parts["teacher_loss"]
        if foretold is not None and states is not None and config.state_weight:
            parts["state_loss"] = F.mse_loss(foretold, states[:, config.context :])
            loss = loss + config.state_weight * parts["state_loss"]
        learns = not self.encoder_fixed
        if learns and config.regularizer != "none":
            parts["regularizer_loss"] = regularized(seen, config.regularizer)
            loss = loss + config.regularizer_weight * parts["regularizer_loss"]
        if learns and config.slow_weight and config.slow_dim:
            slow = seen[..., : config.slow_dim]
            parts["slow_loss"] = (slow[:, 1:] - slow[:, :-1]).square().mean()
            loss = loss + config.slow_weight * parts["slow_loss"]
        if self.inverse is not None:
            pairs = torch.cat([seen[:, :-1].flatten(2), seen[:, 1:].flatten(2)], dim=-1)
            parts["inverse_loss"] = F.mse_loss(self.inverse[batch.robot](pairs), batch.actions)
            loss = loss + config.inverse_weight * parts["inverse_loss"]
        metrics = {n: float(v.detach()) for n, v in {"loss": loss, **parts}.items()}
        if meters:
            health = measured_health(seen.detach(), rolled.detach(), config.context, config.loss)
            metrics.update(health)
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
        distinct = state.latent[:: state.alike, None]
        latents, summary = self._predict(
            distinct, actions[:, None], given, state.robot, state.memory
        )
        foretold = self.robots[state.robot].foretold(given, summary, actions[:, None])  # pyright: ignore
        after = None if foretold is None else foretold[:, 0]
        return replace(state, latent=latents[:, 0], state=after, alike=1)

    @property
    def encoder_fixed(self) -> bool:
        """Whether the encoder stays as it is: trained before, or for all of its steps."""
        config = self.config
        return config.frozen or (config.encoder_steps is not None and bool(self.encoder_finished))

    def update_target(self, step: int) -> float | None:
        """There is no second encoder that follows; after its steps the only one is done.

        Args:
            step: steps before this one.
        """
        if self.config.encoder_steps is not None and step + 1 == self.config.encoder_steps:
            self.encoder_finished.fill_(True)
        return None

    def evaluation_encoder(self, role: EncoderRole = "target") -> Any:
        """The one encoder there is, in either role."""
        checked_role(role)
        return self.encoder

    def _predict(
        self,
        latents: Frames,
        actions: Tensor,
        states: Tensor | None,
        robot: int,
        memory: Memory | None,
    ) -> tuple[Latents, Tensor]:
        """The step after each one; of latents, one row may serve several rows of actions."""
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
