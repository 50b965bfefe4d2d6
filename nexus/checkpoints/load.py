"""`load`: a model from published weights, a `vjepa2` folder, the hub, or a run of ours."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from nexus.checkpoints.clips import Clips, TrainedClips
from nexus.checkpoints.hub import Place, locate
from nexus.checkpoints.source import (
    SourceKind,
    SourceWeights,
    checked_config,
    layout_of,
    read_source,
)
from nexus.checkpoints.weights import KeyReport, checked_patterns, compare
from nexus.errors import CheckpointError
from nexus.models.contract import Encoder, EncoderRole
from nexus.models.ssl import VJEPAConfig, VJEPAModel, build_model
from nexus.models.worlds.action_predictor import ActionPredictor

FROM_PREDICTOR = "predictor."
PATCH_WEIGHTS = ("embed.proj.weight", "embed_image.proj.weight")
TITLES: dict[SourceKind, str] = {
    "vjepa2": "V-JEPA 2, Meta's layout",
    "vjepa2_1": "V-JEPA 2.1, Meta's layout",
    "vjepa2_ac": "V-JEPA 2-AC, Meta's layout",
    "huggingface": "V-JEPA 2, transformers' layout",
    "nexus": "a checkpoint of nexus",
}


@dataclass(frozen=True)
class Loaded:
    """A model in eval mode, and the account of how its tensors were found."""

    model: VJEPAModel
    role: EncoderRole
    kind: SourceKind
    report: KeyReport
    path: Path
    """The file or folder that was read."""
    clips: Clips
    """How clips are cut and shown for the weights, as their makers did; see `TrainedClips`."""
    held: str
    """Which encoder is in use and what else the file holds, in a sentence."""
    choice: str
    """Which of two encoders of others' weights is in use, in a sentence; empty if there is one."""
    assumed_size: str
    """A sentence on the size of pictures, where the file does not say it and a guess was made."""
    hub_id: str | None
    revision: str | None
    """The hub's commit."""
    notes: tuple[str, ...]
    action_predictor: ActionPredictor | None = None
    """Of V-JEPA 2-AC: what follows upon a robot's actions. The masked predictor is fresh then."""

    @property
    def encoder(self) -> Encoder:
        """The encoder of the role that was asked for."""
        return self.model.evaluation_encoder(self.role)

    @property
    def fresh(self) -> tuple[str, ...]:
        """Names of tensors that the file does not have: they are as initialised."""
        return self.report.missing

    @property
    def predictor_is_fresh(self) -> bool:
        """Whether the predictor has been initialised, not loaded."""
        return any(name.startswith(FROM_PREDICTOR) for name in self.fresh)

    def explain(self) -> str:
        """What was loaded, from where, and what a user should know."""
        config = self.model.config
        height, width = config.image_sides
        where = f"{self.hub_id} at {self.revision}" if self.hub_id else str(self.path)
        lines = [
            f"{where}: {TITLES[self.kind]}",
            f"{config.depth} blocks of width {config.encoder_dim} with {config.num_heads} heads; "
            f"clips of {config.num_frames} frames of {height} x {width} pixels",
            self.held,
            self.report.explain(),
            *self.notes,
        ]
        return "\n".join(lines)


