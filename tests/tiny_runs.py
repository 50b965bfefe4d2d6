"""A toy world of a dozen tiny mp4 files, and a recipe that trains on it in a second."""

import io

import pytest
from rich.console import Console

from nexus.config import merge, parse_overrides
from nexus.data.catalog.catalog import scan
from nexus.toy.world import ToyConfig, write_toy_world
from nexus.training.recipe import Recipe

TINY = {
    "name": "tiny",
    "training": {
        "steps": 6,
        "batch_size": 4,
        "log_every": 1,
        "checkpoint_every": 2,
        "threads": 1,
        "device": "cpu",
        "tensorboard": False,
    },
    "optim": {"lr": 2e-3, "warmup_steps": 2},
    "data": {"augment": None},
    "model": {
        "kind": "vjepa",
        "img_size": 16,
        "num_frames": 4,
        "patch_size": 8,
        "mask_ratio": 0.5,
        "regularizer": "variance_covariance",
        "factorized": False,
        "encoder_dim": 16,
        "num_heads": 2,
        "num_spatial_layers": 1,
        "num_temporal_layers": 1,
        "predictor_dim": 16,
        "predictor_heads": 2,
        "num_predictor_layers": 1,
    },
}


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A catalog of twelve training videos of 8 frames and 16 x 16 pixels, and four others."""
    folder = tmp_path_factory.mktemp("world")
    config = ToyConfig(size=16, num_frames=8, train_clips=12, validation_clips=4, test_clips=0)
    return scan(write_toy_world(folder, config, seed=0))


@pytest.fixture(scope="session")
def tiny():
    """Makes a tiny recipe; takes overrides such as "optim.lr=1"."""

    def make(*overrides):
        return Recipe.from_mapping(merge(TINY, parse_overrides(overrides)))

    return make


@pytest.fixture
def quiet():
    """A console that prints into memory: `quiet.file.getvalue()`."""
    return Console(file=io.StringIO(), width=200)
