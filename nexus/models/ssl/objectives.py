"""Prediction losses, target normalisation and anti-collapse terms."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor

from nexus.nn.eager import eager
from nexus.nn.grid import Grid

TargetNorm = Literal["none", "layer", "l2"]
Regularizer = Literal["none", "variance_covariance", "sigreg"]


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
    return F.normalize(parts, dim=-1).flatten(-2)


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
    loss: Literal["mse", "l1"],
) -> Float[Tensor, "batch tokens"]:
    """Mean squared or mean absolute difference of each token, over its dimensions."""
    difference = predictions.float() - targets.float()
    return (difference.square() if loss == "mse" else difference.abs()).mean(dim=-1)


def clip_regularizer(
    features: Float[Tensor, "batch tokens dim"], kind: Regularizer
) -> Float[Tensor, ""]:
    """The anti-collapse term, on the mean feature of each clip.

    It asks that *clips* differ. Asked of single tokens it is satisfied by their sensor noise: on
    the toy world the features then fill every dimension and still say nothing of direction or
    shape. A batch of one clip has nothing to compare and gives no gradient.
    """
    clips = features.mean(dim=1)
    return sigreg(clips) if kind == "sigreg" else variance_covariance(clips)


def variance_covariance(features: Float[Tensor, "samples dim"]) -> Float[Tensor, ""]:
    """VICReg's variance hinge plus covariance term (arXiv 2105.04906, equations 1 to 4).

    The mean over dimensions of `max(0, 1 - std)`, plus the squared off-diagonal covariances summed
    and divided by `dim`.
    """
    features = features.float()
    samples, dim = features.shape
    centred = features - features.mean(dim=0)
    covariance = centred.T @ centred / max(samples - 1, 1)
    variance = covariance.diagonal()
    hinge = F.relu(1.0 - (variance + 1e-4).sqrt()).mean()
    off_diagonal = covariance.square().sum() - variance.square().sum()
    return hinge + off_diagonal / dim


def sigreg(
    features: Float[Tensor, "samples dim"],
    *,
    directions: int = 64,
    knots: int = 17,
    reach: float = 5.0,
    generator: Generator | None = None,
) -> Float[Tensor, ""]:
    """Sketched isotropic-Gaussian regularisation (LeJEPA, arXiv 2511.08544).

    Random unit directions; along each, the Epps-Pulley distance between the empirical
    characteristic function of the projections and that of a standard normal, weighted by
    `exp(-t^2 / 2)` and integrated over `t` in `[-reach, reach]` by the trapezoid rule; the mean
    over directions. The paper's factor `samples` is left out, so that the weight means the same
    for any batch size.
    """
    features = features.float()
    projected = features @ _directions(features.shape[1], directions, generator).to(features.device)
    t = torch.linspace(-reach, reach, knots, device=features.device)
    gaussian = torch.exp(-t.square() / 2)
    angles = projected.unsqueeze(-1) * t
    real = angles.cos().mean(dim=0) - gaussian
    imaginary = angles.sin().mean(dim=0)
    distance = (real.square() + imaginary.square()) * gaussian
    return torch.trapezoid(distance, t, dim=-1).mean()


@eager
def _directions(dim: int, count: int, generator: Generator | None) -> Float[Tensor, "dim count"]:
    """Random unit vectors, drawn on the CPU: a seed gives the same ones on any device."""
    return F.normalize(torch.randn(dim, count, generator=generator), dim=0)
