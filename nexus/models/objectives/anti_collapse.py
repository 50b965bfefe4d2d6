"""Anti-collapse terms on the features of whole clips."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from nexus.nn.eager import eager

Regularizer = Literal["none", "variance_covariance", "sigreg"]


def clip_regularizer(
    features: Float[Tensor, "batch tokens dim"], kind: Regularizer
) -> Float[Tensor, ""]:
    """The anti-collapse term, on the mean feature of each clip.

    It asks that *clips* differ. Asked of single tokens it is satisfied by their sensor noise: on
    the toy world the features then fill every dimension and still say nothing of direction or
    shape. A batch of one clip has nothing to compare and gives no gradient.
    """
    terms = {"sigreg": sigreg, "variance_covariance": variance_covariance}
    return terms[kind](features.mean(dim=1))


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
