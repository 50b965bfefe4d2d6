"""Recipes of earlier versions say the same today."""

from pathlib import Path

import pytest

from nexus.config import read_yaml
from nexus.errors import ConfigError
from nexus.training.history import upgraded
from nexus.training.recipe import Recipe, load_recipe

ASSETS = Path(__file__).parents[1] / "assets/v0.1"


@pytest.mark.parametrize("run", ["finished", "interrupted", "pixels"])
def test_a_recipe_of_0_1_opens(run):
    old = read_yaml(ASSETS / run / "recipe.yaml")
    recipe = Recipe.from_mapping(old)
    clip = recipe.data.clip
    assert (clip.num_frames, clip.size, clip.channels, clip.short_side) == (4, (16, 16), 3, None)
    assert recipe.training.steps == old["training"]["steps"]
    assert upgraded(recipe.to_mapping()) == recipe.to_mapping()
    assert Recipe.from_mapping(recipe.to_mapping()) == recipe


def test_the_short_side_left_the_cache():
    old = {"data": {"clip": {"stride": 2}, "cache": {"kind": "memory", "short_side": 48}}}
    assert upgraded(old) == {
        "data": {"clip": {"stride": 2, "short_side": 48}, "cache": {"kind": "memory"}}
    }
    assert upgraded({"data": {"cache": {"short_side": 48}}})["data"]["clip"] == {"short_side": 48}
    unused = {"data": {"clip": {"short_side": 32}, "cache": {"short_side": None}}}
    assert upgraded(unused)["data"] == {"clip": {"short_side": 32}, "cache": {}}
    recipe = load_recipe("small", ["data.cache.short_side=48"])
    assert recipe.data.clip.short_side == 48
    resolved = recipe.to_mapping()
    with pytest.raises(ConfigError, match=r"data\.clip\.short_side is 48.*its old name, 32"):
        Recipe.from_mapping({**resolved, "data": {**resolved["data"], "cache": {"short_side": 32}}})


@pytest.mark.parametrize("name", ["auto", "pyav", "torchcodec"])
def test_a_decoder_is_no_choice_any_more(name):
    assert load_recipe("small", [f"data.decoder={name}"]) == load_recipe("small")
    with pytest.raises(ConfigError, match=r"unknown key 'data\.decoder'"):
        load_recipe("small", ["data.decoder=opencv"])


@pytest.mark.parametrize("nonsense", [{"data": 3}, {"data": {"cache": 3}}, {"data": None}])
def test_what_is_no_recipe_is_left_for_the_validation(nonsense):
    assert upgraded(nonsense) == nonsense
