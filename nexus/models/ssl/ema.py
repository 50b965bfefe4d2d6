"""The exponential moving average that makes the target encoder (seed, "Target Encoder")."""

import math
from typing import Literal

import torch
from torch import Tensor, nn


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
    progress = min(max(step / max(total_steps, 1), 0.0), 1.0)
    return end - (end - start) * 0.5 * (1.0 + math.cos(math.pi * progress))


@torch.no_grad()
def update(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """In place: `target = momentum * target + (1 - momentum) * online`; buffers are copied."""
    targets: list[Tensor] = list(target.parameters())
    onlines: list[Tensor] = [parameter.detach() for parameter in online.parameters()]
    # One fused pass over all tensors; torch.optim.swa_utils relies on the same function.
    torch._foreach_lerp_(targets, onlines, 1.0 - momentum)  # pyright: ignore
    for mine, theirs in zip(target.buffers(), online.buffers(), strict=True):
        mine.copy_(theirs)


class StepWatcher:
    """Notices that an optimizer has stepped, from the version counters of the parameters.

    Every in-place change of a tensor raises its version, and an optimizer changes its parameters in
    place. So a bare training loop needs no extra call for the EMA to follow, gradient accumulation
    and skipped steps cause no update, and evaluation causes none either.
    """

    def __init__(self, module: nn.Module) -> None:
        self.version = parameter_version(module)

    def changed(self, module: nn.Module) -> bool:
        """Whether any parameter has changed since the last `settle`."""
        return parameter_version(module) != self.version

    def settle(self, module: nn.Module) -> None:
        """Take the parameters as they are now as known."""
        self.version = parameter_version(module)


def parameter_version(module: nn.Module) -> int:
    """The sum of the parameters' version counters."""
    return sum(parameter._version for parameter in module.parameters())