def load(
    source: str | Path,
    *,
    role: EncoderRole = "target",
    config: Mapping[str, Any] | None = None,
    in_chans: int | None = None,
    predictor: Literal["file", "fresh"] = "file",
    allow_missing: Sequence[str] = (),
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> Loaded:
    """Load weights strictly: every tensor of the model must be in the file, and the reverse.

    Args:
        source: a published `.pt` file, a `vjepa2` folder of transformers, a run's or a checkpoint's
            folder, or a hub id `org/name`. A path never makes the network be used.
        role: which encoder `Loaded.encoder` is. Both are loaded; where the file has one, both are
            that one, and a note says so.
        config: settings that win over what the file says or its shapes tell, such as `num_heads`
            of a model of no published size, or the `img_size` and `num_frames` of your clips. What
            concerns the predictor of V-JEPA 2-AC is grouped: `{"action_predictor": {"heads": 8}}`.
        in_chans: channels of your clips, if other than the file's. Each new channel gets the mean
            of the patch weights over the file's channels, times their number over the new one: a
            grey clip (the same normalised values in each channel) is embedded as before.
        predictor: "fresh" leaves the file's predictor aside and initialises a new one, for instance
            to train a distilled model on, or to take only the encoder of V-JEPA 2-AC.
        allow_missing: patterns (`fnmatch`) of our names that the file may lack; what it lacks stays
            as initialised, see `Loaded.fresh`.
        revision: the hub's branch, tag or commit; name a commit to get the same files for good.
        cache_dir: where the hub's files are kept; default: huggingface_hub's own cache.
        device: where the model goes.

    Raises:
        CheckpointError: there is no such file, it is damaged or of another kind, or its tensors do
            not fit the model; the message names what is missing, left over or of another shape.
    """
    if role not in ("target", "context"):
        raise CheckpointError(f"role is {role!r}; expected 'target' or 'context'")
    if predictor not in ("file", "fresh"):
        raise CheckpointError(f"predictor is {predictor!r}; expected 'file' or 'fresh'")
    allow_missing = checked_patterns(allow_missing)
    place = locate(source, revision=revision, cache_dir=cache_dir)
    weights = read_source(place.path, dict(config or {}))
    settings, tensors = weights.config, dict(weights.tensors)
    if weights.unfit_predictor and predictor == "file":
        raise CheckpointError(
            f"{weights.path}: {weights.unfit_predictor}. To take the encoder alone, ask for a new "
            "predictor: predictor='fresh', --fresh-predictor"
        )
    notes = [*weights.notes, *_hub_notes(place, revision)]
    encoders = _encoders_told(weights, role)
    actions = None
    if weights.action_predictor is not None:
        allow_missing = [*allow_missing, f"{FROM_PREDICTOR}*"]
        if predictor == "file":
            actions = weights.action_predictor()
            notes.append("the action-conditioned predictor of the file is `action_predictor`")
    if predictor == "fresh":
        tensors = {n: t for n, t in tensors.items() if not n.startswith(FROM_PREDICTOR)}
        allow_missing = [*allow_missing, f"{FROM_PREDICTOR}*"]
        if "teacher_dim" not in (config or {}):
            settings = settings.with_changes(teacher_dim=None)
    if in_chans is not None and in_chans != settings.in_chans:
        notes.append(f"patch weights of {settings.in_chans} channels were averaged for {in_chans}")
        settings = checked_config(weights.path, {**settings.to_mapping(), "in_chans": in_chans})
        tensors = inflated(tensors, in_chans)
    model, report = assemble(weights, settings, tensors, allow_missing)
    if report.missing:
        notes.append(f"{_what_is_fresh(report)} not from the file but freshly initialised")
    return Loaded(
        model=model.to(device).eval(),
        role=role,
        kind=weights.kind,
        report=report,
        path=weights.path,
        clips=weights.clips,
        held=encoders + _also_held(weights),
        choice=encoders if weights.encoders and weights.kind != "nexus" else "",
        assumed_size=weights.assumed_size,
        hub_id=place.hub_id,
        revision=place.revision,
        notes=tuple(notes),
        action_predictor=None if actions is None else actions.to(device),
    )


def clips_of(source: str | Path) -> TrainedClips:
    """How clips are cut and shown for weights, as their makers did; no weight is read.

    Raises:
        CheckpointError: there are no weights, what they are for cannot be told, or their pictures
            are prepared in a way that nexus does not know.
    """
    path = locate(source).path
    return layout_of(path).clips(path)


def assemble(
    weights: SourceWeights,
    config: VJEPAConfig,
    tensors: Mapping[str, Tensor],
    allow_missing: Sequence[str] = (),
) -> tuple[VJEPAModel, KeyReport]:
    """Build a model and give it tensors by our names; each is copied, in the model's precision.

    Raises:
        CheckpointError: the tensors do not fit; nothing is loaded then.
    """
    with torch.device("meta"):  # no time and no memory for weights that are about to be replaced
        model = _built(config)
    expected = model.state_dict()
    report = replace(compare(expected, tensors), ignored=weights.ignored)
    if not report.acceptable(allow_missing):
        raise CheckpointError(_does_not_fit(weights, report))
    if config.rotary_kind is None or not all(map(_of_predictor, report.missing)):
        model = _built(config)
    elif report.missing:
        model.renew_predictor()
    copies = {
        name: tensors[name].to(expected[name].dtype, copy=True).contiguous()
        for name in report.matched
    }
    model.load_state_dict(copies, strict=False, assign=True)
    return model, report


def _built(config: VJEPAConfig) -> VJEPAModel:
    model = build_model(config)
    assert isinstance(model, VJEPAModel)
    return model


def inflated(tensors: Mapping[str, Tensor], in_chans: int) -> dict[str, Tensor]:
    """Tensors whose patch weights take `in_chans` channels; see `load` for the rule."""
    changed = dict(tensors)
    for name, weight in tensors.items():
        if name.endswith(PATCH_WEIGHTS) and weight.ndim == 5:
            mean = weight.sum(dim=1, keepdim=True) / in_chans
            changed[name] = mean.expand(-1, in_chans, -1, -1, -1)
    return changed


def _of_predictor(name: str) -> bool:
    return name.startswith(FROM_PREDICTOR)


def _what_is_fresh(report: KeyReport) -> str:
    own = [name for name in report.matched if _of_predictor(name)]
    if not own and all(map(_of_predictor, report.missing)):
        return "the masked predictor is"
    return f"{len(report.missing)} tensors are"


def _encoders_told(weights: SourceWeights, role: EncoderRole) -> str:
    """Which encoder is in use and which one else is there; of Meta's, which one others take."""

    def told(each: EncoderRole) -> str:
        taken = each == "context" and weights.kind != "nexus"
        more = ", from which transformers' folders on the hub were converted" if taken else ""
        return f"`{weights.encoders[each]}`{more}"

    if not weights.encoders:
        return f"the {role} encoder is in use"
    other: EncoderRole = "context" if role == "target" else "target"
    return (
        f"the {role} encoder is in use, {told(role)}; the {other} encoder, {told(other)}, is there "
        f"too (role={other!r}, --which {other})"
    )


def _also_held(weights: SourceWeights) -> str:
    """What else is in the file."""
    others = ["a predictor"] if any(map(_of_predictor, weights.tensors)) else []
    others += [f"`{name}` (left aside)" for name in weights.left_aside]
    return f"; further: {', '.join(others)}" if others else ""


def _hub_notes(place: Place, revision: str | None) -> list[str]:
    if place.hub_id is None or revision == place.revision:
        return []
    return [f"{revision or 'main'} was {place.revision}; give that as the revision to keep it"]


def _does_not_fit(weights: SourceWeights, report: KeyReport) -> str:
    text = f"{weights.path} does not fit the model that it is for: {report.explain()}\n"
    if report.missing and all(map(_of_predictor, report.missing)) and not report.unexpected:
        return text + "To take the encoder alone, ask for a new predictor: predictor='fresh'."
    told = {"num_spatial_layers": weights.config.depth, "num_heads": weights.config.num_heads}
    return text + (
        "Either the file is damaged, or its model differs from what was taken for it "
        f"({json.dumps(told)}, ...); what differs can be given as config={{...}}."
    )
