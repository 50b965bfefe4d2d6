"""The published V-JEPA 2 and 2.1 files: Meta's names and ours, and a file's way in and out.

    published                            ours
    patch_embed.proj.*                   embed.proj.*
    patch_embed_img.proj.*        2.1    embed_image.proj.*
    {video,img}_mod_embed         2.1    {video,image}_modality
    blocks.I.*                           stack.blocks.I.*
    norm.*                        2.0    norm.*
    norms_block.J.*               2.1    level_norms.J.*, the last one norm.*
    predictor_embed.*                    predictor.embed.*
    mask_tokens.K  (1, 1, p)             predictor.mask_tokens  (tokens, p)
    predictor_blocks.I.*                 predictor.stack.blocks.I.*
    predictor_{norm,proj,proj_context}.* predictor.{norm,proj,proj_context}.*

A file is a mapping of state dicts. Targets come from `target_encoder` or `ema_encoder`, the context
encoder is `encoder`; where a file has one encoder only, it plays both parts. Keys may carry
`module.` and `backbone.` in front. Everything else in a file (`opt`, `epoch`, ...) is left aside.

Files written here also hold `nexus_config`, the model's settings, so that reading them back infers
nothing, and `nexus_clips`, how its clips are cut; Meta's code passes over both. Source: the
published files and the code that loads them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from nexus.atomic import atomic_path
from nexus.checkpoints.architecture import (
    PLAIN,
    clip_side,
    published_settings,
    shape_of,
    to_train_with,
)
from nexus.checkpoints.clips import CLIPS_KEY, TrainedClips, as_published, kept_clips
from nexus.checkpoints.huggingface import is_huggingface
from nexus.checkpoints.official_ac import action_predictor, to_meta
from nexus.checkpoints.other_files import (
    other_content,
    refuse_learned_positions,
    refuse_other_encoder,
    unfit_predictor,
)
from nexus.checkpoints.pickled import read_pickled
from nexus.checkpoints.source import (
    SourceWeights,
    at_the_start,
    checked_config,
    counted,
    own_encoder,
    part_of,
    renamed,
    swapped,
    with_part,
)
from nexus.checkpoints.training_layout import training_state
from nexus.data.clip_spec import ClipSpec
from nexus.errors import CheckpointError
from nexus.models.contract import EncoderRole
from nexus.models.encoder import VideoEncoder
from nexus.models.predictor import MaskedPredictor
from nexus.models.ssl import VJEPAConfig, VJEPAModel
from nexus.models.worlds.action_predictor import ActionPredictor

Kind = Literal["vjepa2", "vjepa2_1", "vjepa2_ac"]
CONTEXT_PARTS = ("encoder", "target_encoder", "ema_encoder")
TARGET_PARTS = ("target_encoder", "ema_encoder", "encoder")
PARTS: dict[EncoderRole, tuple[str, ...]] = {"context": CONTEXT_PARTS, "target": TARGET_PARTS}
"""Where a role's encoder is looked for, in this order; both name all encoders of a file."""
OFFICIAL_FILE = "model.pt"
"""The file in a folder that `nexus convert` wrote."""
SETTINGS_KEY, ACTION_KEY = "nexus_config", "action_predictor"
AC_MARK = "action_encoder.weight"
PREFIX = re.compile(r"^(?:(?:module|backbone)\.)+")

ENCODER_NAMES = {
    "patch_embed.": "embed.",
    "patch_embed_img.": "embed_image.",
    "video_mod_embed": "video_modality",
    "img_mod_embed": "image_modality",
    "blocks.": "stack.blocks.",
}
NORM_NAMES = {"vjepa2": {"norm.": "norm."}, "vjepa2_1": {"norms_block.": "level_norms."}}
PREDICTOR_NAMES = {
    "predictor_embed.": "embed.",
    "video_mod_embed": "video_modality",
    "img_mod_embed": "image_modality",
    "predictor_blocks.": "stack.blocks.",
    "predictor_norm.": "norm.",
    "predictor_proj.": "proj.",
    "predictor_proj_context.": "proj_context.",
}
STRAYS = {"pos_embed", "predictor_pos_embed"}
"""Position tables that lie beside rotary weights and are not used by them."""

