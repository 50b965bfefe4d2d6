"""Starting a run from weights instead of from nothing: which settings they fix, which tensors fit.

The weights say what the model is made of; the recipe says how it is trained on: masks, loss, EMA,
data, optimizer. Where both speak of the model's make, they have to agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nexus.checkpoints.weights import compare
from nexus.errors import CheckpointError, ConfigError
from nexus.models.contract import Module
from nexus.models.encoder import EncoderConfig
from nexus.models.predictor import PredictorConfig
from nexus.runs.schema import InitInfo

FROM_WEIGHTS = {
    "kind",
    *EncoderConfig.model_fields,
    *PredictorConfig.model_fields,
    "predicts_context",
    "context_loss_weight",
}
"""Keys of a model's settings that come with its weights unless the recipe gives them."""

FREE = {"drop_path", "mask_token", "mask_token_std", "context_loss_weight"}
"""Those of them that decide no tensor, nor what one means: the recipe may change them."""

CLIP_SHAPE = {"img_size", "num_frames"}
"""Keys that learned position tables fix, and other positions leave open."""

PREDICTOR = "predictor."


@dataclass(frozen=True)
class Start:
    """Weights to start from.

    `config` are the settings of the `VJEPAModel` that they belong to (without those of the
    predictor, if they have none), `tensors` have its names. `origin` goes to the run's records.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    origin: InitInfo
    part: str = ""
    """The beginning of all names, where the weights are of a part of the model (a frozen encoder);
    everything else starts afresh."""


def continued_model(weights: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The model's settings for a run that starts from weights.

    Args:
        weights: complete settings of the weights' model.
        own: what the recipe and the overrides say of the model.

    Raises:
        ConfigError: `own` contradicts what the weights are made of.
    """
    fixed = FROM_WEIGHTS - FREE
    if weights.get("positions", "learned") != "learned":
        fixed -= CLIP_SHAPE
    lines = [
        f"model.{key}: {weights[key]!r} in the weights, {value!r} in the recipe"
        for key, value in own.items()
        if key in fixed
        and key in weights
        and _comparable(key, value) != _comparable(key, weights[key])
    ]
    if lines:
        raise ConfigError(
            "\n  - ".join(["the recipe describes another model than the weights", *lines])
            + "\nLeave these keys out (recipe `adapt` has none of them), or start from other "
            "weights."
        )
    return {**{key: value for key, value in weights.items() if key in FROM_WEIGHTS}, **own}


def load_start(model: Module, start: Start) -> list[str]:
    """Give a model the tensors of a start, in place; returns what has to be told.

    Tensors of the predictor that the weights lack, or that have another shape there (a predictor
    distilled from a wider teacher), keep the values that the model was made with.

    Raises:
        CheckpointError: tensors of an encoder are missing or do not fit, or some have no place.
    """
    expected = model.state_dict()
    if start.part:
        return _load_part(model, expected, start)
    tensors = {**start.tensors, "ema_step": torch.zeros_like(expected["ema_step"])}
    report = compare(expected, tensors)
    fits = set(report.matched)
    afresh = [name for name in expected if name not in fits]
    if report.unexpected or not all(name.startswith(PREDICTOR) for name in afresh):
        raise CheckpointError(f"cannot start from these weights: {report.explain()}")
    model.load_state_dict({**expected, **{name: tensors[name] for name in fits}})
    if not afresh:
        return []
    if all(name in afresh for name in expected if name.startswith(PREDICTOR)):
        return ["the predictor starts afresh"]
    listed = ", ".join(afresh[:6]) + (f" and {len(afresh) - 6} more" if len(afresh) > 6 else "")
    return [f"nothing in the weights fits {listed}: these start afresh"]


def _load_part(model: Module, expected: Mapping[str, Tensor], start: Start) -> list[str]:
    part = {name: each for name, each in expected.items() if name.startswith(start.part)}
    report = compare(part, start.tensors)
    if not report.exact:
        raise CheckpointError(f"cannot start from these weights: {report.explain()}")
    model.load_state_dict({**expected, **start.tensors})
    return []


def _comparable(key: str, value: Any) -> Any:
    if key == "img_size" and isinstance(value, int):
        return [value, value]
    return list(value) if isinstance(value, tuple) else value
