"""A frozen encoder at work: pixels in, pooled features out; and what identifies its weights."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import pydantic
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn

from nexus.config import Config
from nexus.data.augment import normalise
from nexus.errors import NexusError
from nexus.models.encoder import VideoEncoder
from nexus.nn.grid import Grid

TokenPooling = Literal["mean", "mean_time", "tokens"]
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class FeatureConfig(Config):
    """How features are computed; see `nexus.evaluation.table.Pooling` for the kinds of pooling."""

    pooling: TokenPooling = "mean"
    batch_size: pydantic.PositiveInt = 32
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """fp32, or autocast to half precision; the features are kept as float32 either way."""


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients; afterwards every module is in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def encode(
    encoder: VideoEncoder,
    video: UInt8[Tensor, "batch channels time height width"],
    config: FeatureConfig,
) -> tuple[Float[ndarray, "batch *features"], Grid]:
    """Pooled features of a batch on the encoder's device; call it under `frozen(encoder)`.

    Raises:
        NexusError: the features are not finite.
    """
    device = device_of(encoder)
    clips = normalise(video.to(device))
    grid = encoder.grid_of(clips)
    dtype = PRECISIONS[config.precision]
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        tokens = encoder(clips)
    features = pool(tokens.float(), grid, config.pooling).cpu().numpy()
    if not np.isfinite(features).all():
        raise NexusError(
            "the encoder gives features that are not finite numbers; expected finite ones. Its "
            "weights may have diverged (see the run's journal)"
            + ("" if dtype is None else f", or {config.precision} is too narrow: try fp32")
        )
    return features, grid


def pool(
    tokens: Float[Tensor, "batch tokens dim"], grid: Grid, pooling: TokenPooling
) -> Float[Tensor, "batch *features"]:
    """Pool time-major tokens as `nexus.evaluation.table.Pooling` says; `tokens` become float16."""
    if pooling == "tokens":
        return tokens.half()
    if pooling == "mean":
        return tokens.mean(dim=1)
    return tokens.unflatten(1, (grid.time, grid.places)).mean(dim=2).flatten(1)


def device_of(model: nn.Module) -> torch.device:
    """Where the first parameter lies."""
    return next(model.parameters()).device


def weights_identity(encoder: nn.Module) -> str:
    """A hash of the weights and of every module's plain settings.

    The settings count because the same weights compute something else with another number of
    heads, say.
    """
    digest = hashlib.sha256()
    for name, module in encoder.named_modules():
        plain = {
            key: value
            for key, value in sorted(vars(module).items())
            if isinstance(value, int | float | str | tuple | Config) and key not in _PASSING
        }
        digest.update(f"{name} {type(module).__qualname__} {plain!r}\n".encode())
    for name, value in encoder.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()


_PASSING = {"training", "checkpointing", "call_super_init", "dump_patches"}