PUBLISHED_FRAMES = 64


@dataclass(frozen=True)
class OfficialFile:
    """A published file's state dicts under Meta's names, prefixes taken off."""

    path: Path
    kind: Kind
    encoders: Mapping[str, Mapping[str, Tensor]]
    predictor: Mapping[str, Tensor]
    """Empty where the file has none. Of `vjepa2_ac` it is the action-conditioned predictor, which
    `nexus.checkpoints.official_ac` maps."""
    settings: Mapping[str, Any] | None = None
    """The model's settings, where nexus wrote the file."""
    clips: Mapping[str, Any] | None = None
    """How its clips are cut (a `ClipSpec`), where nexus wrote the file."""
    others: tuple[str, ...] = ()
    """What else is in the file: `opt`, `epoch`, ..."""


def read_official(path: str | Path) -> OfficialFile:
    """Read a `.pt` file in one of the published layouts, without running any code it may hold.

    Raises:
        CheckpointError: the file is damaged, holds more than tensors and plain values, or is of
            another layout.
    """
    path = Path(path)
    content = read_pickled(path)
    if not isinstance(content, Mapping) or not any(part in content for part in CONTEXT_PARTS):
        raise CheckpointError(
            f"{path} is not a published V-JEPA 2 file: {other_content(content)}; expected a "
            f"mapping with one of {', '.join(CONTEXT_PARTS)}"
        )
    encoders = {p: _bare(path, p, content[p]) for p in CONTEXT_PARTS if p in content}
    predictor = _bare(path, "predictor", content.get("predictor", {}))
    if AC_MARK in predictor:
        kind: Kind = "vjepa2_ac"
    else:
        kind = "vjepa2_1" if any(_is_21(names) for names in encoders.values()) else "vjepa2"
    settings, clips = (content.get(key) or None for key in (SETTINGS_KEY, CLIPS_KEY))
    known = {*CONTEXT_PARTS, "predictor", SETTINGS_KEY, CLIPS_KEY}
    others = tuple(str(key) for key in content if key not in known)
    return OfficialFile(path, kind, encoders, predictor, settings, clips, others)


class MetaLayout:
    """A published `.pt` file, or a folder with one that nexus wrote."""

    def recognises(self, path: Path) -> bool:
        """Whether it is a file, or holds `OFFICIAL_FILE` and nothing of transformers'."""
        return path.is_file() or ((path / OFFICIAL_FILE).is_file() and not is_huggingface(path))

    def clips(self, path: Path) -> TrainedClips:
        """As published, or as nexus wrote (tensors stay on the disk); raises as `read`."""
        return self.read(path, {}).clips()

    def read(self, path: Path, given: Mapping[str, Any]) -> SourceWeights:
        """Its weights under our names; see `weights_of`.

        Raises:
            CheckpointError: the file is damaged, of another layout, or its model cannot be told.
        """
        if path.suffix == ".safetensors":
            raise CheckpointError(f"{path} has its configuration beside it; give {path.parent}")
        return weights_of(read_official(path if path.is_file() else path / OFFICIAL_FILE), given)


