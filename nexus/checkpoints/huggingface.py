"""transformers' `vjepa2` folders: its names and ours, its config and ours, both ways.

    transformers                                    ours
    encoder.embeddings.patch_embeddings.proj.*      embed.proj.*
    encoder.layer.I.{norm1,norm2,mlp}.*             stack.blocks.I.{norm1,norm2,mlp}.*
    encoder.layer.I.attention.{query,key,value}.*   stack.blocks.I.attn.qkv.*, one after another
    encoder.layer.I.attention.proj.*                stack.blocks.I.attn.proj.*
    encoder.layernorm.*                             norm.*
    predictor.embeddings.mask_tokens (K, 1, 1, p)   predictor.mask_tokens (K, p)
    predictor.embeddings.predictor_embeddings.*     predictor.embed.*
    predictor.layer.I.*, layernorm.*, proj.*        as the encoder's; predictor.proj.*

A folder has one encoder; here it plays both parts. Of a classifier's folder the backbone is read.
transformers knows V-JEPA 2 alone: tiled rotary positions, plain MLPs, square clips, one level.

Source: transformers 5.23, `models/vjepa2`.
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nexus.atomic import atomic_path, write_json
from nexus.checkpoints.architecture import PLAIN, RECIPE, to_train_with
from nexus.checkpoints.clips import TrainedClips, as_published
from nexus.checkpoints.source import (
    SourceWeights,
    at_the_start,
    both_roles,
    checked_config,
    fused,
    own_encoder,
    part_of,
    renamed,
    swapped,
    with_part,
)
from nexus.checkpoints.video_processor import (
    PROCESSOR_FILE,
    has_processor,
    processor_clips,
    processor_config,
)
from nexus.data.clip_spec import ClipSpec
from nexus.errors import CheckpointError
from nexus.models.contract import EncoderRole
from nexus.models.ssl import VJEPAConfig, VJEPAModel

CONFIG_FILE, MODEL_FILE = "config.json", "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MODEL_TYPE = "vjepa2"
PREDICTOR_MASK_TOKEN = 1
"""The mask token that transformers' predictor uses, whatever was trained."""

KEYS = {
    "crop_size": ("img_size", 256),
    "frames_per_clip": ("num_frames", 64),
    "in_chans": ("in_chans", 3),
    "patch_size": ("patch_size", 16),
    "tubelet_size": ("tubelet_size", 2),
    "hidden_size": ("encoder_dim", 1024),
    "num_attention_heads": ("num_heads", 16),
    "num_hidden_layers": ("num_spatial_layers", 24),
    "mlp_ratio": ("mlp_ratio", 4.0),
    "drop_path_rate": ("drop_path", 0.0),
    "pred_hidden_size": ("predictor_dim", 384),
    "pred_num_attention_heads": ("predictor_heads", 12),
    "pred_num_hidden_layers": ("num_predictor_layers", 12),
    "pred_mlp_ratio": ("predictor_mlp_ratio", 4.0),
    "pred_num_mask_tokens": ("num_mask_tokens", 10),
}
"""Ours, and what transformers takes where a config.json leaves the key out."""
FIXED = {"layer_norm_eps": 1e-6, "qkv_bias": True, "hidden_act": "gelu"}
"""Settings that the models here do not have; other values cannot be read."""

ENCODER_NAMES = {
    "embeddings.patch_embeddings.proj.": "embed.proj.",
    "layer.": "stack.blocks.",
    "layernorm.": "norm.",
}
PREDICTOR_NAMES = {
    "embeddings.predictor_embeddings.": "embed.",
    "embeddings.mask_tokens": "mask_tokens",
    "layer.": "stack.blocks.",
    "layernorm.": "norm.",
    "proj.": "proj.",
}
SPLIT, FUSED = (".attention.query.", ".attention.key.", ".attention.value."), ".attention.qkv."


def is_huggingface(folder: Path) -> bool:
    """Whether a folder's config.json is one of transformers'."""
    file = folder / CONFIG_FILE
    return file.is_file() and "model_type" in _json(file)


