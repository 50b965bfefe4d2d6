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
from dataclasses import dataclass
from typing import Any, Literal, Self

import pydantic
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from nexus.models.encoder import (
    EncoderConfig,
    VideoEncoder,
    check_video_shape,
    check_video_values,
)
from nexus.models.predictor import MaskedPredictor, PredictorConfig
from nexus.models.presets import SizedConfig
from nexus.models.ssl import collapse, ema
from nexus.models.ssl.masks import (
    MaskConfig,
    TokenMask,
    check_fits,
    draw_mask,
    future_mask,
    future_steps,
)
from nexus.models.ssl.objectives import (
    Regularizer,
    TargetNorm,
    clip_regularizer,
    normalise_predictions,
    normalise_targets,
    token_errors,
)
from nexus.nn.eager import eager
from nexus.nn.grid import TokenLayout


class VJEPAConfig(SizedConfig, EncoderConfig, PredictorConfig, MaskConfig):
    """All settings of a `VJEPAModel`; the defaults are the seed's."""

    loss: Literal["mse", "l1"] = "mse"
    target_norm: TargetNorm = "none"
    target_input: Literal["clip", "target_frames"] = "clip"
    """What the target encoder sees: the whole clip (the seed's text, the published code), or only
    the time steps that hold targets (the seed's diagram)."""
    prediction_weight: pydantic.NonNegativeFloat = 1.0
    """0 leaves only the regularizer: an arm to compare with, not a way to train."""
    regularizer: Regularizer = "none"
    """Anti-collapse term on the context encoder's clip means; small data needs a little of it."""
    regularizer_weight: pydantic.NonNegativeFloat = 0.1
    ema_momentum: float = pydantic.Field(0.996, ge=0.0, le=1.0)
    ema_momentum_end: float = pydantic.Field(1.0, ge=0.0, le=1.0)
    ema_schedule: Literal["cosine", "constant"] = "cosine"
    ema_steps: pydantic.PositiveInt = 100_000
    """Optimizer steps from `ema_momentum` to `ema_momentum_end`; nexus' own loop sets it to the
    length of the run."""
    stop_gradient: bool = True
    """False makes a run that collapses: it is there to show what the meters say then."""

    @pydantic.model_validator(mode="after")
    def _can_train(self) -> Self:
        check_fits(self, self.grid, self.tubelet_size)
        regularized = self.regularizer != "none" and self.regularizer_weight > 0
        if self.prediction_weight == 0 and not regularized:
            raise ValueError("prediction_weight 0 without a regularizer leaves nothing to train")
        return self


@dataclass(frozen=True)
class Prediction:
    """One forward pass: features `(batch, tokens, dim)` as the loss compares them."""

    mask: TokenMask
    context: Tensor
    """The context encoder's features of the visible tokens."""
    predicted: Tensor
    target: Tensor
    copied: Tensor | None
    """The target features of the same places at the last context step; None without a future."""

    @property
    def steps_ahead(self) -> Tensor:
        """Int `(batch, target)`: time steps from the last context step to the target."""
        last = self.mask.last_context_step
        assert last is not None, "this mask has no future"
        return self.mask.target // self.mask.grid.places - last


