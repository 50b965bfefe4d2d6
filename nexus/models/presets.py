"""Model sizes by name: one table of widths, depths and heads.

Encoder parameters, at 16 frames of 224 x 224 pixels, patches of 16 and tubelets of 2:

    tiny 5.7 M    small 22 M    base 86 M    large 304 M    huge 632 M

Two thirds of an encoder's blocks are spatial, one third temporal, as in the seed's Base. Base's
predictor is the seed's; that of Large and Huge is the published one (arXiv 2404.08471, appendix:
384-d, 12 blocks); those of Tiny and Small are half as wide as their encoders, as Base's is.
"""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pydantic

from nexus.config import Config
from nexus.errors import ConfigError


@dataclass(frozen=True)
class Size:
    """The keys of a model configuration that make its size."""

    encoder_dim: int
    num_heads: int
    num_spatial_layers: int
    num_temporal_layers: int
    predictor_dim: int
    predictor_heads: int
    num_predictor_layers: int


PRESETS = {
    "tiny": Size(192, 3, 8, 4, 96, 4, 6),
    "small": Size(384, 6, 8, 4, 192, 4, 6),
    "base": Size(768, 12, 8, 4, 384, 8, 6),
    "large": Size(1024, 16, 16, 8, 384, 12, 12),
    "huge": Size(1280, 16, 21, 11, 384, 12, 12),
}


def preset(name: str) -> dict[str, Any]:
    """The settings of a size, to be merged under a configuration's own keys.

    Raises:
        ConfigError: an unknown name; the nearest known one is named.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise ConfigError(
            f"unknown model size {name!r}; did you mean {near!r}? (known: {', '.join(PRESETS)})"
        )
    return asdict(PRESETS[name])


def expand_size(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose `size` is replaced by what it stands for; their own keys win.

    Raises:
        ConfigError: an unknown size.
    """
    if "size" not in settings:
        return dict(settings)
    own = {key: value for key, value in settings.items() if key != "size"}
    return {**preset(str(settings["size"])), **own}


class SizedConfig(Config):
    """Settings that also take `size`, a name out of `PRESETS`, under their other keys."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _expand_size(cls, settings: Any) -> Any:
        return expand_size(settings) if isinstance(settings, Mapping) else settings
