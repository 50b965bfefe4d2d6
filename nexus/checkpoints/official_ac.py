"""Names of the published V-JEPA 2-AC predictor's tensors, and ours: a renaming, both ways.

    published                       ours
    predictor_embed.*               embed.*
    action_encoder.*                action_embed.*          (likewise state, extrinsics)
    predictor_blocks.I.*            blocks.I.*
    predictor_norm.*                norm.*
    predictor_proj.*                proj.*

No tensor is changed, split or joined. Published keys may carry `module.` and `backbone.` in front,
left there by the wrappers they were trained in.

Source: the `predictor` of `vjepa2-ac-vitg.pt`.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from nexus.errors import CheckpointError
from nexus.models.world import ActionPredictorConfig

OURS = {
    "predictor_embed": "embed",
    "action_encoder": "action_embed",
    "state_encoder": "state_embed",
    "extrinsics_encoder": "extrinsics_embed",
    "predictor_blocks": "blocks",
    "predictor_norm": "norm",
    "predictor_proj": "proj",
}
PUBLISHED = {ours: published for published, ours in OURS.items()}
PREFIX = re.compile(r"^(?:(?:module|backbone)\.)+")


def to_nexus(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a published AC predictor under the names of an `ActionPredictor`.

    Raises:
        CheckpointError: a name that no AC predictor has.
    """
    return _renamed(_bare(state), OURS, "a published V-JEPA 2-AC predictor")


def to_meta(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an `ActionPredictor` under their published names, without prefixes.

    Raises:
        CheckpointError: a name that no `ActionPredictor` has.
    """
    return _renamed(state, PUBLISHED, "an ActionPredictor")


def ac_config(state: Mapping[str, Tensor], **overrides: Any) -> ActionPredictorConfig:
    """The settings of a published AC predictor, read off its tensors' shapes.

    Heads, frame size, patch size and whether extrinsics are used leave no trace in the shapes: they
    are the published ones unless overridden.

    Raises:
        CheckpointError: a tensor that tells of a setting is missing or not a matrix.
        ConfigError: an unknown override, or one that does not go with the shapes.
    """
    state = _bare(state)
    predictor_dim, in_dim = _shape(state, "predictor_embed.weight")
    hidden, _ = _shape(state, "predictor_blocks.0.mlp.fc1.weight")
    return ActionPredictorConfig.from_mapping(
        {
            "in_dim": in_dim,
            "predictor_dim": predictor_dim,
            "depth": _depth(state),
            "mlp_ratio": _ratio(hidden, predictor_dim),
            "action_dim": _shape(state, "action_encoder.weight")[1],
            "state_dim": _shape(state, "state_encoder.weight")[1],
            "extrinsics_dim": _shape(state, "extrinsics_encoder.weight")[1],
            **overrides,
        }
    )


def _bare(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    bare = {}
    for name, tensor in state.items():
        short = PREFIX.sub("", name)
        if short in bare:
            raise CheckpointError(f"two tensors are called {short} once prefixes are taken off")
        bare[short] = tensor
    return bare


def _renamed(
    state: Mapping[str, Tensor], names: Mapping[str, str], owner: str
) -> dict[str, Tensor]:
    renamed, unknown = {}, []
    for name, tensor in state.items():
        head, dot, rest = name.partition(".")
        if head in names:
            renamed[names[head] + dot + rest] = tensor
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(
            f"{owner} has no {_first(unknown)}; its tensors begin with {', '.join(names)}"
        )
    return renamed


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    """Rows and columns of a matrix."""
    if name not in state:
        raise CheckpointError(
            f"{name} is missing: expected a published V-JEPA 2-AC predictor, got "
            f"{len(state)} tensors: {_first(state)}"
        )
    if state[name].ndim != 2:
        raise CheckpointError(f"{name} must be a matrix, got shape {tuple(state[name].shape)}")
    rows, columns = state[name].shape
    return rows, columns


def _first(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _depth(state: Mapping[str, Tensor]) -> int:
    numbers = [re.match(r"predictor_blocks\.(\d+)\.", name) for name in state]
    return 1 + max(int(match[1]) for match in numbers if match)


def _ratio(hidden: int, dim: int) -> float:
    """The MLP ratio that `int(dim * ratio)` turns into the hidden width, rounding or not."""
    ratio = hidden / dim
    return ratio if int(dim * ratio) == hidden else math.nextafter(ratio, math.inf)
