"""The model that published tensors belong to, read off their shapes.

What leaves no trace in a shape is taken from the published sizes (heads, levels, and how many
blocks there should be, so that a missing last block is noticed). All names here are ours, without
the part in front (`context_encoder.`, `predictor.`).

Source: the published configurations of V-JEPA 2 and 2.1 (arXiv 2506.09985, 2603.14482).
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nexus.errors import CheckpointError
from nexus.models.presets import PRESETS
from nexus.models.ssl import VJEPAConfig

PUBLISHED = [size for name, size in PRESETS.items() if name.startswith("vit_")]
ENCODERS = {size.encoder_dim: size for size in PUBLISHED}
"""Published encoders by their width."""

HEAD_WIDTH = 64
"""Of the heads of every other encoder."""

PREDICTOR_DIM, PREDICTOR_HEADS = PUBLISHED[0].predictor_dim, PUBLISHED[0].predictor_heads
"""The predictor that all published encoders have."""

PREDICTOR_HEAD_WIDTH = 32
"""Of the heads of every other predictor."""

PREDICTOR_DEPTHS = {"vjepa2": (12,), "vjepa2_1": (12, 24)}

LEVELS = {12: (2, 5, 8, 11), 24: (5, 11, 17, 23), 40: (9, 19, 29, 39), 48: (11, 23, 37, 47)}
"""2.1: the blocks that have a norm of their own, by the encoder's depth."""

ROPE_STRETCH = 16

RECIPE = {
    "mask": "multiblock",
    "mask_trim": "end",
    "loss": "l1",
    "target_norm": "layer",
    "ema_momentum": 0.99925,
    "ema_momentum_end": 0.99925,
    "ema_schedule": "constant",
    "mask_token_std": 0.0,
}
"""How the published models were trained, as far as a model's settings say it."""

CONTEXT_LOSS_WEIGHT = 0.5

PUBLISHED_SIDES = {"vjepa2": 256, "vjepa2_1": 384, "vjepa2_ac": 256}
NAMED_SIDES = {
    **dict.fromkeys(("vitl", "vith", "vitg", "vjepa2-ac-vitg"), 256),
    **dict.fromkeys(("vitg-384", "vjepa2_1_vitg_384", "vjepa2_1_vitG_384"), 384),
    **dict.fromkeys(("vjepa2_1_vitb_dist_vitG_384", "vjepa2_1_vitl_dist_vitG_384"), 384),
}
"""Pixels a side of the clips of published files, by their names."""
SIDE_IN_NAME = re.compile(r"(?<!\d)(\d{3})(?!\d)")


def clip_side(kind: str, name: str) -> tuple[int, str]:
    """Pixels a side of the clips of a file, which its tensors do not tell.

    Args:
        kind: "vjepa2", "vjepa2_1" or "vjepa2_ac".
        name: of the file.

    Returns:
        The side and, where it is a guess, a sentence that says what it was guessed from.
    """
    stem = name.rpartition(".")[0] or name
    if stem in NAMED_SIDES:
        return NAMED_SIDES[stem], ""
    told = {int(number) for number in SIDE_IN_NAME.findall(stem) if int(number) % 16 == 0}
    side, why = PUBLISHED_SIDES[kind], "as published files of this kind have"
    if len(told) == 1:
        side, why = told.pop(), f"from its name, {name}"
    return side, (
        f"the file does not say how large its pictures are: {side} x {side} pixels are assumed, "
        f"{why}; if they are others, say so (--img-size, config={{'img_size': ...}})"
    )