def weights_of(file: OfficialFile, given: Mapping[str, Any]) -> SourceWeights:
    """A file's tensors under our names, and the model that they are for.

    Of an action-conditioned file these are the encoder's; its predictor stays as it is.

    Args:
        given: settings that win over what is inferred, such as `num_heads` or `img_size`.

    Raises:
        CheckpointError: the architecture cannot be told, or this is V-JEPA and not V-JEPA 2.
    """
    actions: dict[str, Any] = {}
    if file.kind == "vjepa2_ac":
        stored = file.settings or {}
        told = given.get(ACTION_KEY, {})
        if not isinstance(told, Mapping):
            raise CheckpointError(
                f"{ACTION_KEY} is {told!r}; expected a mapping of settings, for instance "
                "{'heads': 8}"
            )
        actions = {**stored.get(ACTION_KEY, {}), **told}
        given = {key: value for key, value in given.items() if key != ACTION_KEY}
    generation = "vjepa2_1" if any(map(_is_21, file.encoders.values())) else "vjepa2"
    own_predictor = {} if file.kind == "vjepa2_ac" else file.predictor
    ignored = [
        f"{part}: {name}"
        for part, tensors in {**file.encoders, "predictor": own_predictor}.items()
        for name in tensors
        if name in STRAYS
    ]
    names = ENCODER_NAMES | NORM_NAMES[generation]
    encoders = {p: renamed(_without_strays(found), names) for p, found in file.encoders.items()}
    predictor = _predictor_in(file.path, own_predictor)
    assumed = unfit = ""
    if file.settings is not None:
        own = {key: value for key, value in file.settings.items() if key != ACTION_KEY}
        settings = {**own, **given}
    else:
        for part, encoder in file.encoders.items():
            refuse_other_encoder(file.path, part, encoder)
        if file.kind == "vjepa2" and "positions" not in given:
            tokens = len(predictor["mask_tokens"]) if "mask_tokens" in predictor else None
            refuse_learned_positions(file.path, file.encoders, tokens)
        side, assumed = clip_side(file.kind, file.path.name)
        assumed = "" if "img_size" in given else assumed
        clip = {"img_size": side, "num_frames": PUBLISHED_FRAMES}
        encoder = {name: t for found in encoders.values() for name, t in found.items()}
        try:
            unfit = unfit_predictor(predictor, shape_of(encoder, "embed.proj.weight", 5)[0])
            fitting = {} if unfit else predictor
            settings = {**clip, **published_settings(generation, encoder, fitting, given)}
        except CheckpointError as error:
            raise CheckpointError(f"{file.path}: {error}") from error
    config = checked_config(file.path, settings)
    tensors = at_the_start()
    roles: dict[EncoderRole, str] = {}
    for role, parts in PARTS.items():
        roles[role] = next(part for part in parts if part in encoders)
        found = _last_level_in(encoders[roles[role]], config)
        tensors |= with_part(f"{role}_encoder", found)
    notes = [assumed] if assumed else []
    if len(encoders) == 1:
        one = roles["target"]
        notes.append(f"the file has one encoder, `{one}`; it is both context and target")
    tensors |= with_part("predictor", predictor)
    build = None
    if file.kind == "vjepa2_ac":
        actions = {"patch_size": config.patch_size, **actions}
        build = partial(action_predictor, file.path, file.predictor, actions, config.encoder_dim)
    clips = partial(_clips_of, file, config, given)
    return SourceWeights(
        kind=file.kind,
        path=file.path,
        config=config,
        tensors=tensors,
        clips=clips,
        encoders=roles if len(encoders) > 1 else {},
        ignored=tuple(ignored),
        notes=tuple(notes),
        left_aside=file.others,
        assumed_size=assumed,
        unfit_predictor=unfit,
        action_predictor=build,
    )


def _clips_of(file: OfficialFile, config: VJEPAConfig, given: Mapping[str, Any]) -> TrainedClips:
    if file.clips is None:
        return as_published(config)
    return kept_clips(str(file.path), file.clips, config, given)


def official_state(
    model: VJEPAModel,
    action_predictor: ActionPredictor | None = None,
    clips: ClipSpec | None = None,
) -> dict[str, Any]:
    """What a published file of this model would hold: Meta's names, and what nexus adds.

    With an action-conditioned predictor it is a file of V-JEPA 2-AC, which holds the target encoder
    and that predictor.

    Raises:
        CheckpointError: the model is of a kind that Meta's code does not know.
    """
    kind, own = _kind_of(model.config), {} if clips is None else {CLIPS_KEY: clips.to_mapping()}
    target = _encoder_out(own_encoder(model.target_encoder), kind)
    if action_predictor is not None:
        return {
            "encoder": target,
            "predictor": to_meta(action_predictor.state_dict()),
            SETTINGS_KEY: {
                **model.config.to_mapping(),
                ACTION_KEY: action_predictor.config.to_mapping(),
            },
            **own,
        }
    state = {
        "encoder": _encoder_out(own_encoder(model.context_encoder), kind),
        "target_encoder": target,
        "predictor": _predictor_out(model.predictor),
        SETTINGS_KEY: model.config.to_mapping(),
        **own,
    }
    if model.config.teacher_dim is not None:
        state["ema_encoder"] = target  # where the published distilled files have it
    return state


