"""Names of the published V-JEPA 2-AC predictor's tensors, and ours: a renaming, both ways.

    published                       ours
    predictor_embed.*               embed.*
    action_encoder.*                action_embed.*          (likewise state, extrinsics)
    predictor_blocks.I.*            blocks.I.*
    predictor_norm.*                norm.*
    predictor_proj.*                proj.*

No tensor is changed, split or joined. The prefixes that published keys may carry are taken off
where the file is read, in `nexus.checkpoints.official`.

Source: the `predictor` of `vjepa2-ac-vitg.pt`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nexus.checkpoints.architecture import blocks_in, ratio_of, shape_of
from nexus.checkpoints.source import renamed, swapped
from nexus.checkpoints.weights import compare
from nexus.errors import CheckpointError, ConfigError
from nexus.models.worlds.action_predictor import ActionPredictor, ActionPredictorConfig

OURS = {
    "predictor_embed.": "embed.",
    "action_encoder.": "action_embed.",
    "state_encoder.": "state_embed.",
    "extrinsics_encoder.": "extrinsics_embed.",
    "predictor_blocks.": "blocks.",
    "predictor_norm.": "norm.",
    "predictor_proj.": "proj.",
}


def action_predictor(
    path: Path, state: Mapping[str, Tensor], given: Mapping[str, Any], encoder_dim: int
) -> ActionPredictor:
    """The predictor of a published file, loaded strictly, in eval mode.

    Args:
        path: of the file, for messages.
        state: the file's `predictor`, without prefixes.
        given: settings that win over what the shapes tell, such as `heads`.
        encoder_dim: width of the features that it has to read.

    Raises:
        CheckpointError: the tensors are not those of an AC predictor, or one of another width; an
            unknown setting, or one that does not go with the shapes.
    """
    try:
        tensors = to_nexus(state)
        config = ac_config(state, **given)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except ConfigError as error:
        raise CheckpointError(
            f"{path} does not give an action-conditioned predictor that can be built: {error}\n"
            "Settings that are wrong here can be given, for example "
            "config={'action_predictor': {'heads': 8}}."
        ) from error
    if config.in_dim != encoder_dim:
        raise CheckpointError(
            f"{path}: the action-conditioned predictor is for features of width {config.in_dim}, "
            f"the encoder's have {encoder_dim}"
        )
    with torch.device("meta"):
        model = ActionPredictor(config)
    expected = model.state_dict()
    report = compare(expected, tensors)
    if not report.exact:
        raise CheckpointError(
            f"{path}: its action-conditioned predictor is damaged, or of another architecture: "
            f"{report.explain()}\nThe encoder alone can be loaded with predictor='fresh'."
        )
    copies = {n: tensors[n].to(expected[n].dtype, copy=True).contiguous() for n in expected}
    model.load_state_dict(copies, assign=True)
    model.extrinsics_embed.requires_grad_(config.use_extrinsics)
    return model.eval()


def to_nexus(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a published AC predictor under the names of an `ActionPredictor`.

    Raises:
        CheckpointError: a name that no AC predictor has.
    """
    return _renamed(state, OURS, "a published V-JEPA 2-AC predictor")


def to_meta(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an `ActionPredictor` under their published names, without prefixes.

    Raises:
        CheckpointError: a name that no `ActionPredictor` has.
    """
    return _renamed(state, swapped(OURS), "an ActionPredictor")


def ac_config(state: Mapping[str, Tensor], **overrides: Any) -> ActionPredictorConfig:
    """The settings of a published AC predictor, read off its tensors' shapes.

    Heads, frame size, patch size and whether extrinsics are used leave no trace in the shapes: they
    are the published ones unless overridden. So is the number of blocks, at the published width: a
    missing last block is noticed.

    Raises:
        CheckpointError: a tensor that tells of a setting is missing or not a matrix.
        ConfigError: an unknown override, or one that does not go with the shapes.
    """
    predictor_dim, in_dim = shape_of(state, "predictor_embed.weight", 2)
    hidden, _ = shape_of(state, "predictor_blocks.0.mlp.fc1.weight", 2)
    blocks = blocks_in(state, "predictor_blocks.")
    fields = ActionPredictorConfig.model_fields
    is_published = predictor_dim == fields["predictor_dim"].default
    return ActionPredictorConfig.from_mapping(
        {
            "in_dim": in_dim,
            "predictor_dim": predictor_dim,
            "depth": fields["depth"].default if is_published else blocks,
            "mlp_ratio": ratio_of(hidden, predictor_dim),
            "action_dim": shape_of(state, "action_encoder.weight", 2)[1],
            "state_dim": shape_of(state, "state_encoder.weight", 2)[1],
            "extrinsics_dim": shape_of(state, "extrinsics_encoder.weight", 2)[1],
            **overrides,
        }
    )


def _renamed(
    state: Mapping[str, Tensor], names: Mapping[str, str], owner: str
) -> dict[str, Tensor]:
    found = renamed(state, names)
    if unknown := [name.removeprefix(": ") for name in found if name.startswith(": ")]:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise CheckpointError(
            f"{owner} has no {', '.join(unknown[:5])}{more}; its tensors begin with "
            f"{', '.join(names)}"
        )
    return found
