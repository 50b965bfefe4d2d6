"""How far predictions are from what came, in which units, and what keeps latents apart."""

import torch
from jaxtyping import Float
from torch import Tensor

from nexus.models.objectives.anti_collapse import Regularizer, sigreg, variance_covariance
from nexus.models.objectives.losses import Loss
from nexus.models.ssl import collapse

Latents = Float[Tensor, "batch time tokens dim"]
LEAST_CHANGE = 1e-3
"""Where a dimension changes less in a step, its errors count no more than if it changed so much."""


def errors(predicted: Tensor, target: Tensor, loss: Loss) -> Tensor:
    """The error of each number."""
    return (predicted - target).abs() if loss == "l1" else (predicted - target).square()


@torch.no_grad()
def changes(seen: Latents, loss: Loss) -> Float[Tensor, " dim"]:
    """How much each dimension changes in a step, as `errors` count."""
    return errors(seen[:, 1:], seen[:, :-1], loss).mean(dim=(0, 1, 2)).clamp(min=LEAST_CHANGE)


def regularized(seen: Latents, kind: Regularizer) -> Float[Tensor, ""]:
    """The anti-collapse term, on the tokens of all frames."""
    term = sigreg if kind == "sigreg" else variance_covariance
    return term(seen.flatten(0, 2))


@torch.no_grad()
def measured_health(
    seen: Latents, rolled: Float[Tensor, "batch steps tokens dim"], context: int, loss: Loss
) -> dict[str, float]:
    """The meters of collapse, and the rollout's error beside those of trivial predictors.

    Args:
        seen: latents of all frames.
        rolled: the predictions of those after the first `context`.
    """
    batch, time, tokens, _ = seen.shape
    index = torch.arange(tokens).repeat(time).expand(batch, -1)
    health, share = collapse.measure("context", seen.flatten(1, 2), index, tokens)
    twins = {name.replace("context", "target"): value for name, value in health.items()}
    targets = seen[:, context:]
    copied = seen[:, context - 1, None].expand_as(targets)
    mean = seen.mean(dim=(0, 1)).expand_as(targets)
    error = errors(rolled, targets, loss).mean()
    return {
        **health,
        **twins,
        **({"rank_share": share} if health else {}),
        "error_vs_copy": float(error / errors(copied, targets, loss).mean().clamp(min=1e-12)),
        "error_vs_mean": float(error / errors(mean, targets, loss).mean().clamp(min=1e-12)),
    }