class TransformersLayout:
    """A `vjepa2` folder of transformers'."""

    def recognises(self, path: Path) -> bool:
        """Whether its config.json is one of transformers'."""
        return is_huggingface(path)

    def clips(self, path: Path) -> TrainedClips:
        """As its processor file says, else as published; raises as `read`."""
        return processor_clips(path, _settings(path, {}))

    def read(self, path: Path, given: Mapping[str, Any]) -> SourceWeights:
        """Its weights under our names, and the model that they are for.

        Raises:
            CheckpointError: a file is missing or damaged, or describes a model that cannot be
                built.
        """
        config = _settings(path, given)
        tensors = read_huggingface_tensors(path)
        start = "vjepa2." if any(name.startswith("vjepa2.") for name in tensors) else ""
        head = tuple(name for name in tensors if start and not name.startswith(start))
        bare = {name[len(start) :]: t for name, t in tensors.items() if name not in set(head)}
        encoder, predictor = part_of(bare, "encoder"), part_of(bare, "predictor")
        rest = [name for name in bare if not name.startswith(("encoder.", "predictor."))]
        found = at_the_start() | both_roles(_part_in(encoder, ENCODER_NAMES))
        found |= with_part("predictor", _part_in(predictor, PREDICTOR_NAMES))
        found |= with_part("other", {f": {name}": bare[name] for name in rest})
        notes = [
            "the folder has one encoder; it is both context and target (those on the hub were "
            "converted from Meta's context encoder, `encoder`; of Meta's own files nexus takes the "
            "target encoder)"
        ]
        if head:
            notes.append("the folder's classifier and its pooler are not part of this model")
        clips = partial(_clips, path, config, given)
        return SourceWeights(
            "huggingface", path, config, found, clips, ignored=head, notes=tuple(notes)
        )


def _settings(path: Path, given: Mapping[str, Any]) -> VJEPAConfig:
    """The model that a folder's config.json describes; `given` settings win."""
    told = settings_from(_json(path / CONFIG_FILE))
    return checked_config(path / CONFIG_FILE, {**told, **given})


def _clips(path: Path, config: VJEPAConfig, given: Mapping[str, Any]) -> TrainedClips:
    """A folder's clips, of the size and length that the user has chosen, if so."""
    known = processor_clips(path, config)
    chosen = {key: given[key] for key in ("num_frames", "img_size") if key in given}
    return replace(known, spec=known.spec.chosen(chosen))


def save_huggingface(
    folder: str | Path,
    model: VJEPAModel,
    which: EncoderRole = "target",
    clips: ClipSpec | None = None,
) -> None:
    """Write config.json and model.safetensors, which `AutoModel.from_pretrained` opens.

    With them goes what transformers' video processor does to pictures (of RGB models). All are
    written before any takes its place: a failure leaves the folder as it was.

    Args:
        folder: made if need be.
        which: the encoder that is written; a `vjepa2` folder has one.
        clips: how pictures are shown to the model; None: as published.

    Raises:
        CheckpointError: transformers' model cannot compute what this one does.
    """
    folder = Path(folder)
    settings = {CONFIG_FILE: config_to(model.config)}
    if has_processor(clips := clips or as_published(model.config).spec):
        settings[PROCESSOR_FILE] = processor_config(clips)
    tensors = tensors_to(model, which)
    with ExitStack() as files:
        model_file = files.enter_context(atomic_path(folder / MODEL_FILE))
        save_file(tensors, model_file, metadata={"format": "pt"})
        for name, content in settings.items():
            write_json(files.enter_context(atomic_path(folder / name)), content)


def settings_from(config: Mapping[str, Any]) -> dict[str, Any]:
    """Our settings for a config.json of transformers.

    Raises:
        CheckpointError: it is of another kind of model, or asks for what the models here lack.
    """
    if config.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"model_type is {config.get('model_type')!r}; expected {MODEL_TYPE!r}, V-JEPA 2"
        )
    for key, value in FIXED.items():
        if config.get(key, value) != value:
            raise CheckpointError(f"{key} is {config[key]!r}; only {value!r} can be read")
    settings = {ours: config.get(theirs, default) for theirs, (ours, default) in KEYS.items()}
    patch = settings["patch_size"]
    if isinstance(patch, list | tuple):
        if len(set(patch)) != 1:
            raise CheckpointError(f"patch_size is {list(patch)}; only square patches can be read")
        settings["patch_size"] = patch[0]
    positions = {"positions": "rope_tiled", "factorized": False, "num_temporal_layers": 0}
    return {**RECIPE, **positions, **settings}


