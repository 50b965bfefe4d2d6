"""A trained probe as a folder: its weights, and all that its use depends on.

PROBE/
    probe.safetensors   the tensors of a head (`nexus.models.heads`)
    probe.json          `ProbeCard`: classes, encoder, clips, the sweep it was chosen from
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import pydantic

from nexus.atomic import atomic_path, write_json
from nexus.checkpoints.weights import load_weights, save_weights, tensor_digest
from nexus.config import Config
from nexus.data.clip_spec import ClipSpec
from nexus.errors import CheckpointError, ConfigError
from nexus.models.heads import Head, HeadConfig, PooledHeadConfig
from nexus.version import nexus_version

CARD_FILE, WEIGHTS_FILE = "probe.json", "probe.safetensors"


class EncoderIdentity(Config):
    """The encoder that a probe stands on."""

    source: str
    """The path or hub name that it was loaded from; "" if that is not known."""
    which: Literal["target", "context"] = "target"
    digest: str = ""
    """`tensor_digest` of its weights; "" for an imported probe, which does not say."""
    dim: pydantic.PositiveInt
    layers: tuple[int, ...] = (-1,)
    """Blocks whose tokens the probe reads, one layer's after the other's (-1: the last)."""


class SweepRow(Config):
    """One pair of a sweep and how it did on the validation split."""

    learning_rate: float
    weight_decay: float
    accuracy: float
    loss: float | None
    """Cross-entropy; None where it is not finite."""


class ProbeCard(Config):
    """What `probe.json` says."""

    format: Literal["nexus-probe-2"] = "nexus-probe-2"
    task: str
    """The label column that was learned."""
    classes: tuple[str, ...]
    """Class names, in the order of the outputs."""
    head: HeadConfig
    encoder: EncoderIdentity
    clips: ClipSpec
    """The clips of a video that the probe reads."""
    normalisation: Literal["imagenet"] = "imagenet"
    """Pixels, 0 to 1, less ImageNet's means and divided by its deviations (grey: their means)."""
    chosen: dict[str, float] = pydantic.Field(default_factory=dict)
    """The settings that won on the validation split: learning rate and weight decay, strength of
    the penalty, or neighbours and temperature."""
    sweep: tuple[SweepRow, ...] = ()
    training: dict[str, Any] = pydantic.Field(default_factory=dict)
    """The settings of the training."""
    result: dict[str, Any] = pydantic.Field(default_factory=dict)
    """The test split's figures, as in probes.json."""
    digest: str = ""
    """Of the weights beside the card; set when the probe is saved."""
    nexus: str = ""
    """The version that wrote the file; set when the probe is saved."""

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.classes) != self.head.num_classes:
            raise ValueError(
                f"the label map names {len(self.classes)} classes, the probe has "
                f"{self.head.num_classes} outputs; give one name for each output, in order"
            )
        if self.encoder.dim != self.head.dim:
            raise ValueError(
                f"the probe reads {self.head.dim} features a token, its encoder gives "
                f"{self.encoder.dim}"
            )
        layers = len(self.encoder.layers)
        if isinstance(self.head, PooledHeadConfig) and self.head.num_layers != layers:
            raise ValueError(
                f"the probe reads {self.head.num_layers} layers side by side, its encoder gives "
                f"{layers}"
            )
        return self


def save_probe(folder: str | Path, head: Head, card: ProbeCard) -> Path:
    """Write a probe's folder, each file atomically; returns the folder."""
    folder = Path(folder)
    with atomic_path(folder / WEIGHTS_FILE) as temporary:
        save_weights(temporary, head)
    written = {"digest": tensor_digest(head.state_dict()), "nexus": nexus_version()}
    write_json(folder / CARD_FILE, {**card.to_mapping(), **written})
    return folder


def load_probe_folder(folder: str | Path) -> tuple[Head, ProbeCard]:
    """A probe, in eval mode, and its card.

    Raises:
        CheckpointError: there is no probe, or its files are damaged or do not belong together.
    """
    folder = Path(folder)
    file = folder / CARD_FILE
    if not file.exists():
        raise CheckpointError(
            f"{folder} holds no probe: {CARD_FILE} is missing. Train one with nexus "
            "train-probe WEIGHTS DATA, or import one of Meta's .pt files"
        )
    try:
        card = ProbeCard.from_mapping(upgraded(json.loads(file.read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"cannot use {file}: {error}") from error
    head = card.head.build()
    load_weights(head, folder / WEIGHTS_FILE)
    if card.digest and tensor_digest(head.state_dict()) != card.digest:
        raise CheckpointError(
            f"{folder / WEIGHTS_FILE} does not belong to the {CARD_FILE} beside it (a writer was "
            "interrupted, or a file was replaced); train or import the probe again"
        )
    return head.eval(), card


def upgraded(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card of any version in today's form; what is no card is left for the validation to name.

    Format 1 had the clips in two groups, `sampling` and in it `clip`; of heads there was one kind.
    """
    if isinstance(card.get("head"), Mapping):
        card = {**card, "head": {"kind": "attentive", **card["head"]}}
    if card.get("format") != "nexus-probe-1":
        return dict(card)
    sampling = dict(card["sampling"])
    clips = {**sampling["clip"], "sampling": "uniform", "jitter": 0.0, "reversal": 0.0}
    names = {"img_size": "size", "join_clips": "join", "channels": "channels"}
    names["clips_per_video"] = "clips_per_video"
    clips |= {new: sampling[old] for old, new in names.items() if old in sampling}
    rest = {key: value for key, value in card.items() if key != "sampling"}
    return {**rest, "format": "nexus-probe-2", "clips": clips}
