"""Recipes of earlier versions brought to today's keys: the one place that knows the old ones."""

from collections.abc import Callable, Mapping
from typing import Any

from nexus.errors import ConfigError

Rule = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a recipe (a copy, its own groups not) and gives it with one old form replaced."""


def upgraded(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe, complete or not, with today's keys; one of today comes back as it is.

    What is no recipe at all (a group that holds no keys, a misspelt key) is left for the
    validation to name.
    """
    current = dict(recipe)
    for rule in RULES:
        current = rule(current)
    return current


def _short_side_left_the_cache(recipe: dict[str, Any]) -> dict[str, Any]:
    """`data.cache.short_side` changed the pixels whatever the cache: it belongs to the clips."""
    data = recipe.get("data")
    cache = data.get("cache") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(cache, Mapping):
        return recipe
    if "short_side" not in cache:
        return recipe
    cache = dict(cache)
    old, clip = cache.pop("short_side"), data.get("clip", {})
    if old is not None and isinstance(clip, Mapping):
        if clip.get("short_side") not in (None, old):
            raise ConfigError(
                f"data.clip.short_side is {clip['short_side']} and data.cache.short_side, its old "
                f"name, {old}; leave the latter out"
            )
        clip = {**clip, "short_side": old}
    return {**recipe, "data": {**data, "clip": clip, "cache": cache}}


def _one_decoder_is_left(recipe: dict[str, Any]) -> dict[str, Any]:
    """`data.decoder` named one of two libraries, which gave the same frames."""
    data = recipe.get("data")
    if not isinstance(data, Mapping) or data.get("decoder") not in ("auto", "pyav", "torchcodec"):
        return recipe
    return {**recipe, "data": {key: data[key] for key in data if key != "decoder"}}


def _kind_joined_the_model(recipe: dict[str, Any]) -> dict[str, Any]:
    """`kind` says whose settings `model` holds: it stands among them."""
    if "kind" not in recipe:
        return recipe
    kind = recipe.pop("kind")
    model = recipe.get("model", {})
    if not isinstance(model, Mapping):
        return recipe
    if model.get("kind", kind) != kind:
        raise ConfigError(
            f"model.kind is {model['kind']!r} and kind, its old name, {kind!r}; leave that out"
        )
    return {**recipe, "model": {"kind": kind, **model}}


RULES: tuple[Rule, ...] = (
    _short_side_left_the_cache,
    _one_decoder_is_left,
    _kind_joined_the_model,
)
"""In the order in which the forms were given up."""
