"""What a V-JEPA model minimises: the prediction error, with up to two terms beside it."""

from collections.abc import Sequence
from typing import Self

import pydantic
import torch
from torch import Tensor

from nexus.config import Config
from nexus.models.contract import Objective, checked
from nexus.models.objectives.anti_collapse import Regularizer, clip_regularizer
from nexus.models.objectives.losses import Loss, context_weights, token_errors
from nexus.models.objectives.prediction import Prediction
from nexus.registry import Choice, Registry, split_choice

OBJECTIVES = Registry("objective", {"jepa": "nexus.models.objectives.jepa:JepaObjective"})


class ObjectiveConfig(Config):
    """Which objective, and the settings of ours."""

    objective: Choice = "jepa"
    """`jepa`, whose settings are the keys below, or your own, with its own settings:
    `package.module:Class` or `{kind: package.module:Class, ...}`."""
    loss: Loss = "mse"
    """Also the unit in which predictors that learn nothing are compared with ours."""
    prediction_weight: pydantic.NonNegativeFloat = 1.0
    """0 leaves only the regularizer: an arm to compare with, not a way to train."""
    predicts_context: bool = False
    """Also predict the features of the context tokens, with a projection of their own (2.1)."""
    context_loss_weight: pydantic.NonNegativeFloat = 0.0
    """Weight of the same loss at the *context* tokens, each weighted by its distance from the
    targets (2.1's dense loss: 0.5 for video, 0.7 for images); needs `predicts_context`."""
    context_loss_warmup: tuple[pydantic.NonNegativeInt, pydantic.NonNegativeInt] = (0, 0)
    """Optimizer steps between which that weight rises from 0 to its full value."""
    context_weighting_end: pydantic.NonNegativeInt | None = None
    """Optimizer step from which on the context's tokens count alike, whatever their distance, as in
    the cooldown of 2.1; none: never."""
    regularizer: Regularizer = "none"
    """Anti-collapse term on the context encoder's clip means; small data needs a little of it."""
    regularizer_weight: pydantic.NonNegativeFloat = 0.1

    @pydantic.model_validator(mode="after")
    def _objective_fits(self) -> Self:
        build_objective(self)
        regularized = self.regularizer != "none" and self.regularizer_weight > 0
        if self.prediction_weight == 0 and not regularized:
            raise ValueError("prediction_weight 0 without a regularizer leaves nothing to train")
        if (self.context_loss_weight > 0) != self.predicts_context:
            raise ValueError(
                "context_loss_weight and predicts_context belong together: the weight is "
                f"{self.context_loss_weight} and predicts_context is {self.predicts_context}"
            )
        if self.context_loss_warmup[0] > self.context_loss_warmup[1]:
            raise ValueError(f"context_loss_warmup must rise, got {list(self.context_loss_warmup)}")
        plain = (self.prediction_weight, self.predicts_context, self.regularizer)
        if self.objective != "jepa" and plain != (1.0, False, "none"):
            raise ValueError(
                "prediction_weight, predicts_context and regularizer belong to objective 'jepa', "
                f"got objective {self.objective!r}: set them to 1, false and none"
            )
        return self


class JepaObjective:
    """Mean error of the predicted tokens, plus (2.1) the context's, plus an anti-collapse term.

    Each part is the mean over the masks.
    """

    def __init__(self, config: ObjectiveConfig) -> None:
        self.config = config

    def __call__(
        self, predictions: Sequence[Prediction], step: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Parts: `prediction_loss`, and if there are such `context_loss`, `regularizer_loss`."""
        config = self.config
        errors = [token_errors(out.predicted, out.target, config.loss) for out in predictions]
        parts = {"prediction_loss": _mean([each.mean() for each in errors])}
        loss = config.prediction_weight * parts["prediction_loss"]
        if config.predicts_context:
            near = self.near_counts_more(int(step))
            parts["context_loss"] = _mean([self._context_loss(out, near) for out in predictions])
            loss = loss + self.context_loss_weight(int(step)) * parts["context_loss"]
        if config.regularizer != "none":
            terms = [clip_regularizer(out.context, config.regularizer) for out in predictions]
            parts["regularizer_loss"] = _mean(terms)
            loss = loss + config.regularizer_weight * parts["regularizer_loss"]
        return loss, parts

    def context_loss_weight(self, step: int) -> float:
        """The weight of the context loss at this point of the run."""
        start, end = self.config.context_loss_warmup
        share = min(max((step - start) / (end - start), 0.0), 1.0) if end > start else step >= end
        return self.config.context_loss_weight * share

    def near_counts_more(self, step: int) -> bool:
        """Whether the context's tokens count by their distance at this point of the run."""
        end = self.config.context_weighting_end
        return end is None or step < end

    def _context_loss(self, out: Prediction, near_counts_more: bool) -> Tensor:
        assert out.predicted_context is not None and out.context_target is not None
        errors = token_errors(out.predicted_context, out.context_target, self.config.loss)
        if not near_counts_more:
            return errors.mean()
        mask = out.mask
        context, target = mask.context.to(errors.device), mask.target.to(errors.device)
        return (errors * context_weights(context, target, mask.grid).to(errors)).mean()


def build_objective(config: ObjectiveConfig) -> Objective:
    """The objective that the settings name.

    Raises:
        ConfigError: there is none of this name, or it does not take its settings.
    """
    name, _ = split_choice(config.objective, OBJECTIVES.what)
    given = {"config": config} if name in OBJECTIVES.own else {}
    return checked(OBJECTIVES.build(config.objective, **given), Objective, "objective")


def _mean(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(values).mean()
