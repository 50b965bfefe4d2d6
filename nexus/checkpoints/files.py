"""Checkpoint folders: written whole or not at all, found again from a run's path, loaded strictly.

    RUN/checkpoints/
        latest.json             {"step": 200, "folder": "step_00000200"}
        step_00000200/
            model.safetensors   every parameter and buffer, context and target encoder alike
            config.json         {"kind", "config", "step", ...}: enough to build the model again
            state.pt            what else a resume needs: tensors and plain values only

A folder appears under its final name only when all its files are on the disk; `latest.json` moves
after that. A process killed at any moment leaves the previous checkpoint or the new one, and
perhaps a hidden leftover that `discard_leftovers` removes.
"""

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nexus.atomic import atomic_folder, write_json
from nexus.checkpoints.clips import CLIPS_KEY, TrainedClips, covering_clips, kept_clips
from nexus.checkpoints.source import SourceWeights, checked_config
from nexus.checkpoints.weights import load_weights, read_weights, save_weights
from nexus.errors import CheckpointError, ConfigError
from nexus.models.contract import EncoderRole, Module, SelfSupervisedModel
from nexus.models.ssl import VJEPAConfig, build_model
from nexus.runs.folder import CHECKPOINT

MODEL_FILE, CONFIG_FILE, STATE_FILE = "model.safetensors", "config.json", "state.pt"
LATEST_FILE = "latest.json"
LEFTOVER_PREFIX = ".leftover-"


@dataclass(frozen=True)
class ModelCard:
    """What `config.json` says about a checkpoint."""

    kind: str
    config: Mapping[str, Any]
    step: int
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Facts that are not needed to build the model: recipe, version, ..."""

    def to_mapping(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "kind": self.kind,
            "config": dict(self.config),
            "step": self.step,
            **self.extra,
        }


def save_checkpoint(
    root: str | Path, model: Module, card: ModelCard, state: Mapping[str, Any], *, keep: int = 3
) -> Path:
    """Write `root/step_00000200` (say), point `latest.json` at it and drop all but the last `keep`.

    Args:
        root: the run's `checkpoints` folder; made if need be.
        model: its state dict is stored under its own names.
        card: what `load_checkpoint_model` needs to build the model again.
        state: tensors, numbers, strings and (nested) dicts, lists and tuples of them.
        keep: how many checkpoints stay, at least 1.

    Returns:
        The checkpoint's folder.
    """
    root = Path(root)
    folder = root / f"step_{card.step:08d}"
    # A run that was killed before `latest.json` moved comes to the same step twice.
    with atomic_folder(folder) as temporary:
        save_weights(temporary / MODEL_FILE, model)
        write_card(temporary, card)
        torch.save(dict(state), temporary / STATE_FILE)
    write_json(root / LATEST_FILE, {"step": card.step, "folder": folder.name})
    older = [step for step in _steps(root) if step <= card.step]
    for step in older[:-keep]:
        _remove(root / f"step_{step:08d}")
    return folder


def latest_checkpoint(root: str | Path) -> Path | None:
    """The newest complete checkpoint in a run's `checkpoints` folder, if there is one.

    Raises:
        CheckpointError: `latest.json` names a folder that is not there.
    """
    root = Path(root)
    try:
        folder = root / json.loads((root / LATEST_FILE).read_text())["folder"]
    except FileNotFoundError:
        steps = _steps(root)
        return root / f"step_{steps[-1]:08d}" if steps else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"cannot read {root / LATEST_FILE}: {error}; delete it to go by the folders' names"
        ) from error
    if not folder.is_dir():
        raise CheckpointError(
            f"{root / LATEST_FILE} points to {folder.name}, which is not there; delete it to go by "
            "the folders' names"
        )
    return folder


def resolve_checkpoint(path: str | Path) -> Path:
    """The checkpoint that a path means: a checkpoint's own folder, or the latest one of a run.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(path)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise CheckpointError(f"{path} {what}; expected a run's folder or a checkpoint's folder")
    if (path / CONFIG_FILE).exists():
        return path
    for root in (path / "checkpoints", path):
        if root.is_dir() and (found := latest_checkpoint(root)):
            return found
    raise CheckpointError(
        f"{path} holds no checkpoint; expected {CONFIG_FILE} and {MODEL_FILE} in it, or a run with "
        "checkpoints/step_*"
    )


def write_card(folder: Path, card: ModelCard) -> None:
    """Write what a checkpoint is beside its weights."""
    (folder / CONFIG_FILE).write_text(json.dumps(card.to_mapping(), indent=2) + "\n")


