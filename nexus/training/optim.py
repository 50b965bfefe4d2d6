"""AdamW and its two parameter groups."""

from typing import Self

import pydantic
import torch
from torch import nn

from nexus.config import Config
from nexus.models.contract import Module
from nexus.training.schedules import Schedule, learning_rate, weight_decay


class OptimConfig(Config):
    """Optimizer, its schedules and clipping; steps are optimizer steps."""

    lr: float = pydantic.Field(default=1e-3, gt=0)
    """Peak learning rate, reached at the end of the warm-up."""
    start_lr: float = pydantic.Field(default=0.0, ge=0)
    """Learning rate from which the warm-up starts."""
    final_lr: float = pydantic.Field(default=1e-6, ge=0)
    """Learning rate at the end of the run (`constant`: at the end of the cooldown)."""
    warmup_steps: pydantic.NonNegativeInt = 0
    schedule: Schedule = "cosine"
    """What follows the warm-up: half a cosine, or `constant` and a linear cooldown (V-JEPA 2)."""
    cooldown_steps: pydantic.NonNegativeInt = 0
    """The last steps of a `constant` schedule, over which the rate falls to `final_lr`."""
    weight_decay: float = pydantic.Field(default=0.04, ge=0)
    weight_decay_end: float | None = pydantic.Field(default=None, ge=0)
    """Weight decay at the end of the run (half a cosine); none: constant."""
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = pydantic.Field(default=1e-8, gt=0)
    clip_grad: float | None = pydantic.Field(default=1.0, gt=0)
    """Largest norm of the whole gradient; none: no clipping."""

    @pydantic.model_validator(mode="after")
    def _betas_in_range(self) -> Self:
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), got {list(self.betas)}")
        return self

    @pydantic.model_validator(mode="after")
    def _schedule_makes_sense(self) -> Self:
        if self.cooldown_steps and self.schedule != "constant":
            raise ValueError(
                f"cooldown_steps {self.cooldown_steps} belongs to schedule 'constant', got "
                f"schedule {self.schedule!r}"
            )
        if self.start_lr > self.lr:
            raise ValueError(
                f"start_lr {self.start_lr:g} is where the warm-up to lr starts and cannot be above "
                f"it, got lr {self.lr:g}"
            )
        return self

    def check_length(self, steps: int) -> None:
        """Check that warm-up and cooldown fit into a run.

        Raises:
            ValueError: together they are longer than the run.
        """
        if self.schedule == "constant" and 0 < steps < self.warmup_steps + self.cooldown_steps:
            raise ValueError(
                f"optim.warmup_steps {self.warmup_steps} and optim.cooldown_steps "
                f"{self.cooldown_steps} do not fit into training.steps {steps}; shorten them too"
            )


def parameter_groups(model: Module) -> tuple[list[str], list[str]]:
    """The names of the trainable parameters (with decay, without), in the model's order.

    Weight decay acts on weight matrices and kernels only: not on biases, norms and scales
    (one-dimensional), nor on bare parameters such as position tables, mask and query tokens (not
    called `weight`), nor on embeddings.
    """
    with_decay, without = [], []
    for name, parameter in model.named_parameters():
        owner, _, leaf = name.rpartition(".")
        embedding = isinstance(model.get_submodule(owner), nn.Embedding)
        decays = parameter.ndim >= 2 and leaf.endswith("weight") and not embedding
        if parameter.requires_grad:
            (with_decay if decays else without).append(name)
    return with_decay, without


def build_optimizer(model: Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters, in the two groups of `parameter_groups`."""
    parameters = dict(model.named_parameters())
    groups = [
        {"params": [(name, parameters[name]) for name in names], "decays": decays}
        for names, decays in zip(parameter_groups(model), (True, False), strict=True)
        if names
    ]
    optimizer = torch.optim.AdamW(groups, betas=config.betas, eps=config.eps, fused=True)
    set_rates(optimizer, lr=config.lr, weight_decay=config.weight_decay)
    return optimizer


def rates_at(config: OptimConfig, step: int, *, steps: int) -> dict[str, float]:
    """`lr` and `weight_decay` of a step in [0, steps)."""
    start, end = config.weight_decay, config.weight_decay_end
    return {
        "lr": learning_rate(
            step,
            steps=steps,
            peak=config.lr,
            warmup_steps=config.warmup_steps,
            final=config.final_lr,
            start=config.start_lr,
            schedule=config.schedule,
            cooldown_steps=config.cooldown_steps,
        ),
        "weight_decay": weight_decay(
            step, steps=steps, start=start, end=start if end is None else end
        ),
    }


def set_rates(optimizer: torch.optim.Optimizer, *, lr: float, weight_decay: float) -> None:
    """Set the rates of the step that comes next; the group without decay stays without."""
    for group in optimizer.param_groups:
        group["lr"] = lr
        group["weight_decay"] = weight_decay if group["decays"] else 0.0
