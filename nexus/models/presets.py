"""Model sizes by name: one table of widths, depths and heads.

Encoder parameters, at 16 frames of 224 x 224 pixels, patches of 16 and tubelets of 2:

    tiny 5.7 M    small 22 M    base 86 M    large 304 M    huge 632 M

Two thirds of their blocks are spatial, one third temporal, as in the seed's Base. Base's
predictor is the seed's; that of Large and Huge is the published one (arXiv 2404.08471, appendix:
384-d, 12 blocks); those of Tiny and Small are half as wide as their encoders, as Base's is.

The published sizes have joint attention and the published predictor (arXiv 2506.09985;
2.1's predictor has 24 blocks where it is not distilled: `num_predictor_layers` of the recipe):

    vit_b 86 M    vit_l 304 M    vit_h 631 M    vit_g 1.01 B    vit_gigantic 1.84 B
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pydantic

from nexus.config import Config
from nexus.errors import ConfigError, did_you_mean


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
    mlp_ratio: float | None = None
    """None leaves the key as it is elsewhere; so does the next one."""
    factorized: bool | None = None


def _published(dim: int, depth: int, heads: int, mlp_ratio: float = 4.0) -> Size:
    """A size of the published models; joint attention counts all blocks together."""
    return Size(dim, heads, depth, 0, 384, 12, 12, mlp_ratio, factorized=False)


PRESETS = {
    "tiny": Size(192, 3, 8, 4, 96, 4, 6),
    "small": Size(384, 6, 8, 4, 192, 4, 6),
    "base": Size(768, 12, 8, 4, 384, 8, 6),
    "large": Size(1024, 16, 16, 8, 384, 12, 12),
    "huge": Size(1280, 16, 21, 11, 384, 12, 12),
    "vit_b": _published(768, 12, 12),
    "vit_l": _published(1024, 24, 16),
    "vit_h": _published(1280, 32, 16),
    "vit_g": _published(1408, 40, 22, 48 / 11),
    "vit_gigantic": _published(1664, 48, 26, 64 / 13),
}


def preset(name: str) -> dict[str, Any]:
    """The settings of a size, to be merged under a configuration's own keys.

    Raises:
        ConfigError: an unknown name; near ones are named.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown model size {name!r}; {did_you_mean(name, PRESETS)}")
    return {key: value for key, value in asdict(PRESETS[name]).items() if value is not None}


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
