"""Sizes by name: what they add up to."""

import pytest
import torch

from nexus.config import merge
from nexus.errors import ConfigError
from nexus.models.encoder import EncoderConfig, VideoEncoder
from nexus.models.presets import PRESETS, preset
from nexus.models.ssl import VJEPAConfig
from nexus.training.recipe import load_recipe


def encoder_parameters(**settings) -> int:
    names = set(settings) & set(EncoderConfig.model_fields)
    config = EncoderConfig.from_mapping({name: settings[name] for name in names})
    with torch.device("meta"):
        encoder = VideoEncoder(config)
    return sum(parameter.numel() for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("name", "millions"),
    [("tiny", 5.7), ("small", 22), ("base", 86), ("large", 304), ("huge", 632)],
)
@pytest.mark.parametrize("factorized", [True, False])
def test_encoder_parameters_are_as_stated(name: str, millions: float, factorized: bool) -> None:
    count = encoder_parameters(**preset(name), factorized=factorized)
    assert count == pytest.approx(millions * 1e6, rel=0.012)


def test_base_is_the_seeds_default() -> None:
    base = preset("base")
    assert VJEPAConfig.from_mapping(base) == VJEPAConfig()


@pytest.mark.parametrize("name", PRESETS)
def test_every_size_is_a_valid_model_two_thirds_spatial(name: str) -> None:
    config = VJEPAConfig.from_mapping(preset(name))
    assert config.num_spatial_layers == round(config.depth * 2 / 3)
    assert config.predictor_dim <= config.encoder_dim / 2


def test_ones_own_keys_go_on_top() -> None:
    config = VJEPAConfig.from_mapping(merge(preset("small"), {"num_predictor_layers": 2}))
    assert (config.encoder_dim, config.num_predictor_layers) == (384, 2)
    preset("small")["encoder_dim"] = 7  # the table itself cannot be changed through its copies
    assert preset("small")["encoder_dim"] == 384


@pytest.mark.parametrize(
    ("name", "near"), [("bas", "base"), ("Large", "large"), ("hughe", "huge"), ("giant", "tiny")]
)
def test_an_unknown_size_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown model size '{name}'; did you mean '{near}'"):
        preset(name)


def test_a_size_is_a_key_of_a_configuration_and_of_a_recipe():
    config = VJEPAConfig.from_mapping({"size": "tiny", "num_heads": 6})
    assert (config.encoder_dim, config.num_heads, config.predictor_dim) == (192, 6, 96)
    recipe = load_recipe("small", ["model.size=tiny", "model.predictor_heads=2"])
    assert recipe.model["encoder_dim"] == 192  # over the recipe's own 96
    assert recipe.model["predictor_heads"] == 2
    with pytest.raises(ConfigError, match="did you mean 'large'"):
        VJEPAConfig.from_mapping({"size": "larg"})
