"""Recipes of earlier versions brought to today's keys: the one place that knows the old ones."""

from collections.abc import Callable, Mapping
from typing import Any

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


RULES: tuple[Rule, ...] = ()
"""In the order in which the forms were given up."""
