"""A small model in the shape of published ones, and how a probe on it is trained at once."""

import torch
from oracles.tiny import stir

from nexus.models.ssl import VJEPAModel

MODEL = {
    "img_size": 32,
    "num_frames": 8,
    "patch_size": 16,
    "tubelet_size": 2,
    "encoder_dim": 32,
    "num_heads": 2,
    "factorized": False,
    "num_spatial_layers": 3,
    "num_temporal_layers": 0,
    "positions": "rope_tiled",
    "predictor_dim": 16,
    "predictor_heads": 2,
    "num_predictor_layers": 1,
    "mlp_ratio": 2.0,
}
QUICK = ("epochs=2", "batch_size=16", "depth=2", "learning_rates=[1e-3, 1e-2]", "num_heads=2")


def make_model(**changes) -> VJEPAModel:
    torch.manual_seed(0)
    model = VJEPAModel({**MODEL, **changes})
    stir(model, scale=0.1)
    return model