class VJEPAModel(nn.Module):
    """A video joint-embedding predictive model; answers `loss, metrics = model(video)`.

    Args:
        config: a plain mapping with the seed's keys, or a `VJEPAConfig`.

    Raises:
        ConfigError: an unknown key (the nearest known one is named) or an impossible value.
    """

    ema_step: Tensor

    def __init__(self, config: Mapping[str, Any] | VJEPAConfig) -> None:
        super().__init__()
        if not isinstance(config, VJEPAConfig):
            config = VJEPAConfig.from_mapping(config)
        self.config = config
        self.context_encoder = VideoEncoder(config)
        self.predictor = MaskedPredictor(
            config,
            grid=config.grid,
            in_dim=config.encoder_dim,
            out_dim=config.encoder_dim,
            positions=config.positions,
        )
        self.target_encoder = copy.deepcopy(self.context_encoder).requires_grad_(False)
        self.register_buffer("ema_step", torch.zeros((), dtype=torch.int64))
        self._watcher = ema.StepWatcher(self.context_encoder)
        self.register_load_state_dict_post_hook(_settle_after_loading)

    def forward(
        self, video: Float[Tensor, "batch chans frames rows cols"], *, meters: bool = True
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """Draw a mask, predict the hidden tokens' features, compare.

        In training mode the target encoder first follows an optimizer step that was taken since
        the last call, so a bare loop needs nothing else. (The seed's snippet moves it inside each
        forward: before the step, and once per micro-batch under accumulation.)

        Args:
            video: normalised float clips; sides and length multiples of the tubelet's.
            meters: also compute the collapse meters of `nexus.models.ssl.collapse`.

        Returns:
            The loss to call `backward()` on, and plain numbers: `loss`, `prediction_loss`,
            `regularizer_loss` (if there is one) and the meters.

        Raises:
            VideoShapeError: the video does not fit, or holds NaN or infinite values.
        """
        check_video_shape(video, self.config)
        check_video_values(video)
        if self.training and torch.is_grad_enabled():
            self._follow_optimizer()
        out = self._predict(video, self.draw_mask(video))
        errors = token_errors(out.predicted, out.target, self.config.loss)
        prediction_loss = errors.mean()
        loss = self.config.prediction_weight * prediction_loss
        parts = {"prediction_loss": prediction_loss}
        if self.config.regularizer != "none":
            parts["regularizer_loss"] = clip_regularizer(out.context, self.config.regularizer)
            loss = loss + self.config.regularizer_weight * parts["regularizer_loss"]
        return loss, self._metrics({"loss": loss, **parts}, out, errors if meters else None)

    def predict(self, video: Tensor, mask: TokenMask | None = None) -> Prediction:
        """Predict hidden tokens without a loss; default: every token after the context's frames.

        Raises:
            VideoShapeError: the video does not fit.
        """
        grid = self.context_encoder.grid_of(video)
        if mask is None:
            config = self.config
            steps = (grid.time // 2, grid.time - grid.time // 2)
            if config.mask == "future":
                steps = future_steps(config, grid, config.tubelet_size)
            mask = future_mask(grid, video.shape[0], *steps)
        return self._predict(video, mask)

    def draw_mask(self, video: Tensor, generator: Generator | None = None) -> TokenMask:
        """A mask for a batch of clips; the CPU's global generator is used unless one is given."""
        grid = self.context_encoder.grid_of(video)
        return draw_mask(
            self.config,
            grid,
            video.shape[0],
            tubelet_size=self.config.tubelet_size,
            generator=generator,
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
            config.ema_steps,
            start=config.ema_momentum,
            end=config.ema_momentum_end,
            schedule=config.ema_schedule,
        )
        ema.update(self.target_encoder, self.context_encoder, momentum)
        self.ema_step.fill_(step + 1)
        self._settle()
        return momentum

    def evaluation_encoder(self, which: Literal["target", "context"] = "target") -> VideoEncoder:
        """The encoder whose features are used afterwards."""
        return self.target_encoder if which == "target" else self.context_encoder

    def enable_gradient_checkpointing(self, enabled: bool = True) -> None:
        """Keep only block inputs in the forward pass; recompute the rest in the backward pass."""
        self.context_encoder.stack.checkpointing = enabled
        self.predictor.stack.checkpointing = enabled

    def compile_stacks(self, **options: Any) -> None:
        """`torch.compile` the transformer stacks in place; the state dict keeps its names."""
        for module in (self.context_encoder, self.target_encoder, self.predictor):
            module.stack.compile(**options)

    def _predict(self, video: Tensor, mask: TokenMask) -> Prediction:
        context = self.context_encoder(video, mask.context_layout)
        predicted = self.predictor(context, mask.context_layout, mask.target_layout)
        target, copied = self._targets(video, mask)
        predicted = normalise_predictions(predicted, self.config.target_norm)
        return Prediction(mask, context, predicted, target, copied)

    def _targets(self, video: Tensor, mask: TokenMask) -> tuple[Tensor, Tensor | None]:
        """Target features at the mask's target tokens, and copies of the last context step's."""
        encoder = self.target_encoder if self.config.stop_gradient else self.context_encoder
        with torch.set_grad_enabled(not self.config.stop_gradient and torch.is_grad_enabled()):
            if self.config.target_input == "target_frames":
                return self._targets_from_their_frames(encoder, video, mask), None
            clip = normalise_targets(encoder(video), self.config.target_norm)
            target = mask.target_layout.select(clip)
        if mask.last_context_step is None:
            return target, None
        last = mask.last_context_step * mask.grid.places + mask.target % mask.grid.places
        return target, TokenLayout(mask.grid, last).select(clip.detach())

    def _targets_from_their_frames(
        self, encoder: VideoEncoder, video: Tensor, mask: TokenMask
    ) -> Tensor:
        grid = mask.grid
        steps = torch.unique(mask.target // grid.places)
        tokens = (steps.unsqueeze(1) * grid.places + torch.arange(grid.places)).flatten()
        index = tokens.expand(video.shape[0], -1)
        features = encoder(video, TokenLayout(grid, index, len(steps)))
        at = torch.searchsorted(tokens, mask.target)
        picked = TokenLayout(grid, at).select(features)
        return normalise_targets(picked, self.config.target_norm)

    @eager
    def _follow_optimizer(self) -> None:
        if self._watcher.changed(self.context_encoder):
            self.update_target()

    def _settle(self) -> None:
        self._watcher.settle(self.context_encoder)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        # Moving or casting the model changes its parameters, but is not an optimizer step.
        super()._apply(fn, recurse)
        self._settle()
        return self

    @eager
    @torch.no_grad()
    def _metrics(
        self, losses: dict[str, Tensor], out: Prediction, errors: Tensor | None
    ) -> dict[str, float]:
        values = torch.stack([value.detach().float() for value in losses.values()]).tolist()
        metrics = dict(zip(losses, values, strict=True))
        if errors is None:
            return metrics
        mask, tokens = out.mask, out.mask.grid.tokens
        context, share = collapse.measure("context", out.context, mask.context, tokens)
        target, target_share = collapse.measure("target", out.target, mask.target, tokens)
        metrics.update(context)
        metrics.update(target)
        if context and target:
            metrics["rank_share"] = min(share, target_share)
        metrics.update(trivial_ratios(out, errors, self.config.loss))
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


@torch.no_grad()
def trivial_ratios(out: Prediction, errors: Tensor, loss: Literal["mse", "l1"]) -> dict[str, float]:
    """Prediction error over the error of predictors that learn nothing; below 1 beats them.

    `error_vs_mean`: the mean feature of the other clips at the same position (needs two clips that
    share their targets' positions, else the mean of all target tokens).
    `error_vs_copy`: the last context step's features, over the tokens after it.
    """
    target = out.target.float()
    batch = target.shape[0]
    aligned = batch > 1 and bool((out.mask.target == out.mask.target[:1]).all())
    if aligned:
        mean = (target.sum(dim=0, keepdim=True) - target) / (batch - 1)
    else:
        mean = target.mean(dim=(0, 1), keepdim=True).expand_as(target)
    tiny = 1e-12
    error_of_mean = token_errors(mean, target, loss).mean().clamp(min=tiny)
    ratios = {"error_vs_mean": float(errors.mean() / error_of_mean)}
    if out.copied is not None:
        future = out.mask.future_targets().to(errors.device)
        error_of_copy = token_errors(out.copied, target, loss)[future].mean().clamp(min=tiny)
        ratios["error_vs_copy"] = float(errors[future].mean() / error_of_copy)
    return ratios
