"""Self-supervised video models; each answers `loss, metrics = model(video)`."""

from nexus.models.contract import SelfSupervisedModel
from nexus.models.ssl.build import build_model, model_config
from nexus.models.ssl.pixels import PixelConfig, PixelModel
from nexus.models.ssl.v_jepa import VJEPAConfig, VJEPAModel

__all__ = [
    "PixelConfig",
    "PixelModel",
    "SelfSupervisedModel",
    "VJEPAConfig",
    "VJEPAModel",
    "build_model",
    "model_config",
]
