"""One optimizer step: forward and backward over its micro-batches, then step, then EMA.

zero_grad -> (normalise -> model -> scale -> backward) x accumulation -> unscale -> clip
          -> finite? optimizer.step -> update_target : skip both
"""

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

import torch
from jaxtyping import Float
from torch import Tensor

from nexus.models.contract import Module, SelfSupervisedModel

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TrainingBatch(Protocol):
    """What a model is trained on: samples that are moved to a device, and normalised there."""

    def __len__(self) -> int:
        """Samples."""
        ...

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """The same on a device."""
        ...

    def normalised(self) -> Self:
        """The same as a model takes it."""
        ...


@dataclass(frozen=True)
class StepResult:
    """What one step did."""

    clips: int
    applied: bool
    """Whether the weights moved (and with them the target encoder)."""
    loss: float = math.nan
    """Mean over the clips of the step."""
    grad_norm: float = math.nan
    """Norm of the whole gradient before clipping."""
    momentum: float | None = None
    """What the target encoder kept of itself; none when it did not move."""
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def finite(self) -> bool:
        """Whether loss and gradient were numbers; true of a step that had no clips at all."""
        return self.applied or self.clips == 0


class TrainStep:
    """Takes the micro-batches of a step; knows nothing of files, logs or schedules.

    Args:
        model: answers `loss, metrics = model(batch)`.
        optimizer: over the model's trainable parameters; its rates are set by the caller.
        precision: type of the matrix products; weights and optimizer stay in float32.
        clip_grad: largest gradient norm; none for no clipping.
        device: where the model lives.
    """

    def __init__(
        self,
        model: SelfSupervisedModel,
        optimizer: torch.optim.Optimizer,
        *,
        precision: Precision = "fp32",
        clip_grad: float | None = None,
        device: torch.device,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.precision: Precision = precision
        self.clip_grad = clip_grad
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def __call__(
        self,
        batches: Iterable[TrainingBatch],
        step: int,
        *,
        planned: int = 1,
        meters: bool = False,
    ) -> StepResult:
        """Run one step over its micro-batches, each drawn when the one before is done with.

        The gradient is that of the mean loss over all clips of the step, however they are spread
        over the micro-batches; empty micro-batches are left out.

        Args:
            batches: the micro-batches, of pixels (uint8).
            step: steps before this one, for the model's EMA schedule.
            planned: clips of a step in which no file fails; keeps sums in their final range.
            meters: also compute the collapse meters (their mean over the micro-batches).
        """
        clips = 0
        self.optimizer.zero_grad(set_to_none=True)
        metrics: dict[str, float] = {}
        for batch in batches:
            if not len(batch):
                continue
            clips += len(batch)
            share = len(batch) / planned
            for name, value in self.backward(batch, share, meters=meters).items():
                metrics[name] = metrics.get(name, 0.0) + share * value
        if not clips:
            return StepResult(clips=0, applied=False)
        self.scaler.unscale_(self.optimizer)
        if clips != planned:
            metrics = {name: value * planned / clips for name, value in metrics.items()}
            for gradient in gradients_of(self.model):
                gradient.mul_(planned / clips)
        norm = float(clip_gradient(self.model, self.clip_grad))
        momentum = None
        applied = math.isfinite(metrics["loss"]) and math.isfinite(norm)
        if applied:
            self.scaler.step(self.optimizer)
            momentum = self.model.update_target(step)
        self.scaler.update()
        return StepResult(clips, applied, metrics["loss"], norm, momentum, metrics)

    def backward(
        self, batch: TrainingBatch, share: float = 1.0, *, meters: bool
    ) -> dict[str, float]:
        """Forward and backward of one micro-batch; its gradient is added with weight `share`."""
        batch = batch.to(self.device, non_blocking=True).normalised()
        with self.autocast():
            loss, metrics = self.model(batch, meters=meters)
        self.scaler.scale(loss * share).backward()
        return metrics

    def autocast(self) -> AbstractContextManager:
        """The mixed-precision context of the forward pass."""
        return torch.autocast(
            self.device.type, dtype=DTYPES[self.precision], enabled=self.precision != "fp32"
        )


def gradients_of(model: Module) -> list[Tensor]:
    """The gradients that there are."""
    return [p.grad for p in model.parameters() if p.grad is not None]


def clip_gradient(model: Module, most: float | None) -> Float[Tensor, ""]:
    """Scale all gradients so that their norm is at most `most`; returns the norm before."""
    norm = torch.nn.utils.get_total_norm(gradients_of(model))
    if most is not None:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), most, norm)
    return norm
