"""Clips of a soft blob that drifts over a torus under sensor noise: cheap, and worth learning."""

import math

import torch
from torch import Generator, Tensor


def moving_blobs(
    batch: int, generator: Generator, *, frames: int = 8, side: int = 32, noise: float = 0.3
) -> Tensor:
    """Float clips `(batch, 1, frames, side, side)`."""
    place = torch.rand(batch, 1, 2, generator=generator) * side
    angle = torch.rand(batch, generator=generator) * 2 * math.pi
    speed = 1.5 + 1.5 * torch.rand(batch, 1, generator=generator)
    velocity = speed * torch.stack([angle.cos(), angle.sin()], dim=1)
    radius = 2.5 + 2 * torch.rand(batch, 1, 1, 1, generator=generator)
    centre = (place + torch.arange(frames).view(1, -1, 1) * velocity.unsqueeze(1)) % side
    away = (torch.arange(side) - centre.unsqueeze(-1)).abs()
    away = torch.minimum(away, side - away)
    squared = away[:, :, 0, :, None].square() + away[:, :, 1, None, :].square()
    image = 2 * torch.exp(-squared / (2 * radius**2)) - 0.5
    image = image + noise * torch.randn(image.shape, generator=generator)
    return image.unsqueeze(1)
