"""A module's tensors as a safetensors file, and back, strictly.

A tensor that a module holds under two names (tied weights, one encoder in two roles) is stored
once; the file's metadata says which names are aliases of which.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nexus.errors import CheckpointError

SHOWN_NAMES = 10
"""Names listed per kind of disagreement before the rest is only counted."""


@dataclass(frozen=True)
class KeyReport:
    """How the tensors of a file compare with those that a module expects."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    """Each as `name: (3, 4) in the file, (3, 5) in the model`."""

    @property
    def exact(self) -> bool:
        """Whether file and module hold the same names with the same shapes."""
        return not (self.missing or self.unexpected or self.mismatched)

    def explain(self) -> str:
        """The disagreements, one kind a line."""
        expected = len(self.matched) + len(self.missing) + len(self.mismatched)
        lines = [f"{len(self.matched)} of the model's {expected} tensors match"]
        lines += _listed("missing from the file", self.missing)
        lines += _listed("in the file but not in the model", self.unexpected)
        lines += _listed("of another shape", self.mismatched)
        return "\n  - ".join(lines)


def compare(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> KeyReport:
    """Compare the names and shapes that a module expects with those found in a file."""
    shared = [name for name in expected if name in found]
    same = [name for name in shared if expected[name].shape == found[name].shape]
    return KeyReport(
        matched=tuple(same),
        missing=tuple(name for name in expected if name not in found),
        unexpected=tuple(name for name in found if name not in expected),
        mismatched=tuple(
            f"{name}: {tuple(found[name].shape)} in the file, "
            f"{tuple(expected[name].shape)} in the model"
            for name in shared
            if name not in set(same)
        ),
    )


def save_weights(path: str | Path, module: nn.Module) -> None:
    """Write every parameter and persistent buffer of a module to a safetensors file."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first_name: dict[tuple, str] = {}
    for name, tensor in module.state_dict().items():
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and place in first_name:
            aliases[name] = first_name[place]
            continue
        first_name[place] = name
        whole = tensor.detach().cpu().contiguous()
        # A view into a larger storage is copied: safetensors writes whole storages only.
        partial = whole.untyped_storage().nbytes() != whole.numel() * whole.element_size()
        tensors[name] = whole.clone() if partial else whole
    save_file(tensors, path, metadata={"format": "pt", "aliases": json.dumps(aliases)})


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file by name, on the CPU, aliases included.

    Raises:
        CheckpointError: the file is missing, cut short or not safetensors.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            aliases = json.loads((file.metadata() or {}).get("aliases", "{}"))
        tensors.update({name: tensors[kept] for name, kept in aliases.items()})
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"cannot read the weights in {path}: {error}; expected a complete safetensors file"
        ) from error
    return tensors


def load_weights(module: nn.Module, path: str | Path) -> KeyReport:
    """Load a safetensors file into a module; every name and shape must agree.

    Raises:
        CheckpointError: listing what is missing, unexpected or of another shape; the module is then
            left as it was.
    """
    tensors = read_weights(path)
    report = compare(module.state_dict(), tensors)
    if not report.exact:
        raise CheckpointError(
            f"{path} does not fit {type(module).__name__}: {report.explain()}\n"
            "Load it with the configuration that it was saved with."
        )
    module.load_state_dict(tensors, strict=True)
    return report


def _listed(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f", and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return [f"{len(names)} {what}: {', '.join(names[:SHOWN_NAMES])}{more}"]