def published_settings(
    kind: str,
    encoder: Mapping[str, Tensor],
    predictor: Mapping[str, Tensor],
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """The settings of a model of V-JEPA 2 or 2.1, except for the size of its clips.

    Args:
        kind: "vjepa2" or "vjepa2_1".
        encoder: its tensors, by our names.
        predictor: its tensors, or none where the file has none.
        given: settings that are known better; they win over what is inferred.

    Raises:
        CheckpointError: a tensor that tells of the architecture is missing or of an odd shape.
    """
    settings = {"factorized": False, **RECIPE, **_encoder(encoder, given)}
    if kind == "vjepa2":
        settings["positions"] = "rope_tiled"
    else:
        depth = settings["num_spatial_layers"] + given.get("num_temporal_layers", 0)
        settings |= _levels(encoder, depth, given)
    if predictor:
        settings |= _predictor(kind, predictor, {**settings, **given})
    elif kind == "vjepa2_1":
        settings["predicted_levels"] = len(settings["feature_levels"])
    return {**settings, **given}


def _encoder(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, Any]:
    dim, chans, tubelet, patch, _ = shape_of(tensors, "embed.proj.weight", 5)
    size = ENCODERS.get(dim)
    depth = given.get("num_spatial_layers") or (
        size.num_spatial_layers if size else blocks_in(tensors)
    )
    settings = {
        "encoder_dim": dim,
        "in_chans": chans,
        "tubelet_size": tubelet,
        "patch_size": patch,
        "num_spatial_layers": depth,
        "num_temporal_layers": 0,
        "num_heads": size.num_heads if size else max(1, dim // HEAD_WIDTH),
    }
    return {**settings, **_mlp(tensors, dim)}


def _levels(tensors: Mapping[str, Tensor], depth: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """What 2.1 has beyond 2.0."""
    levels = given.get("feature_levels") or LEVELS.get(depth)
    if levels is None:
        raise CheckpointError(
            f"an encoder of {depth} blocks is none of the published ones, and which of its blocks "
            "have norms of their own cannot be told; give them, for example "
            "config={'feature_levels': [1, 3]}"
        )
    return {
        "positions": "rope_interleaved",
        "rope_stretch": ROPE_STRETCH,
        "image_input": "embed_image.proj.weight" in tensors,
        "modality_embedding": "video_modality" in tensors,
        "feature_levels": tuple(levels),
    }


def _predictor(
    kind: str, tensors: Mapping[str, Tensor], encoder: Mapping[str, Any]
) -> dict[str, Any]:
    tokens, dim = shape_of(tensors, "mask_tokens", 2)
    several = "embed.0.weight" in tensors
    _, in_dim = shape_of(tensors, "embed.0.weight" if several else "embed.weight", 2)
    out_dim, _ = shape_of(tensors, "proj.weight", 2)
    hidden, _ = shape_of(tensors, "stack.blocks.0.mlp.fc1.weight", 2)
    levels = max(1, in_dim // encoder["encoder_dim"])
    dense = "proj_context.weight" in tensors
    level_dim = levels * encoder["encoder_dim"]
    published = dim == PREDICTOR_DIM and encoder["encoder_dim"] in ENCODERS
    depth = blocks_in(tensors)
    if published:
        depths = PREDICTOR_DEPTHS[kind]
        depth = next((known for known in depths if known >= depth), depths[-1])
    known_heads = dim == PREDICTOR_DIM
    return {
        "predictor_dim": dim,
        "predictor_mlp_ratio": ratio_of(hidden, dim),
        "num_mask_tokens": tokens,
        "predictor_heads": PREDICTOR_HEADS if known_heads else max(1, dim // PREDICTOR_HEAD_WIDTH),
        "num_predictor_layers": depth,
        "predicted_levels": levels,
        "predicts_context": dense,
        "context_loss_weight": CONTEXT_LOSS_WEIGHT if dense else 0.0,
        "teacher_dim": None if out_dim == level_dim else out_dim,
    }


def _mlp(tensors: Mapping[str, Tensor], dim: int) -> dict[str, Any]:
    hidden, _ = shape_of(tensors, "stack.blocks.0.mlp.fc1.weight", 2)
    if "stack.blocks.0.mlp.fc3.weight" not in tensors:
        return {"mlp_ratio": ratio_of(hidden, dim)}
    known = (size.mlp_ratio for size in PUBLISHED if size.mlp_ratio)
    gated = [ratio for ratio in known if -(-(2 * int(dim * ratio) // 3) // 8) * 8 == hidden]
    return {"mlp": "swiglu", "mlp_ratio": gated[0] if gated else 1.5 * hidden / dim}


def ratio_of(hidden: int, dim: int) -> float:
    """The MLP ratio that `int(dim * ratio)` turns into the hidden width, rounding or not."""
    ratio = hidden / dim
    return ratio if int(dim * ratio) == hidden else math.nextafter(ratio, math.inf)


def blocks_in(tensors: Mapping[str, Tensor], start: str = "stack.blocks.") -> int:
    """How many blocks there are, going by the highest number after `start`."""
    numbers = (re.match(rf"{re.escape(start)}(\d+)\.", name) for name in tensors)
    return max((int(match[1]) for match in numbers if match), default=-1) + 1


def shape_of(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a tensor that tells of the architecture.

    Raises:
        CheckpointError: it is missing, or has another number of dimensions.
    """
    if name not in tensors:
        raise CheckpointError(
            f"{name} is missing, from whose shape the architecture is read; the file holds "
            f"{len(tensors)} tensors of that part"
        )
    shape = tuple(tensors[name].shape)
    if len(shape) != dimensions:
        raise CheckpointError(f"{name} has shape {shape}; expected {dimensions} dimensions")
    return shape


PLAIN = {
    "positions": "rope_tiled",
    "factorized": False,
    "rope_stretch": None,
    "mlp": "gelu",
    "feature_levels": (),
    "image_input": False,
    "modality_embedding": False,
    "predicts_context": False,
    "teacher_dim": None,
}
"""What V-JEPA 2 is, and every format can say."""


def to_train_with(config: VJEPAConfig, wanted: Mapping[str, Any], *, square: bool = False) -> str:
    """The settings that a run has to be trained with to be as wanted, as they are typed."""
    changes = [
        f"model.{key}={json.dumps(value)}".replace('"', "")
        for key, value in wanted.items()
        if getattr(config, key) != value
    ]
    if square and len(set(config.image_sides)) > 1:
        changes.append(f"model.img_size={min(config.image_sides)}")
    return (
        "No weights can be changed into it; a run that is to be converted is trained with "
        f"{' '.join(changes)}"
    )
