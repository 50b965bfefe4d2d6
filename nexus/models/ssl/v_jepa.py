"""V-JEPA 2: predict the representations of hidden parts of a video from the visible ones.

    visible tokens                        the whole clip
          |                                     |
    context encoder  ---- EMA ---->      target encoder
          |                                     |
      predictor                           stop-gradient
          |                                     |
    predicted features  <---- loss ---->  target features at the hidden tokens

Source: the seed document; arXiv 2404.08471 and 2506.09985. Where this departs from the seed's code
snippet, the reason stands beside it.
"""

import copy
from collections.abc import Mapping
from typing import Any, Literal, Self

import pydantic
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from nexus.data.loading.batch import Batch, clips_of
from nexus.errors import ConfigError
from nexus.masks.config import MaskConfig, build_mask, draw_masks
from nexus.masks.future import FutureMask, future_mask
from nexus.masks.token_mask import TokenMask
from nexus.models.contract import (
    CanCheckpointGradients,
    CanCompile,
    Encoder,
    EncoderRole,
    ModelConfig,
    checked,
    checked_role,
)
from nexus.models.encoder import EncoderConfig, build_encoder, levels_of
from nexus.models.objectives.jepa import ObjectiveConfig, build_objective
from nexus.models.objectives.losses import TargetNorm, normalise_predictions, normalise_targets
from nexus.models.objectives.prediction import Prediction, trivial_ratios
from nexus.models.predictor import MaskedPredictor, PredictorConfig
from nexus.models.presets import SizedConfig
from nexus.models.ssl import collapse, ema
from nexus.models.tubelets import check_video_shape, check_video_values
from nexus.nn.eager import eager
from nexus.nn.grid import TokenLayout

EMA_STEPS = 100_000
"""Optimizer steps from one momentum to the other where nothing says how long a run is."""


class VJEPAConfig(
    SizedConfig, ModelConfig, EncoderConfig, PredictorConfig, MaskConfig, ObjectiveConfig
):
    """All settings of a `VJEPAModel`; the defaults are the seed's."""

    kind: Literal["vjepa"] = "vjepa"
    target_norm: TargetNorm = "none"
    target_input: Literal["clip", "target_frames"] = "clip"
    """What the target encoder sees: the whole clip (the seed's text, the published code), or only
    the time steps that hold targets (the seed's diagram)."""
    teacher_dim: pydantic.PositiveInt | None = None
    """Width of what the predictor gives, where it was distilled from a teacher of another width
    (2.1's Base and Large: 1664); such a model embeds, but cannot train on its own targets. None:
    the width of the model's own targets."""
    ema_momentum: float = pydantic.Field(0.996, ge=0.0, le=1.0)
    ema_momentum_end: float = pydantic.Field(1.0, ge=0.0, le=1.0)
    ema_schedule: Literal["cosine", "constant"] = "cosine"
    ema_steps: pydantic.PositiveInt | None = None
    """Optimizer steps from `ema_momentum` to `ema_momentum_end`; null: the length of the run in
    nexus' own loop, `EMA_STEPS` elsewhere."""
    stop_gradient: bool = True
    """False makes a run that collapses: it is there to show what the meters say then."""

    @pydantic.model_validator(mode="after")
    def _can_train(self) -> Self:
        build_mask(self).check_fits(self.grid, self.tubelet_size)
        if self.target_input == "target_frames" and self.predicts_context:
            raise ValueError(
                "predicts_context needs the context's targets: set target_input to 'clip'"
            )
        return self

    def for_run(self, steps: int) -> Self:
        """`ema_steps` follows the length of the run unless it is given."""
        return self.with_changes(ema_steps=max(1, steps)) if self.ema_steps is None else self


