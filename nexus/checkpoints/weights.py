"""A module's tensors as a safetensors file, and back, strictly.

A tensor that a module holds under two names (tied weights, one encoder in two roles) is stored
once; the file's metadata says which names are aliases of which.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nexus.errors import CheckpointError
from nexus.models.contract import Module

SHOWN_NAMES = 10
"""Names listed per kind of disagreement before the rest is only counted."""
BLOCK = re.compile(r"(.*\.(?:blocks|spatial|temporal)\.\d+)\.")
"""What the names of one transformer block's tensors begin with."""


@dataclass(frozen=True)
class KeyReport:
    """How the tensors of a file compare with those that a module expects."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    """Each as `name: (3, 4) in the file, (3, 5) in the model`."""
    ignored: tuple[str, ...] = ()
    """Known strays in the file that no model of this kind uses, under the file's own names."""

    @property
    def exact(self) -> bool:
        """Whether file and module hold the same names with the same shapes."""
        return not (self.missing or self.unexpected or self.mismatched)

    def acceptable(self, allow_missing: Sequence[str]) -> bool:
        """Whether nothing disagrees but missing names that one of the patterns covers.

        Raises:
            CheckpointError: these are not patterns; see `checked_patterns`.
        """
        patterns = checked_patterns(allow_missing)
        allowed = all(
            any(fnmatchcase(name, pattern) for pattern in patterns) for name in self.missing
        )
        return allowed and not (self.unexpected or self.mismatched)

    def explain(self) -> str:
        """The disagreements, one kind a line; a block that is wholly so counts as one name."""
        expected = len(self.matched) + len(self.missing) + len(self.mismatched)
        lines = [f"{len(self.matched)} of the model's {expected} tensors match"]
        reshaped = [line.partition(":")[0] for line in self.mismatched]
        here = [*self.matched, *reshaped]
        lines += _listed("missing from the file", self.missing, _folded(self.missing, here))
        folded = _folded(self.unexpected, [*here, *self.missing])
        lines += _listed("in the file but not in the model", self.unexpected, folded)
        lines += _listed("of another shape", self.mismatched)
        lines += _listed("in the file and of no use here", self.ignored)
        return "\n  - ".join(lines)


def checked_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    """Patterns of names, as they are.

    Raises:
        CheckpointError: one string, whose characters would be taken for patterns, or no strings.
    """
    listed = not isinstance(patterns, str) and isinstance(patterns, Iterable)
    found = tuple(patterns) if listed else ()
    if not listed or not all(isinstance(pattern, str) for pattern in found):
        raise CheckpointError(
            f"allow_missing is {patterns!r}; expected a list of patterns, for instance "
            "['predictor.*']"
        )
    return found


def compare(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> KeyReport:
    """Compare the names and shapes that a module expects with those found in a file."""
    shared = [name for name in expected if name in found]
    same = [name for name in shared if expected[name].shape == found[name].shape]
    return KeyReport(
        matched=tuple(same),
        missing=tuple(name for name in expected if name not in found),
        unexpected=tuple(name for name in found if name not in expected),
        mismatched=tuple(
            _reshaped(name, found[name], expected[name])
            for name in shared
            if found[name].shape != expected[name].shape
        ),
    )


def save_weights(path: str | Path, module: Module) -> None:
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


def load_weights(module: Module, path: str | Path) -> KeyReport:
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


def tensor_digest(tensors: Mapping[str, Tensor], *, exact: bool = False) -> str:
    """A hash of named tensors, whatever file they came from: names, shapes and values.

    Args:
        exact: types count as well; else values count as float32.
    """
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        kind = f"{tensor.dtype} " if exact else ""
        found.update(f"{name} {kind}{tuple(tensor.shape)}\n".encode())
        values = tensor.detach().cpu()
        values = values if exact or not values.is_floating_point() else values.float()
        found.update(values.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _reshaped(name: str, found: Tensor, expected: Tensor) -> str:
    here, there = tuple(found.shape), tuple(expected.shape)
    if name.endswith("mask_tokens") and len(here) == 2 and here[1:] == there[1:]:
        return f"{name}: {here[0]} mask tokens in the file, {there[0]} in the model"
    return f"{name}: {here} in the file, {there} in the model"


def _listed(what: str, names: Sequence[str], shown: Sequence[str] | None = None) -> list[str]:
    if not names:
        return []
    shown = names if shown is None else shown
    more = f", and {len(shown) - SHOWN_NAMES} more" if len(shown) > SHOWN_NAMES else ""
    return [f"{len(names)} {what}: {', '.join(shown[:SHOWN_NAMES])}{more}"]


def _folded(names: Sequence[str], others: Iterable[str]) -> list[str]:
    """Names, where those of a block that none of `others` belongs to are one entry."""
    partial = {match[1] for name in others if (match := BLOCK.match(name))}
    blocks: dict[str, list[str]] = {}
    for name in names:
        match = BLOCK.match(name)
        entry = name if match is None or match[1] in partial else f"{match[1]}.*"
        blocks.setdefault(entry, []).append(name)
    return [
        f"{entry} ({len(inside)} tensors)" if len(inside) > 1 else inside[0]
        for entry, inside in blocks.items()
    ]
