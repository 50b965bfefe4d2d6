"""A published file as Meta's training loop writes it, which loads it strictly.

    hub                    training
    blocks.0.norm1.weight  module.backbone.blocks.0.norm1.weight   of encoders and predictor
                           opt, scaler                             as before the first step
                           epoch, loss, batch_size, world_size, lr

The loop wraps its networks (`backbone`) and has them in DistributedDataParallel (`module`); its
optimizer has four groups of parameters. nexus and Meta's hub code read either layout.

Source: `init_opt`, `load_checkpoint` and `save_checkpoint` of the published app/vjepa and
app/vjepa_2_1.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nexus.errors import CheckpointError

PREFIX = "module.backbone."
NETWORKS = ("encoder", "target_encoder", "predictor")
BETAS, EPS = (0.9, 0.999), 1e-8
SCALER = {
    "scale": 65536.0,
    "growth_factor": 2.0,
    "backoff_factor": 0.5,
    "growth_interval": 2000,
    "_growth_tracker": 0,
}
"""A gradient scaler's state before its first step; the loop has one unless it trains in float32."""


def training_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """What the training loop would have saved of the networks in a file of the hub's layout.

    Training goes on from epoch 0 with a fresh optimizer; `loss`, `batch_size`, `world_size` and
    `lr` are there for completeness, the loop does not read them.

    Args:
        state: a file's content, see `nexus.checkpoints.official.official_state`.

    Raises:
        CheckpointError: the loop cannot train such a model.
    """
    if missing := [part for part in NETWORKS if part not in state]:
        raise CheckpointError(
            f"the published training loop needs {', '.join(NETWORKS)}; {', '.join(missing)} is not "
            "there (a model with an action-conditioned predictor): choose --layout hub"
        )
    if "ema_encoder" in state:
        raise CheckpointError(
            "these are weights that were distilled from a larger teacher, which the published "
            "training loop cannot do: choose --layout hub"
        )
    named = {part: {PREFIX + n: t for n, t in state[part].items()} for part in NETWORKS}
    opt = optimizer_state(state["encoder"], state["predictor"])
    rest = {"epoch": 0, "loss": 0.0, "batch_size": 1, "world_size": 1}
    lr = opt["param_groups"][0]["lr"]
    return {**state, **named, "opt": opt, "scaler": dict(SCALER), **rest, "lr": lr}


def optimizer_state(
    encoder: Mapping[str, Tensor], predictor: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The state of the loop's AdamW before its first step: weights, then biases and vectors."""
    networks = (encoder, predictor)
    spared = {"WD_exclude": True, "weight_decay": 0}
    groups = [{"params": _fresh(net, vectors=False)} for net in networks]
    groups += [{"params": _fresh(net, vectors=True), **spared} for net in networks]
    return torch.optim.AdamW(groups, betas=BETAS, eps=EPS).state_dict()


def _fresh(network: Mapping[str, Tensor], *, vectors: bool) -> Iterable[nn.Parameter]:
    """Parameters, as many as the network has of one kind; they take no memory."""
    return [
        nn.Parameter(torch.empty(0, device="meta"))
        for name, tensor in network.items()
        if ("bias" in name or tensor.ndim == 1) == vectors
    ]
