"""What one forward pass under one mask gives, and what it is measured against."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nexus.masks.token_mask import TokenMask
from nexus.models.objectives.losses import Loss, token_errors


@dataclass(frozen=True)
class Prediction:
    """One forward pass: features `(batch, tokens, dim)` as the loss compares them."""

    mask: TokenMask
    context: Tensor
    """The context encoder's features of the visible tokens."""
    predicted: Tensor
    target: Tensor
    copied: Tensor | None = None
    """The target features of the same places at the last context step; None without a future."""
    predicted_context: Tensor | None = None
    """Predictions at the context's own tokens, where the predictor makes them."""
    context_target: Tensor | None = None

    @property
    def steps_ahead(self) -> Tensor:
        """Int `(batch, target)`: time steps from the last context step to the target."""
        last = self.mask.last_context_step
        assert last is not None, "this mask has no future"
        return self.mask.target // self.mask.grid.places - last


@torch.no_grad()
def trivial_ratios(out: Prediction, loss: Loss) -> dict[str, float]:
    """Prediction error over the error of predictors that learn nothing; below 1 beats them.

    `error_vs_mean`: the mean feature of the other clips at the same position (needs two clips that
    share their targets' positions, else the mean of all target tokens).
    `error_vs_copy`: the last context step's features, over the tokens after it.
    """
    target, errors = out.target.float(), token_errors(out.predicted, out.target, loss)
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