class VJEPAModel(nn.Module):
    """A video joint-embedding predictive model; answers `loss, metrics = model(video)`.

    Args:
        config: a plain mapping with the seed's keys, or a `VJEPAConfig`.

    Raises:
        ConfigError: an unknown key (the nearest known one is named) or an impossible value.
    """

    Config = VJEPAConfig
    ema_step: Tensor

    def __init__(self, config: Mapping[str, Any] | VJEPAConfig) -> None:
        super().__init__()
        if not isinstance(config, VJEPAConfig):
            config = VJEPAConfig.from_mapping(config)
        self.config = config
        self.mask, self.objective = build_mask(config), build_objective(config)
        self.context_encoder = build_encoder(config)
        self.renew_predictor()
        self.target_encoder = copy.deepcopy(self.context_encoder).requires_grad_(False)
        self.register_buffer("ema_step", torch.zeros((), dtype=torch.int64))
        self._settle()
        self.register_load_state_dict_post_hook(_settle_after_loading)

    def renew_predictor(self) -> None:
        """Put a fresh predictor in place of what there is."""
        config = self.config
        self.predictor = MaskedPredictor(
            config,
            config,
            out_dim=config.teacher_dim or config.level_dim,
            predicts_context=config.predicts_context,
        )

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but targets are never randomly thinned (`drop_path`)."""
        super().train(mode)
        self.target_encoder.eval()
        return self

    def forward(
        self, video: Float[Tensor, "batch chans frames rows cols"] | Batch, *, meters: bool = True
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """Draw a mask, predict the hidden tokens' features, compare.

        In training mode the target encoder first follows an optimizer step that was taken since
        the last call, so a bare loop needs nothing else. (The seed's snippet moves it inside each
        forward: before the step, and once per micro-batch under accumulation.)

        Args:
            video: normalised float clips; sides and length multiples of the tubelet's.
            meters: also compute the collapse meters of `nexus.models.ssl.collapse`.

        Returns:
            The loss to call `backward()` on, and plain numbers: `loss`, the parts that the
            objective names (see `nexus.models.objectives.jepa`) and the meters.

        Raises:
            VideoShapeError: the video does not fit, or holds NaN or infinite values.
        """
        video = clips_of(video)
        check_video_shape(video, self.config)
        check_video_values(video)
        if self.training and torch.is_grad_enabled():
            self._follow_optimizer()
        outs = self._predict(video, self.draw_masks(video))
        loss, parts = self.objective(outs, self.ema_step)
        return loss, self._metrics({"loss": loss, **parts}, outs[0] if meters else None)

    def predict(self, video: Tensor, mask: TokenMask | None = None) -> Prediction:
        """Predict hidden tokens without a loss; default: every token after the context's frames.

        Raises:
            VideoShapeError: the video does not fit.
        """
        grid = self.context_encoder.grid_of(video)
        if mask is None:
            steps = (grid.time // 2, grid.time - grid.time // 2)
            if isinstance(self.mask, FutureMask):
                steps = self.mask.steps(grid, self.config.tubelet_size)
            mask = future_mask(grid, video.shape[0], *steps)
        return self._predict(video, (mask,))[0]

    def draw_masks(
        self, video: Tensor, generator: Generator | None = None
    ) -> tuple[TokenMask, ...]:
        """Masks for a batch of clips; the CPU's global generator is used unless one is given."""
        grid = self.context_encoder.grid_of(video)
        tubelet = self.config.tubelet_size
        return draw_masks(
            self.mask, grid, video.shape[0], tubelet_size=tubelet, generator=generator
        )

    def update_target(self, step: int | None = None) -> float:
        """Move the target encoder once; call after `optimizer.step()`. Returns the momentum used.

        Args:
            step: optimizer steps taken before this one; default: counted by the model.
        """
        config = self.config
        step = int(self.ema_step) if step is None else step
        momentum = ema.momentum_at(
            step,
            config.ema_steps or EMA_STEPS,
            start=config.ema_momentum,
            end=config.ema_momentum_end,
            schedule=config.ema_schedule,
        )
        ema.update(self.target_encoder, self.context_encoder, momentum)
        self.ema_step.fill_(step + 1)
        self._settle()
        return momentum

    def evaluation_encoder(self, role: EncoderRole = "target") -> Encoder:
        """The encoder whose features are used afterwards.

        Raises:
            ConfigError: there is no such role.
        """
        return self.target_encoder if checked_role(role) == "target" else self.context_encoder

    def enable_gradient_checkpointing(self, enabled: bool = True) -> None:
        """Keep only block inputs in the forward pass; recompute the rest in the backward pass."""
        for part in (self.context_encoder, self.predictor):
            part = checked(part, CanCheckpointGradients, "gradient_checkpointing: encoder")
            part.enable_gradient_checkpointing(enabled)

    def compile_stacks(self, **options: Any) -> None:
        """`torch.compile` the transformer stacks in place; the state dict keeps its names."""
        for part in (self.context_encoder, self.target_encoder, self.predictor):
            checked(part, CanCompile, "compile: encoder").compile_stacks(**options)

    def _predict(self, video: Tensor, masks: tuple[TokenMask, ...]) -> list[Prediction]:
        """One prediction a mask; the target encoder sees the clip once for all of them."""
        config = self.config
        if config.teacher_dim not in (None, config.level_dim):
            raise ConfigError(
                f"this predictor gives {config.teacher_dim} values a token, as its teacher did; "
                f"the model's own targets have {config.level_dim}: there is nothing to compare. "
                "The encoders can be used as they are; to train, set teacher_dim to null and start "
                "with a fresh predictor"
            )
        encoder = self.target_encoder if config.stop_gradient else self.context_encoder
        clip = None
        with torch.set_grad_enabled(not config.stop_gradient and torch.is_grad_enabled()):
            if config.target_input == "clip":
                clip = self._normed(levels_of(encoder, config, video))
        return [self._predict_one(video, mask, encoder, clip) for mask in masks]

    def _predict_one(
        self, video: Tensor, mask: TokenMask, encoder: Encoder, clip: Tensor | None
    ) -> Prediction:
        config, image = self.config, self.config.image_input and video.shape[2] == 1
        context = levels_of(self.context_encoder, config, video, mask.context_layout)
        predicted, at_context = self.predictor(
            context, mask.context_layout, mask.target_layout, image=image
        )
        predicted = self._as_compared(predicted)
        at_context = None if at_context is None else self._as_compared(at_context)
        with torch.set_grad_enabled(not config.stop_gradient and torch.is_grad_enabled()):
            if clip is None:
                target = self._targets_from_their_frames(encoder, video, mask)
                return Prediction(mask, context, predicted, target)
            target = mask.target_layout.select(clip)
            context_target = None if at_context is None else mask.context_layout.select(clip)
        copied = None
        if mask.last_context_step is not None:
            last = mask.last_context_step * mask.grid.places + mask.target % mask.grid.places
            copied = TokenLayout(mask.grid, last).select(clip.detach())
        return Prediction(mask, context, predicted, target, copied, at_context, context_target)

    def _targets_from_their_frames(
        self, encoder: Encoder, video: Tensor, mask: TokenMask
    ) -> Tensor:
        grid = mask.grid
        steps = torch.unique(mask.target // grid.places)
        tokens = (steps.unsqueeze(1) * grid.places + torch.arange(grid.places)).flatten()
        index = tokens.expand(video.shape[0], -1)
        features = levels_of(encoder, self.config, video, TokenLayout(grid, index, len(steps)))
        at = torch.searchsorted(tokens, mask.target)
        return self._normed(TokenLayout(grid, at).select(features))

    def _as_compared(self, predictions: Tensor) -> Tensor:
        config = self.config
        return normalise_predictions(predictions, config.target_norm, config.predicted_levels)

    def _normed(self, features: Tensor) -> Tensor:
        return normalise_targets(features, self.config.target_norm, self.config.predicted_levels)

    @eager
    def _follow_optimizer(self) -> None:
        if not torch.equal(ema.parameter_sample(self.context_encoder), self._settled):
            self.update_target()

    def _settle(self) -> None:
        self._settled = ema.parameter_sample(self.context_encoder)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        # Moving or casting the model changes its parameters, but is not an optimizer step.
        super()._apply(fn, recurse)
        self._settle()
        return self

    @eager
    @torch.no_grad()
    def _metrics(self, losses: dict[str, Tensor], out: Prediction | None) -> dict[str, float]:
        values = torch.stack([value.detach().float() for value in losses.values()]).tolist()
        metrics = dict(zip(losses, values, strict=True))
        if out is None:
            return metrics
        mask, tokens = out.mask, out.mask.grid.tokens
        context, share = collapse.measure("context", out.context, mask.context, tokens)
        target, target_share = collapse.measure("target", out.target, mask.target, tokens)
        metrics.update(context)
        metrics.update(target)
        if context and target:
            metrics["rank_share"] = min(share, target_share)
        metrics.update(trivial_ratios(out, self.config.loss))
        metrics["target_drift"] = self.target_drift()
        return metrics

    @torch.no_grad()
    def target_drift(self) -> float:
        """Distance between target and context parameters, as a share of the latter's length."""
        online = list(self.context_encoder.parameters())
        pairs = zip(self.target_encoder.parameters(), online, strict=True)
        apart = torch.stack([(mine - theirs).norm() for mine, theirs in pairs]).norm()
        return float(apart / torch.stack([p.norm() for p in online]).norm().clamp(min=1e-12))


def _settle_after_loading(model: VJEPAModel, _: Any) -> None:
    model._settle()
