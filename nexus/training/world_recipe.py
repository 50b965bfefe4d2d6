"""A recipe of a world model: what it is trained on, and how."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pydantic

from nexus.config import Config, merge, parse_overrides
from nexus.data.episodes.episodes import Episodes
from nexus.errors import DataError
from nexus.models.worlds.config import WorldConfig
from nexus.registry import Choice
from nexus.training.recipe import read_recipe
from nexus.training.run_recipe import RunRecipe

WORLDS = "worlds"
"""The room of recipes for world models."""
HELD_OUT_OF = 10
"""Where a recording has no splits, one episode of so many is kept from training."""


class EpisodesConfig(Config):
    """How recordings are read and sampled."""

    reader: Choice | None = None
    """What knows how they lie on the disk: a name of `nexus.data.episodes.opening.READERS`, or one
    of your own; null: chosen by what they are."""
    split: str = "train"
    """What is trained on, where a recording has splits; elsewhere nine of ten episodes."""
    cameras: tuple[str, ...] | None = None
    """In the order of the model's views; null: all there are."""
    block: pydantic.PositiveInt = 1
    """Control steps of one step of the model."""
    memory_gigabytes: pydantic.NonNegativeFloat = 2.0
    """Frames up to this size are kept once they are decoded."""
    max_bad_episodes: float = pydantic.Field(default=0.05, ge=0, le=1)
    """Share of unusable episodes above which the run stops and names them."""


class WorldRecipe(RunRecipe):
    """A training run of a world model, but for the recordings and the folder that it writes to."""

    model: WorldConfig
    """The model's settings, completed with its defaults and with the robots of the recordings."""
    data: EpisodesConfig = EpisodesConfig()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _of_a_world(cls, recipe: Any) -> Any:
        return (
            merge({"model": {"kind": "world"}}, recipe) if isinstance(recipe, Mapping) else recipe
        )

    @pydantic.model_validator(mode="after")
    def _no_curriculum(self) -> Self:
        if self.training.curriculum:
            raise ValueError("training.curriculum is for clips of videos; a world model has none")
        return self


def load_world_recipe(
    name_or_path: str | Path, overrides: Sequence[str] | Mapping[str, Any] = ()
) -> WorldRecipe:
    """A recipe by its name (`world`, `world-joint`) or from a YAML file, with changes on top.

    Raises:
        ConfigError: no such recipe, or a key or value that does not fit.
    """
    changes = overrides if isinstance(overrides, Mapping) else parse_overrides(overrides)
    return WorldRecipe.from_mapping(merge(read_recipe(name_or_path, WORLDS), changes))


def trained_on(episodes: Episodes, split: str = "train") -> tuple[int, ...]:
    """The episodes of a recording that are trained on.

    Where all are of one split (LeRobot says "train" of them unless somebody chose), one in
    `HELD_OUT_OF` is kept apart.

    Raises:
        DataError: the recording has splits, but not this one.
    """
    if len({one.split for one in episodes.episodes}) > 1:
        chosen = episodes.of_split(split)
        if not chosen:
            known = sorted({one.split for one in episodes.episodes if one.split})
            raise DataError(f"{episodes.source}: no split {split!r}; known: {', '.join(known)}")
        return chosen
    return tuple(index for index in episodes.indices if not _held_out(index))


def held_out(episodes: Episodes, split: str = "train") -> tuple[int, ...]:
    """The episodes that a model which was trained on the others is judged by."""
    used = set(trained_on(episodes, split))
    return tuple(index for index in episodes.indices if index not in used)


def _held_out(index: int) -> bool:
    return index % HELD_OUT_OF == HELD_OUT_OF - 1