def save_official(
    path: str | Path,
    model: VJEPAModel,
    action_predictor: ActionPredictor | None = None,
    clips: ClipSpec | None = None,
    *,
    layout: Literal["hub", "training"] = "hub",
) -> None:
    """Write a model as a `.pt` file in the published layout, atomically; see `official_state`.

    Args:
        layout: "hub", or "training" for Meta's training loop, see `training_state`.

    Raises:
        CheckpointError: the model is of a kind that Meta's code, or its training loop, does not
            know.
    """
    state = official_state(model, action_predictor, clips)
    state = training_state(state) if layout == "training" else state
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def _is_21(names: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("norms_block.") for name in names)


def _bare(path: Path, part: str, state: Any) -> dict[str, Tensor]:
    """A state dict without its prefixes."""
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise CheckpointError(f"{path}: {part} is not a mapping of names to tensors")
    bare: dict[str, Tensor] = {}
    for name, tensor in state.items():
        short = PREFIX.sub("", name)
        if short in bare:
            raise CheckpointError(
                f"{path}: {part} holds names that differ in their prefixes alone: two tensors are "
                f"called {short} once those are taken off"
            )
        bare[short] = tensor
    return bare


def _without_strays(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name not in STRAYS}


def _last_level_in(encoder: dict[str, Tensor], config: VJEPAConfig) -> dict[str, Tensor]:
    """The last of 2.1's level norms is our final norm."""
    if not config.feature_levels:
        return encoder
    last = rf"^level_norms\.{len(config.feature_levels) - 1}\."
    return {re.sub(last, "norm.", name): tensor for name, tensor in encoder.items()}


def _predictor_in(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tokens = part_of(tensors, "mask_tokens")
    others = {name: t for name, t in tensors.items() if not name.startswith("mask_tokens.")}
    predictor = renamed(_without_strays(others), PREDICTOR_NAMES)
    if tokens:
        count = counted(map(int, tokens), f"{path}: mask tokens of the predictor")
        rows = [tokens[str(number)].reshape(-1) for number in range(count)]
        predictor["mask_tokens"] = torch.stack(rows)
    return predictor


def _kind_of(config: VJEPAConfig) -> str:
    """The generation that a model belongs to."""
    plain = not (
        config.feature_levels
        or config.image_input
        or config.modality_embedding
        or config.predicts_context
        or config.rope_stretch
    )
    if config.positions == "rope_tiled" and plain:
        return "vjepa2"
    if config.positions == "rope_interleaved" and config.feature_levels:
        return "vjepa2_1"
    raise CheckpointError(
        f"Meta's code has no model with positions {config.positions!r}, feature_levels "
        f"{list(config.feature_levels)}, image_input {config.image_input}: it knows V-JEPA 2 "
        "('rope_tiled', nothing of 2.1) and V-JEPA 2.1 ('rope_interleaved' with feature_levels). "
        + to_train_with(config, PLAIN)
    )


def _encoder_out(encoder: VideoEncoder, kind: str) -> dict[str, Tensor]:
    tensors = {name: tensor.detach() for name, tensor in encoder.state_dict().items()}
    if kind == "vjepa2_1":
        last = f"level_norms.{len(encoder.config.feature_levels) - 1}."
        tensors = {re.sub(r"^norm\.", last, name): tensor for name, tensor in tensors.items()}
    return renamed(tensors, swapped(ENCODER_NAMES | NORM_NAMES[kind]))


def _predictor_out(predictor: MaskedPredictor) -> dict[str, Tensor]:
    tensors = {name: tensor.detach() for name, tensor in predictor.state_dict().items()}
    tokens = tensors.pop("mask_tokens")
    named = {f"mask_tokens.{k}": token.reshape(1, 1, -1).clone() for k, token in enumerate(tokens)}
    return named | renamed(tensors, swapped(PREDICTOR_NAMES))
