"""Pixel prediction: the same encoder, masks and predictor, but the targets are pixels.

`raw`: the values of the hidden tubelets. `normalised`: each tubelet minus its mean, over its
standard deviation (VideoMAE, arXiv 2203.12602). A baseline to compare `VJEPAModel` with.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

import pydantic
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nexus.data.loading.batch import Batch, clips_of
from nexus.errors import VideoShapeError
from nexus.masks.config import MaskConfig, build_mask, draw_masks
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
from nexus.models.objectives.anti_collapse import Regularizer, clip_regularizer
from nexus.models.objectives.losses import Loss, token_errors
from nexus.models.predictor import MaskedPredictor, PredictorConfig
from nexus.models.presets import SizedConfig
from nexus.models.ssl import collapse
from nexus.models.tubelets import check_video_shape, check_video_values
from nexus.nn.tubelet import split_tubelets


class PixelConfig(SizedConfig, ModelConfig, EncoderConfig, PredictorConfig, MaskConfig):
    """All settings of a `PixelModel`."""

    kind: Literal["pixels"] = "pixels"
    target: Literal["raw", "normalised"] = "raw"
    loss: Loss = "mse"
    regularizer: Regularizer = "none"
    regularizer_weight: pydantic.NonNegativeFloat = 0.1

    @pydantic.model_validator(mode="after")
    def _can_train(self) -> Self:
        build_mask(self).check_fits(self.grid, self.tubelet_size)
        return self


class PixelModel(nn.Module):
    """Predicts the pixels of hidden tubelets; answers `loss, metrics = model(video)`."""

    Config = PixelConfig

    def __init__(self, config: Mapping[str, Any] | PixelConfig) -> None:
        super().__init__()
        if not isinstance(config, PixelConfig):
            config = PixelConfig.from_mapping(config)
        self.config = config
        self.mask = build_mask(config)
        self.context_encoder = build_encoder(config)
        self.predictor = MaskedPredictor(
            config, config, out_dim=config.in_chans * config.tubelet_size * config.patch_size**2
        )

    def forward(
        self, video: Float[Tensor, "batch chans frames rows cols"] | Batch, *, meters: bool = True
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """As `VJEPAModel.forward`, with errors in units of the (normalised) pixel values."""
        config, video = self.config, clips_of(video)
        check_video_shape(video, config)
        if video.shape[2] < config.tubelet_size:
            raise VideoShapeError(
                f"got {video.shape[2]} frame; pixels are predicted for clips of at least "
                f"{config.tubelet_size} frames, whatever image_input says"
            )
        check_video_values(video)
        grid = self.context_encoder.grid_of(video)
        tubelets = self.pixel_targets(video)
        masks = draw_masks(self.mask, grid, video.shape[0], tubelet_size=config.tubelet_size)
        errors = []
        for mask in masks:
            context = levels_of(self.context_encoder, config, video, mask.context_layout)
            predicted, _ = self.predictor(context, mask.context_layout, mask.target_layout)
            target = mask.target_layout.select(tubelets)
            errors.append(token_errors(predicted, target, config.loss).mean())
        mask, prediction_loss = masks[-1], torch.stack(errors).mean()
        loss, parts = prediction_loss, {"prediction_loss": prediction_loss}
        if config.regularizer != "none":
            parts["regularizer_loss"] = clip_regularizer(context, config.regularizer)
            loss = loss + config.regularizer_weight * parts["regularizer_loss"]
        metrics = {name: float(value.detach()) for name, value in {"loss": loss, **parts}.items()}
        if meters:
            found, share = collapse.measure("context", context, mask.context, grid.tokens)
            # One encoder: what is said of the context features holds for the target's.
            twins = {name.replace("context", "target"): found[name] for name in found}
            metrics.update(found | twins | ({"rank_share": share} if found else {}))
        return loss, metrics

    def pixel_targets(self, video: Tensor) -> Float[Tensor, "batch tokens values"]:
        """The values of every tubelet, as configured."""
        config = self.config
        tubelets = split_tubelets(video, config.tubelet_size, config.patch_size).detach().float()
        if config.target == "normalised":
            mean = tubelets.mean(dim=-1, keepdim=True)
            deviation = (tubelets.var(dim=-1, keepdim=True) + 1e-6).sqrt()
            tubelets = (tubelets - mean) / deviation
        return tubelets

    def update_target(self, step: int | None = None) -> float:
        """There is no target encoder: nothing moves. Returns 0."""
        return 0.0

    def evaluation_encoder(self, role: EncoderRole = "target") -> Encoder:
        """The one encoder there is, in either role."""
        checked_role(role)
        return self.context_encoder

    def enable_gradient_checkpointing(self, enabled: bool = True) -> None:
        """As `VJEPAModel.enable_gradient_checkpointing`."""
        for part in (self.context_encoder, self.predictor):
            part = checked(part, CanCheckpointGradients, "gradient_checkpointing: encoder")
            part.enable_gradient_checkpointing(enabled)

    def compile_stacks(self, **options: Any) -> None:
        """As `VJEPAModel.compile_stacks`."""
        for part in (self.context_encoder, self.predictor):
            checked(part, CanCompile, "compile: encoder").compile_stacks(**options)
