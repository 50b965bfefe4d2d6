"""What a reader of published or exported weights hands over, whatever the file looked like."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from nexus.checkpoints.clips import Clips, TrainedClips
from nexus.errors import CheckpointError, ConfigError
from nexus.models.contract import Encoder, EncoderRole
from nexus.models.encoder import VideoEncoder
from nexus.models.ssl import VJEPAConfig
from nexus.models.worlds.action_predictor import ActionPredictor
from nexus.registry import Registry

SourceKind = Literal["vjepa2", "vjepa2_1", "vjepa2_ac", "huggingface", "nexus"]
ROLES = ("context_encoder", "target_encoder")


@dataclass(frozen=True)
class SourceWeights:
    """Weights as they were found, under our names, and the model that they are for.

    Strays are listed in `ignored` under the file's own names; a name that has no counterpart here
    stays among the tensors as `part: name`, for the strict comparison to refuse.
    """

    kind: SourceKind
    path: Path
    config: VJEPAConfig
    tensors: Mapping[str, Tensor]
    clips: Clips
    """How clips are cut and shown for them."""
    encoders: Mapping[EncoderRole, str] = field(default_factory=dict)
    """What the encoder of each role is called in the file, if it has several."""
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What a user should know about these weights, a sentence each."""
    left_aside: tuple[str, ...] = ()
    """What else is in the file."""
    assumed_size: str = ""
    """A sentence on the size of pictures, where the file does not say it and a guess was made."""
    unfit_predictor: str = ""
    """Why the predictor cannot be that of the encoder, if so."""
    action_predictor: Callable[[], ActionPredictor] | None = None
    """Of V-JEPA 2-AC: builds its predictor; raises CheckpointError if that cannot be done."""


class Layout(Protocol):
    """A way in which weights lie on a disk."""

    def recognises(self, path: Path) -> bool:
        """Whether this file or folder looks like one."""
        ...

    def clips(self, path: Path) -> TrainedClips:
        """How clips are cut and shown for the weights; raises as `read`, and reads none of them."""
        ...

    def read(self, path: Path, given: Mapping[str, Any]) -> SourceWeights:
        """The weights under our names; `given` are settings that win over what the file says.

        Raises:
            CheckpointError: a file is missing or damaged, or its model cannot be built.
        """
        ...


LAYOUTS = Registry(
    "layout of weights",
    {
        "meta": "nexus.checkpoints.official:MetaLayout",
        "transformers": "nexus.checkpoints.huggingface:TransformersLayout",
        "nexus": "nexus.checkpoints.files:OwnLayout",
    },
)
"""In the order in which they are tried; the last one takes whatever the others do not."""


def read_source(path: Path, given: Mapping[str, Any]) -> SourceWeights:
    """The weights of a file or folder, whichever of the known layouts it has.

    Raises:
        CheckpointError: it has none of them.
    """
    return layout_of(path).read(path, given)


def layout_of(path: Path) -> Layout:
    """The layout that a file or folder has."""
    layouts: Iterable[Layout] = (LAYOUTS.build(name) for name in LAYOUTS.names)
    return next(layout for layout in layouts if layout.recognises(path))


def checked_config(what: str | Path, settings: Mapping[str, Any]) -> VJEPAConfig:
    """The configuration that was read from, or inferred for, weights.

    Raises:
        CheckpointError: it is impossible; the message says how to correct it.
    """
    try:
        return VJEPAConfig.from_mapping(settings)
    except ConfigError as error:
        raise CheckpointError(
            f"{what} does not give a model that can be built: {error}\n"
            "Settings that are wrong here can be given, for example config={'num_heads': 4}."
        ) from error


def own_encoder(encoder: Encoder) -> VideoEncoder:
    """An encoder of ours, which is all that other formats know.

    Raises:
        CheckpointError: it is somebody else's.
    """
    if not isinstance(encoder, VideoEncoder):
        raise CheckpointError(
            f"{type(encoder).__qualname__} is an encoder of your own: only 'vit' can be written in "
            "another format than nexus"
        )
    return encoder


def part_of(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors of one part (`predictor`, ...), its name and the dot taken off."""
    start = f"{part}."
    return {name[len(start) :]: tensors[name] for name in tensors if name.startswith(start)}


def with_part(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one part, its name put before each; `: name` marks one unknown here."""
    return {
        f"{part}{name}" if name.startswith(": ") else f"{part}.{name}": tensor
        for name, tensor in tensors.items()
    }


def both_roles(encoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One encoder in both roles."""
    return {k: tensor for role in ROLES for k, tensor in with_part(role, encoder).items()}


def renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors whose names begin with a key of `names` begin with its value; others are `: name`."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        start = next((start for start in names if name.startswith(start)), None)
        found[f": {name}" if start is None else names[start] + name[len(start) :]] = tensor
    return found


def swapped(names: Mapping[str, str]) -> dict[str, str]:
    """A table of names for the way back."""
    return {ours: theirs for theirs, ours in names.items()}


def fused(tensors: Mapping[str, Tensor], parts: Sequence[str], whole: str) -> dict[str, Tensor]:
    """Tensors whose names differ in `parts` alone, joined under `whole`; incomplete ones stay."""
    found = dict(tensors)
    for name in [name for name in tensors if parts[0] in name]:
        names = [name.replace(parts[0], part) for part in parts]
        if all(part in found for part in names):
            joined = torch.cat([found.pop(part) for part in names])
            found[name.replace(parts[0], whole)] = joined
    return found


def at_the_start() -> dict[str, Tensor]:
    """What a model holds beside its networks: no optimizer step has been taken."""
    return {"ema_step": torch.zeros((), dtype=torch.int64)}


def counted(numbers: Iterable[int], what: str) -> int:
    """How many there are of things that are numbered from 0.

    Raises:
        CheckpointError: one is missing in between.
    """
    found = set(numbers)
    count = max(found, default=-1) + 1
    missing = sorted(set(range(count)) - found)
    if missing:
        raise CheckpointError(f"{what}: {missing} missing among 0 to {count - 1}")
    return count
