"""One place that knows the kinds of models that answer `loss, metrics = model(video)`."""

from collections.abc import Mapping
from typing import Any

from nexus.config import Config
from nexus.errors import ConfigError
from nexus.models.ssl.pixels import PixelConfig, PixelModel
from nexus.models.ssl.v_jepa import VJEPAConfig, VJEPAModel

SelfSupervisedModel = VJEPAModel | PixelModel

CONFIGS: dict[str, type[Config]] = {"vjepa": VJEPAConfig, "pixels": PixelConfig}


def model_config(kind: str, config: Mapping[str, Any]) -> VJEPAConfig | PixelConfig:
    """Validate the settings of a kind of model.

    Raises:
        ConfigError: an unknown kind, key or value.
    """
    if kind == "vjepa":
        return VJEPAConfig.from_mapping(config)
    if kind == "pixels":
        return PixelConfig.from_mapping(config)
    raise ConfigError(f"unknown kind of model {kind!r}; expected one of {sorted(CONFIGS)}")


def build_model(kind: str, config: Mapping[str, Any]) -> SelfSupervisedModel:
    """Build a model from its kind and settings.

    Raises:
        ConfigError: an unknown kind, key or value.
    """
    settings = model_config(kind, config)
    return VJEPAModel(settings) if isinstance(settings, VJEPAConfig) else PixelModel(settings)
