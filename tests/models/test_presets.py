"""Sizes by name: what they add up to."""

import pytest
import torch

from nexus.config import merge
from nexus.errors import ConfigError
from nexus.models.encoder import EncoderConfig, VideoEncoder
from nexus.models.presets import PRESETS, preset
from nexus.models.ssl import VJEPAConfig, VJEPAModel
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


PUBLISHED = {
    # width, blocks, heads, hidden width of the MLP: arXiv 2506.09985 and the published weights.
    "vit_b": (768, 12, 12, 3072),
    "vit_l": (1024, 24, 16, 4096),
    "vit_h": (1280, 32, 16, 5120),
    "vit_g": (1408, 40, 22, 6144),
    "vit_gigantic": (1664, 48, 26, 8192),
}


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def transformer(dim: int, depth: int, hidden: int) -> int:
    """Parameters of so many blocks and a final norm, counted layer by layer."""
    attention = linear(dim, 3 * dim) + linear(dim, dim)
    mlp = linear(dim, hidden) + linear(hidden, dim)
    return depth * (attention + mlp + 4 * dim) + 2 * dim


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_to_the_parameter(name: str) -> None:
    dim, depth, heads, hidden = PUBLISHED[name]
    settings = {"size": name, "positions": "rope_tiled", "num_mask_tokens": 10}
    with torch.device("meta"):
        model = VJEPAModel({**settings, "mask": "multiblock", "img_size": 256})
    assert (model.config.depth, model.config.num_heads) == (depth, heads)
    assert {block.mlp.fc1.out_features for block in model.context_encoder.stack.blocks} == {hidden}
    found = sum(parameter.numel() for parameter in model.context_encoder.parameters())
    assert found == linear(3 * 2 * 16 * 16, dim) + transformer(dim, depth, hidden)
    found = sum(parameter.numel() for parameter in model.predictor.parameters())
    ends = linear(dim, 384) + 10 * 384 + linear(384, dim)
    assert found == ends + transformer(384, 12, 1536)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("vit_b", 86), ("vit_l", 304), ("vit_h", 631), ("vit_g", 1012), ("vit_gigantic", 1845)],
)
def test_published_sizes_are_as_stated(name: str, millions: float) -> None:
    dim, depth, _, hidden = PUBLISHED[name]
    count = linear(3 * 2 * 16 * 16, dim) + transformer(dim, depth, hidden)
    assert count == pytest.approx(millions * 1e6, rel=0.005)


def test_a_size_leaves_alone_what_it_does_not_speak_of() -> None:
    recipe = load_recipe("small", ["model.size=tiny"])
    assert recipe.model.factorized is False  # the recipe's own
    published = load_recipe("small", ["model.size=vit_b", "model.encoder_dim=48"])
    assert published.model.num_temporal_layers == 0 and published.model.encoder_dim == 48
    assert load_recipe("seed", ["model.size=vit_l"]).model.factorized is False


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in PUBLISHED])
def test_every_other_size_is_a_valid_model_two_thirds_spatial(name: str) -> None:
    config = VJEPAConfig.from_mapping(preset(name))
    assert config.num_spatial_layers == round(config.depth * 2 / 3)
    assert config.predictor_dim <= config.encoder_dim / 2


def test_ones_own_keys_go_on_top() -> None:
    config = VJEPAConfig.from_mapping(merge(preset("small"), {"num_predictor_layers": 2}))
    assert (config.encoder_dim, config.num_predictor_layers) == (384, 2)
    preset("small")["encoder_dim"] = 7  # the table itself cannot be changed through its copies
    assert preset("small")["encoder_dim"] == 384


@pytest.mark.parametrize(
    ("name", "near"),
    [("bas", "base"), ("Large", "large"), ("hughe", "huge")],
)
def test_an_unknown_size_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown model size '{name}'; did you mean '{near}'"):
        preset(name)


def test_a_size_is_a_key_of_a_configuration_and_of_a_recipe():
    config = VJEPAConfig.from_mapping({"size": "tiny", "num_heads": 6})
    assert (config.encoder_dim, config.num_heads, config.predictor_dim) == (192, 6, 96)
    recipe = load_recipe("small", ["model.size=tiny", "model.predictor_heads=2"])
    assert recipe.model.encoder_dim == 192  # over the recipe's own 96
    assert recipe.model.predictor_heads == 2
    with pytest.raises(ConfigError, match="did you mean 'large'"):
        VJEPAConfig.from_mapping({"size": "larg"})
