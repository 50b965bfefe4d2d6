"""What a recipe says of its clips and its model, in words; recipes of any version, or of none."""

from collections.abc import Mapping
from typing import Any

import yaml


def architecture(recipe: str | None) -> dict[str, str]:
    """Clips, patches, width and blocks of a recipe's text, name to value.

    What the recipe does not say, or says in another way, is left out.
    """
    try:
        settings = yaml.safe_load(recipe or "")
    except yaml.YAMLError:
        return {}
    model = _group(settings, "model")
    facts = {"patches": _patches(model), "encoder": _encoder(model), "predictor": _predictor(model)}
    return {name: value for name, value in facts.items() if value}


def clips(recipe: str | None) -> str:
    """The clips of a recipe whose run does not describe them."""
    try:
        clip = _group(_group(yaml.safe_load(recipe or ""), "data"), "clip")
    except yaml.YAMLError:
        return ""
    frames, fps, stride = (_number(clip.get(key)) for key in ("num_frames", "fps", "stride"))
    if frames is None:
        return ""
    rate = f" at {fps:g} a second, {frames / fps:.2g} s long" if fps else ""
    if not rate and stride is not None:
        rate = f" with a stride of {stride:g}"
    return f"clips of {frames:g} frames{rate}"


def _patches(model: Mapping[str, Any]) -> str:
    side, frames = _number(model.get("patch_size")), _number(model.get("tubelet_size"))
    if side is None:
        return ""
    deep = f", {frames:g} frame{'s' * (frames != 1)} deep" if frames is not None else ""
    return f"{side:g} x {side:g} pixels{deep}"


def _encoder(model: Mapping[str, Any]) -> str:
    width, heads = _number(model.get("encoder_dim")), _number(model.get("num_heads"))
    spatial, temporal = (
        _number(model.get(f"num_{name}_layers")) for name in ("spatial", "temporal")
    )
    parts = [f"width {width:g}"] if width is not None else []
    if spatial is not None and temporal is not None:
        split = f" ({spatial:g} in space, {temporal:g} in time)" if model.get("factorized") else ""
        parts.append(f"{spatial + temporal:g} blocks{split}")
    parts += [f"{heads:g} heads"] if heads is not None else []
    return ", ".join(parts)


def _predictor(model: Mapping[str, Any]) -> str:
    width, blocks = _number(model.get("predictor_dim")), _number(model.get("num_predictor_layers"))
    parts = [f"width {width:g}"] if width is not None else []
    return ", ".join(parts + ([f"{blocks:g} blocks"] if blocks is not None else []))


def _group(settings: Any, key: str) -> Mapping[str, Any]:
    group = settings.get(key) if isinstance(settings, Mapping) else None
    return group if isinstance(group, Mapping) else {}


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
