"""Prediction losses and target normalisation."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from nexus.nn.grid import Grid

Loss = Literal["mse", "l1"]
TargetNorm = Literal["none", "layer", "l2"]


def normalise_targets(
    targets: Float[Tensor, "batch tokens dim"], kind: TargetNorm, levels: int = 1
) -> Float[Tensor, "batch tokens dim"]:
    """Targets as the loss sees them: plain, layer-normed without affine, or of unit length.

    `levels`: that many equal parts of the last dimension are normalised each on its own.
    """
    if kind == "none":
        return targets
    parts = targets.unflatten(-1, (levels, -1))
    if kind == "layer":
        return F.layer_norm(parts, parts.shape[-1:]).flatten(-2)
    if kind == "l2":
        return F.normalize(parts, dim=-1).flatten(-2)
    raise ValueError(f"target norm {kind!r}; expected none, layer or l2")


def normalise_predictions(
    predictions: Float[Tensor, "batch tokens dim"], kind: TargetNorm, levels: int = 1
) -> Float[Tensor, "batch tokens dim"]:
    """Predictions are left alone except under `l2`, which is the cosine objective on both sides."""
    return normalise_targets(predictions, kind, levels) if kind == "l2" else predictions


def context_weights(
    context: Int[Tensor, "batch context"], target: Int[Tensor, "batch target"], grid: Grid
) -> Float[Tensor, "batch context"]:
    """How much each context token counts in V-JEPA 2.1's dense loss: 1 / sqrt(distance).

    The distance is the Euclidean one, in tokens, to the nearest target token of the same clip
    (arXiv 2603.14482; the published code takes the root before it inverts, as the paper says).
    """
    nearest = [
        torch.cdist(_points(seen, grid), _points(hidden, grid)).amin(dim=1)
        for seen, hidden in zip(context, target, strict=True)
    ]
    return torch.stack(nearest).rsqrt()


def _points(index: Int[Tensor, " tokens"], grid: Grid) -> Float[Tensor, "tokens 3"]:
    place = index % grid.places
    return torch.stack([index // grid.places, place // grid.width, place % grid.width], 1).float()


def token_errors(
    predictions: Float[Tensor, "batch tokens dim"],
    targets: Float[Tensor, "batch tokens dim"],
    loss: Loss,
) -> Float[Tensor, "batch tokens"]:
    """Mean squared or mean absolute difference of each token, over its dimensions."""
    difference = predictions.float() - targets.float()
    return {"mse": torch.square, "l1": torch.abs}[loss](difference).mean(dim=-1)