def read_card(path: str | Path) -> ModelCard:
    """What kind of model a run or checkpoint holds, and from which step.

    Raises:
        CheckpointError: there is no checkpoint, or its `config.json` is damaged.
    """
    file = resolve_checkpoint(path) / CONFIG_FILE
    try:
        content = json.loads(file.read_text())
        kind, config, step = content.pop("kind"), content.pop("config"), content.pop("step")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"cannot read {file}: {error!r}; expected a mapping with kind, config and step"
        ) from error
    return ModelCard(kind=kind, config=config, step=step, extra=content)


def load_checkpoint_model(
    path: str | Path, *, device: str | torch.device = "cpu"
) -> SelfSupervisedModel:
    """Build the model of a run or checkpoint and load its weights strictly; in eval mode.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or its tensors do not fit the model
            that its `config.json` describes (the message lists them).
    """
    folder = resolve_checkpoint(path)
    card = read_card(folder)
    try:
        model = build_model({"kind": card.kind, **card.config})
    except ConfigError as error:
        raise CheckpointError(
            f"{folder / CONFIG_FILE} describes a model that this version cannot build: {error}"
        ) from error
    load_weights(model, folder / MODEL_FILE)
    return model.to(device).eval()


class OwnLayout:
    """A run or checkpoint of nexus."""

    def recognises(self, path: Path) -> bool:
        """Whatever nobody else knows: the error says what was expected."""
        return True

    def read(self, path: Path, given: Mapping[str, Any]) -> SourceWeights:
        """The weights of a run's last checkpoint, or of the checkpoint itself.

        Raises:
            CheckpointError: there is none, it is damaged, or it holds another kind of model.
        """
        folder = resolve_checkpoint(path)
        card = read_card(folder)
        config = _vjepa_config(folder, card, given)
        clips = partial(_clips_of, folder, card, config, given)
        tensors = read_weights(folder / MODEL_FILE)
        roles: dict[EncoderRole, str] = {r: f"{r}_encoder" for r in ("context", "target")}
        return SourceWeights("nexus", folder, config, tensors, clips, roles)

    def clips(self, path: Path) -> TrainedClips:
        """What the card of a checkpoint (or of a run's last one) says; raises as `read`."""
        folder = resolve_checkpoint(path)
        card = read_card(folder)
        return _clips_of(folder, card, _vjepa_config(folder, card, {}), {})


def _vjepa_config(folder: Path, card: ModelCard, given: Mapping[str, Any]) -> VJEPAConfig:
    """The model that a card describes.

    Raises:
        CheckpointError: it is damaged, or of another kind of model.
    """
    if card.kind != "vjepa":
        raise CheckpointError(
            f"{folder} holds a model of kind {card.kind!r}; nexus.load gives models of kind "
            "'vjepa'. Use nexus.checkpoints.files.load_checkpoint_model"
        )
    return checked_config(folder / CONFIG_FILE, {**card.config, **given})


def _clips_of(
    folder: Path, card: ModelCard, config: VJEPAConfig, given: Mapping[str, Any]
) -> TrainedClips:
    """What a card says of its clips; older ones do not."""
    if CLIPS_KEY not in card.extra:
        return TrainedClips(covering_clips(config), "what checkpoints of older versions leave open")
    return kept_clips(str(folder / CONFIG_FILE), card.extra[CLIPS_KEY], config, given)


def load_state(path: str | Path) -> dict[str, Any]:
    """What a resume needs beside the weights, as it was given to `save_checkpoint`; on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, or holds more than tensors and plain values.
    """
    file = Path(path) / STATE_FILE
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises for a damaged archive is not one type
        raise CheckpointError(
            f"cannot read {file}: {error}; the weights beside it may still be whole"
        ) from error


def discard_leftovers(root: str | Path) -> int:
    """Remove what killed processes left half-written; returns how many folders and files."""
    root = Path(root)
    names = (f"{LEFTOVER_PREFIX}*", ".step_*.tmp", ".step_*.old", f".{LATEST_FILE}.*.tmp")
    leftovers = [path for name in names for path in root.glob(name)]
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return len(leftovers)


def _steps(root: Path) -> list[int]:
    if not root.is_dir():
        return []
    matches = (CHECKPOINT.fullmatch(folder.name) for folder in root.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def _remove(folder: Path) -> None:
    """Remove a checkpoint so that no half of it is ever seen under its name."""
    if folder.exists():
        leftover = folder.with_name(f"{LEFTOVER_PREFIX}{secrets.token_hex(4)}")
        folder.rename(leftover)
        shutil.rmtree(leftover)