def config_to(config: VJEPAConfig) -> dict[str, Any]:
    """The config.json with which transformers builds the same model.

    Raises:
        CheckpointError: there is none; the message names each reason.
    """
    reasons = _obstacles(config)
    if reasons:
        raise CheckpointError(
            "\n  - ".join(["transformers' V-JEPA 2 model cannot compute this one", *reasons])
            + f"\n{to_train_with(config, PLAIN, square=True)}"
            + "\nOr export it as it is: --to nexus, --to onnx, --to torch-export."
        )
    ours = {**config.to_mapping(), "img_size": config.image_sides[0]}
    return {
        "architectures": ["VJEPA2Model"],
        "model_type": MODEL_TYPE,
        "dtype": "float32",
        **{theirs: ours[name] for theirs, (name, _) in KEYS.items()},
        "num_hidden_layers": config.depth,
        **FIXED,
        "pred_zero_init_mask_tokens": config.mask_token_std == 0,
    }


def tensors_to(model: VJEPAModel, which: EncoderRole = "target") -> dict[str, Tensor]:
    """The model's tensors under transformers' names."""
    encoder = own_encoder(model.evaluation_encoder(which)).state_dict()
    return with_part("encoder", _part_out(encoder, ENCODER_NAMES)) | with_part(
        "predictor", _part_out(model.predictor.state_dict(), PREDICTOR_NAMES)
    )


def _obstacles(config: VJEPAConfig) -> list[str]:
    height, width = config.image_sides
    checks = {
        f"positions are {config.positions!r}; it has 'rope_tiled' alone": (
            config.positions == "rope_tiled"
        ),
        "rope_stretch is set; its positions are plain numbers": config.rope_stretch is None,
        f"the MLP is {config.mlp!r}; it has 'gelu' alone": config.mlp == "gelu",
        f"clips are {height} x {width} pixels; its grid is square": height == width,
        "feature_levels are set; it has one final norm": not config.feature_levels,
        "images have an embedding of their own": not config.image_input,
        "there are modality embeddings": not config.modality_embedding,
        "the context is predicted as well": not config.predicts_context,
        f"the predictor gives {config.teacher_dim} values a token; its own gives "
        f"{config.encoder_dim}": config.teacher_dim in (None, config.encoder_dim),
    }
    return [reason for reason, fine in checks.items() if not fine]


def _part_in(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Encoder or predictor under our names; unknown ones as `: name`."""
    whole = fused(tensors, SPLIT, FUSED)
    odd = {name: t for name, t in whole.items() if any(part in name for part in SPLIT)}
    known = {name: tensor for name, tensor in whole.items() if name not in odd}
    found = {
        name if name.startswith(": ") else name.replace(".attention.", ".attn."): tensor
        for name, tensor in (renamed(known, names) | renamed(odd, {})).items()
    }
    if "mask_tokens" in found:
        found["mask_tokens"] = found["mask_tokens"].flatten(1)
    return found


def _part_out(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for ours, tensor in renamed(tensors, swapped(names)).items():
        name, tensor = ours.replace(".attn.", ".attention."), tensor.detach().cpu()
        if FUSED in name:
            for part, third in zip(SPLIT, tensor.chunk(3), strict=True):
                found[name.replace(FUSED, part)] = third.clone()
        elif name == "embeddings.mask_tokens":
            found[name] = tensor[:, None, None].contiguous()
        else:
            found[name] = tensor.contiguous()
    return found


def read_huggingface_tensors(folder: Path, starts: tuple[str, ...] = ("",)) -> dict[str, Tensor]:
    """The tensors of model.safetensors, or of the shards that its index lists, as they are named.

    Args:
        folder: where the files lie.
        starts: what the wanted names begin with, one or another; others are not read at all.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    tensors: dict[str, Tensor] = {}
    for name in _weight_files(folder, starts):
        try:
            with safe_open(folder / name, framework="pt") as file:
                names = [key for key in file.keys() if key.startswith(starts)]  # noqa: SIM118
                tensors |= {key: file.get_tensor(key) for key in names}
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"cannot read {folder / name}: {error}") from error
    return tensors


def _weight_files(folder: Path, starts: tuple[str, ...]) -> list[str]:
    """The one file, which transformers prefers too, or the shards with the wanted names."""
    if (folder / MODEL_FILE).is_file():
        return [MODEL_FILE]
    index = folder / INDEX_FILE
    if not index.is_file():
        raise CheckpointError(
            f"{folder} holds neither {MODEL_FILE} nor {INDEX_FILE}; other kinds of weight files "
            "are not read"
        )
    shards = dict(_json(index).get("weight_map", {}))
    files = sorted({str(file) for name, file in shards.items() if str(name).startswith(starts)})
    if any(Path(name).name != name for name in files):
        raise CheckpointError(f"{index} names files outside of its folder: {files}")
    return files


def _json(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"cannot read {file}: {error}; expected a JSON mapping") from error
