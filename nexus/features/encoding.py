"""A frozen encoder at work: pixels in, pooled features out; and what identifies its weights."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal

import pydantic
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from nexus.checkpoints.weights import tensor_digest
from nexus.config import Config
from nexus.data.loading.batch import normalise
from nexus.digest import digest
from nexus.errors import DataError, NexusError
from nexus.models.contract import Encoder, Module
from nexus.models.heads import AttentiveHead
from nexus.nn.grid import Grid
from nexus.training.cpu import plain_type, tune

TOKENS_AT_ONCE = 65_536
"""Tokens that an encoder is shown at a time, or those of one clip if it has more: what it holds
grows with them (ViT-L: about 1 GB for the widest tensor of a block in fp32)."""
CLIPS_AT_ONCE = 32

Progress = Callable[[int, int], None]
"""Called with how much is done, and how much there is in all."""
TokenPooling = Literal["mean", "mean_time", "tokens", "attentive"]
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class FeatureConfig(Config):
    """How features are computed; see `nexus.features.table.Pooling` for the kinds of pooling."""

    pooling: TokenPooling = "mean"
    layers: tuple[int, ...] = (-1,)
    """Blocks, from 0 and rising, whose features stand side by side; -1 is the last one."""
    batch_size: pydantic.PositiveInt = 32
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """fp32, or autocast to half precision; the features are kept as float32 either way (tokens as
    float16)."""


@contextmanager
def frozen(model: Module) -> Iterator[None]:
    """Eval mode, no gradients, this processor's kernels; afterwards the modules' modes are back."""
    tune(model)
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def encode(
    encoder: Encoder,
    video: UInt8[Tensor, "batch channels time height width"],
    config: FeatureConfig,
    head: AttentiveHead | None = None,
) -> tuple[Float[ndarray, "batch *features"], Grid]:
    """Features of a batch, as `nexus.features.table.Pooling` says; call it under `frozen(encoder)`.

    Args:
        head: the trained probe that pools, under `attentive` pooling; on the encoder's device.

    Raises:
        NexusError: the features are not finite.
    """
    layers, grid = encode_tokens(encoder, video, config)
    tokens = torch.cat(layers, dim=-1)
    if config.pooling == "attentive":
        assert head is not None
        pooled = head.pooled(torch.cat(layers, dim=1))
    elif config.pooling == "mean":
        pooled = tokens.mean(dim=1)
    elif config.pooling == "mean_time":
        pooled = tokens.unflatten(1, (grid.time, grid.places)).mean(dim=2).flatten(1)
    else:
        pooled = tokens.half()
    return pooled.cpu().numpy(), grid


def encode_tokens(
    encoder: Encoder,
    video: UInt8[Tensor, "batch channels time height width"],
    config: FeatureConfig,
) -> tuple[list[Float[Tensor, "batch tokens dim"]], Grid]:
    """All tokens of a batch, float32, after each layer; on the encoder's device.

    Raises:
        NexusError: the features are not finite.
    """
    device = device_of(encoder)
    clips = normalise(video.to(device))
    grid = encoder.grid_of(clips)
    with autocast(config.precision, device):
        layers = [tokens.float() for tokens in encoder.features(clips, None, config.layers)]
    if not all(bool(torch.isfinite(tokens).all()) for tokens in layers):
        raise NexusError(
            "the encoder gives features that are not finite numbers; expected finite ones. Its "
            "weights may have diverged (see the run's journal)"
            + (
                ""
                if config.precision == "fp32"
                else f", or {config.precision} is too narrow: try fp32"
            )
        )
    return layers, grid


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Half precision where it may be used, or (fp32) nowhere."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def check_layers(encoder: Encoder, layers: Sequence[int]) -> None:
    """Raise DataError unless the layers are blocks of the encoder, in rising order."""
    depth = encoder.depth
    rising = all(low < high for low, high in pairwise(layers))
    inside = bool(layers) and layers[0] >= 0 and layers[-1] < depth
    if tuple(layers) != (-1,) and not (rising and inside):
        raise DataError(
            f"layers {', '.join(map(str, layers)) or '(none)'}: expected rising block numbers from "
            f"0 to {depth - 1}, as in {', '.join(map(str, _spread_layers(depth)))}"
        )


def _spread_layers(depth: int) -> list[int]:
    return sorted({depth * quarter // 4 - 1 for quarter in range(1, 5)} - {-1})


def fitting_batch(encoder: Encoder, num_frames: int, sides: tuple[int, int]) -> int:
    """How many clips of this many frames and pixels (height, width) to encode at a time."""
    tokens = encoder.grid_for(num_frames, sides).tokens
    return max(1, min(CLIPS_AT_ONCE, TOKENS_AT_ONCE // tokens))


def device_of(model: Module) -> torch.device:
    """Where the first parameter lies."""
    return next(model.parameters()).device


def encoder_digest(encoder: Module) -> str:
    """A hash of the weights and of every module's plain settings.

    The settings count because the same weights compute something else with another number of
    heads, say.
    """
    settings = [
        f"{name} {plain_type(module).__qualname__} {key} {value!r}"
        for name, module in encoder.named_modules()
        for key, value in sorted(vars(module).items())
        if isinstance(value, int | float | str | tuple | Config) and key not in _PASSING
    ]
    return digest([*settings, tensor_digest(encoder.state_dict(), exact=True)])


_PASSING = {"training", "checkpointing", "call_super_init", "dump_patches"}
