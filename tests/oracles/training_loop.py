"""How Meta's training loop builds, loads and steps what a checkpoint of it holds.

Written out from the published app/vjepa (`init_opt`, `load_checkpoint`, the loop's schedules): the
networks are wrapped twice, and everything is loaded strictly.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """Parameters of the given names and shapes, nested as the dots say."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            *path, last = name.split(".")
            here: nn.Module = self
            for step in path:
                if not hasattr(here, step):
                    here.add_module(step, nn.Module())
                here = getattr(here, step)
            here.register_parameter(last, nn.Parameter(torch.zeros(shape)))


class Wrapped(nn.Module):
    """A module inside another under one name: `MultiSeqWrapper`, `DistributedDataParallel`."""

    def __init__(self, name: str, inner: nn.Module) -> None:
        super().__init__()
        self.add_module(name, inner)


def wrapped(shapes: Mapping[str, tuple[int, ...]]) -> nn.Module:
    """A network as the loop holds it."""
    return Wrapped("module", Wrapped("backbone", Network(shapes)))


def optimizer(encoder: nn.Module, predictor: nn.Module) -> torch.optim.AdamW:
    """The loop's: weights of both, then what weight decay spares of both."""

    def parts(net: nn.Module, spared: bool) -> list[Tensor]:
        return [p for n, p in net.named_parameters() if ("bias" in n or p.ndim == 1) == spared]

    spared = {"WD_exclude": True, "weight_decay": 0}
    return torch.optim.AdamW(
        [
            {"params": parts(encoder, False)},
            {"params": parts(predictor, False)},
            {"params": parts(encoder, True), **spared},
            {"params": parts(predictor, True), **spared},
        ],
        betas=(0.9, 0.999),
        eps=1e-8,
    )


def load_checkpoint(
    checkpoint: Mapping[str, Any],
    encoder: nn.Module,
    predictor: nn.Module,
    target_encoder: nn.Module,
    opt: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> int:
    """Load all of it strictly; the epoch to go on from."""
    encoder.load_state_dict(checkpoint["encoder"], strict=True)
    predictor.load_state_dict(checkpoint["predictor"], strict=True)
    target_encoder.load_state_dict(checkpoint["target_encoder"], strict=True)
    opt.load_state_dict(checkpoint["opt"])
    scaler.load_state_dict(checkpoint["scaler"])
    return checkpoint["epoch"]


def step(opt: torch.optim.Optimizer, lr: float, weight_decay: float) -> None:
    """One step of the schedules and the optimizer."""
    for group in opt.param_groups:
        group["lr"] = lr
        if not group.get("WD_exclude"):
            group["weight_decay"] = weight_decay
    opt.step()
