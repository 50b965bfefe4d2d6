"""The exponential moving average that makes the target encoder (seed, "Target Encoder")."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nexus.models.contract import Module

SAMPLED_VALUES = 16
"""Values of each parameter in a `parameter_sample`: a step changes them all."""


def momentum_at(
    step: int,
    total_steps: int,
    *,
    start: float,
    end: float,
    schedule: Literal["cosine", "constant"],
) -> float:
    """The momentum of the update after optimizer step `step` (from 0).

    `cosine`: `end - (end - start) * (1 + cos(pi * progress)) / 2`, held at `end` afterwards.
    """
    if schedule == "constant":
        return start
    if schedule != "cosine":
        raise ValueError(f"schedule {schedule!r}; expected cosine or constant")
    progress = min(max(step / max(total_steps, 1), 0.0), 1.0)
    return end - (end - start) * 0.5 * (1.0 + math.cos(math.pi * progress))


@torch.no_grad()
def update(target: Module, online: Module, momentum: float) -> None:
    """In place: `target = momentum * target + (1 - momentum) * online`; buffers are copied."""
    targets: list[Tensor] = list(target.parameters())
    onlines: list[Tensor] = [parameter.detach() for parameter in online.parameters()]
    get_ema_multi_avg_fn(momentum)(targets, onlines, 0)  # one fused pass over all tensors
    for mine, theirs in zip(target.buffers(), online.buffers(), strict=True):
        mine.copy_(theirs)


@torch.no_grad()
def parameter_sample(module: Module) -> Tensor:
    """The first few values of every parameter, one after another: an optimizer's step shows in it.

    So a bare training loop needs no extra call for the EMA to follow, gradient accumulation and
    skipped steps cause no update, and evaluation causes none either. (The tensors' version counters
    would not do: PyTorch's fused optimizers do not raise them.) Biases are among the values: they
    start at zero, so that the smallest step changes them.
    """
    return torch.cat([p.detach().reshape(-1)[:SAMPLED_VALUES] for p in module.parameters()])
