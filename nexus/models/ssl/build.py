"""Models by name: `vjepa`, `pixels`, or your own as `package.module:Class`."""

from collections.abc import Mapping
from typing import Any

from nexus.errors import ConfigError
from nexus.models.contract import ModelConfig, SelfSupervisedModel, checked
from nexus.registry import Registry, split_choice

MODELS = Registry(
    "kind of model",
    {
        "vjepa": "nexus.models.ssl.v_jepa:VJEPAModel",
        "pixels": "nexus.models.ssl.pixels:PixelModel",
        "world": "nexus.models.worlds.world:WorldModel",
    },
)


def model_config(settings: Mapping[str, Any]) -> ModelConfig:
    """Validate the settings of a model; `kind` says of which (none: `vjepa`).

    Raises:
        ConfigError: an unknown kind, key or value.
    """
    settings = {"kind": "vjepa", **settings}
    kind, _ = split_choice(settings, MODELS.what)
    config = getattr(MODELS.find(kind), "Config", None)
    if not (isinstance(config, type) and issubclass(config, ModelConfig)):
        raise ConfigError(
            f"model {kind} names no settings; give its class a `Config`, a subclass of "
            "nexus.models.contract.ModelConfig"
        )
    return config.from_mapping(settings)


def build_model(settings: Mapping[str, Any] | ModelConfig) -> SelfSupervisedModel:
    """Build the model that the settings are of.

    Raises:
        ConfigError: an unknown kind, key or value; a model that lacks what
            `nexus.models.contract` asks for.
    """
    if not isinstance(settings, ModelConfig):
        settings = model_config(settings)
    return checked(MODELS.find(settings.kind)(settings), SelfSupervisedModel, "model")
