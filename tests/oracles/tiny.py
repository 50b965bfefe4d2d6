"""A model small enough for a test, and clips that fit it."""

from typing import Any

import torch
from torch import Tensor, nn

from nexus.models.ssl import VJEPAModel

TINY: dict[str, Any] = {
    "img_size": 16,
    "num_frames": 8,
    "in_chans": 3,
    "patch_size": 4,
    "tubelet_size": 2,
    "encoder_dim": 24,
    "num_heads": 2,
    "num_spatial_layers": 2,
    "num_temporal_layers": 1,
    "predictor_dim": 16,
    "predictor_heads": 2,
    "num_predictor_layers": 1,
    "mlp_ratio": 2.0,
}

SMALL_SIZE = (
    "model.patch_size=8",
    "model.encoder_dim=24",
    "model.num_heads=2",
    "model.num_spatial_layers=2",
    "model.num_temporal_layers=1",
    "model.predictor_dim=24",
    "model.predictor_heads=2",
    "model.num_predictor_layers=1",
)
"""Overrides that make any recipe's model small; width that three rotary parts fit into."""


def tiny_model(*, seed: int = 0, **changes: Any) -> VJEPAModel:
    """A tiny `VJEPAModel` whose weights are a function of the seed."""
    torch.manual_seed(seed)
    return VJEPAModel({**TINY, **changes})


def clips(
    batch: int = 2,
    *,
    seed: int = 0,
    frames: int = 8,
    height: int = 16,
    width: int = 16,
    chans: int = 3,
) -> Tensor:
    """Clips of noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, chans, frames, height, width, generator=generator)


@torch.no_grad()
def stir(module: nn.Module, *, seed: int = 0, scale: float = 0.3) -> None:
    """Give every parameter a part in the result: zero biases and unit gains hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def weights(module: nn.Module) -> list[Tensor]:
    """Copies of the parameters as they are now."""
    return [parameter.detach().clone() for parameter in module.parameters()]


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    """Whether two lists of tensors are bit-identical."""
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))
