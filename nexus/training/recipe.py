"""A recipe: everything that decides what a training run computes, in one validated mapping."""

from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, Self

import pydantic
import yaml

from nexus.config import Config, merge, parse_overrides, read_yaml
from nexus.data.catalog.catalog import Catalog
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.augment import AugmentConfig
from nexus.data.loading.cache import CacheConfig
from nexus.data.loading.clip_source import ClipSource
from nexus.errors import ConfigError, did_you_mean
from nexus.models.contract import ModelConfig
from nexus.models.presets import expand_size
from nexus.registry import Choice
from nexus.runs.folder import RunDirectory
from nexus.training.cpu import usable_cores
from nexus.training.curriculum import Stage, check_table, clip_at, stages_of
from nexus.training.history import upgraded
from nexus.training.optim import OptimConfig
from nexus.training.reference import ReferenceRun
from nexus.training.run_recipe import RunRecipe, TrainingConfig, reasons_of
from nexus.training.start import continued_model


class DataConfig(Config):
    """How the videos are found, and clips taken from them, changed and read."""

    reader: Choice | None = None
    """What knows how the data lies on the disk: a name of `nexus.data.catalog.sources.READERS`, or
    one of your own as `package.module:Class`; null: chosen by what the data is."""
    split: str | None = "train"
    """Which split is trained on, where the catalog has splits; null: everything."""
    clip: ClipSpec = ClipSpec()
    """`num_frames`, `size` and `channels` follow the model (`num_frames`, `img_size`, `in_chans`);
    a curriculum has other lengths and sizes."""
    augment: AugmentConfig | None = AugmentConfig()
    """Null: no augmentation, only resizing and a centre crop."""
    cache: CacheConfig = CacheConfig()
    """Keeping decoded frames pays where decoding costs more than the training step."""
    num_workers: pydantic.NonNegativeInt | Literal["auto"] = 0
    """Processes that decode ahead; 0: in the training process; auto: one a processor, at most 8."""
    max_bad_files: float = pydantic.Field(default=0.05, ge=0, le=1)
    """Share of unusable files above which the run stops and names them."""

    @property
    def workers(self) -> int:
        """`num_workers` on this machine."""
        return min(8, usable_cores()) if self.num_workers == "auto" else self.num_workers


class Recipe(RunRecipe):
    """A training run, but for the data and the folder that it writes to."""

    data: DataConfig = DataConfig()
    reference: ReferenceRun | None = None
    """Continued training: what is not given of the learning rate, its warm-up and cooldown and
    `model.ema_momentum` is scaled from this run. Such a recipe needs weights to start from."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _prepare(cls, recipe: Any) -> Any:
        return _scaled(upgraded(recipe)) if isinstance(recipe, Mapping) else recipe

    @pydantic.field_validator("data", mode="before")
    @classmethod
    def _complete_clip(cls, data: Any, info: pydantic.ValidationInfo) -> Any:
        if isinstance(data, DataConfig):
            data = data.model_dump(exclude_unset=True)
        if not isinstance(data, Mapping) or "model" not in info.data:
            return data
        return merge({"clip": _clip_of(info.data["model"])}, data)

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        follows = self.data.clip.with_changes(**_clip_of(self.model))
        for key, name in _FOLLOWS.items():
            own, expected = getattr(self.data.clip, key), getattr(follows, key)
            if own != expected and not (key == "num_frames" and self.training.curriculum):
                raise ValueError(
                    f"data.clip.{key} is {own} and model.{name} is {expected}; leave the former "
                    "out, or set training.curriculum"
                )
        if self.training.curriculum:
            self._check_curriculum()
        return self

    def _check_curriculum(self) -> None:
        check_table(self.training.curriculum)
        for stage in self.stages:
            shape = {"num_frames": stage.clip.num_frames, "img_size": stage.clip.size}
            try:
                self.model.with_changes(**shape)
            except ConfigError as error:
                raise ValueError(
                    f"training.curriculum, the row of step {stage.first_step}: {reasons_of(error)}"
                ) from None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The curriculum, a single stage where none is set."""
        table = self.training.curriculum or ((0, self.data.clip.num_frames),)
        return stages_of(table, self.data.clip)

    @property
    def final_clip(self) -> ClipSpec:
        """What clips are when the run ends: so the model is measured and used afterwards."""
        return clip_at(self.stages, max(0, self.training.steps - 1))

    @property
    def frames_needed(self) -> int:
        """Native frames that the longest clip needs at the least."""
        clip = self.longest_clip
        if clip.pad == "repeat_last":
            return 1
        return clip.num_frames if clip.fps else (clip.num_frames - 1) * clip.stride + 1

    @property
    def longest_clip(self) -> ClipSpec:
        """The clips of the stage that has the most frames."""
        return max((stage.clip for stage in self.stages), key=lambda clip: clip.num_frames)

    def evaluation_source(self, catalog: Catalog) -> ClipSource:
        """The clips that an encoder is measured on: of the last size, nothing drawn at random."""
        data = self.data
        return ClipSource(
            self.final_clip.for_evaluation(),
            catalog,
            cache=data.cache if data.cache.kind == "disk" else CacheConfig(),
            workers=data.workers,
        )


_FOLLOWS = {"num_frames": "num_frames", "size": "img_size", "channels": "in_chans"}
"""Keys of a clip that follow the model's, and what they are called there."""


def _clip_of(model: ModelConfig) -> dict[str, Any]:
    return {key: getattr(model, name) for key, name in _FOLLOWS.items()}


def recipe_names(room: str = "") -> list[str]:
    """The recipes that come with nexus: those for videos, or of a room within (`worlds`)."""
    folder = resources.files("nexus") / "recipes" / room
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def load_recipe(
    name_or_path: str | Path,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    *,
    weights: Mapping[str, Any] | None = None,
) -> Recipe:
    """A recipe by its name (`seed`, `small`, ...) or from a YAML file, with changes on top.

    Args:
        overrides: `["optim.lr=3e-4", ...]` or the nested mapping that such a list means.
        weights: the complete settings of the model that training starts from, if it does.

    Raises:
        ConfigError: no such recipe, or a key or value that does not fit (the nearest known key is
            named); a recipe that contradicts the weights, or that needs some.
    """
    changes = overrides if isinstance(overrides, Mapping) else parse_overrides(overrides)
    recipe = merge(_layer(read_recipe(name_or_path)), _layer(changes))
    if weights is not None:
        recipe["model"] = continued_model(weights, recipe.get("model", {}))
    elif recipe.get("reference"):
        raise ConfigError(
            f"recipe {name_or_path} goes on from weights, and none are given; name them with "
            "--init WEIGHTS (a run's folder, a file, or a model's name on the Hugging Face hub)"
        )
    return Recipe.from_mapping(recipe)


def read_run_recipe(out: str | Path) -> Recipe:
    """The resolved recipe of the run in `out`, for instance to resume it.

    Raises:
        TrainingError: there is no run.
        ConfigError: its recipe is damaged.
    """
    return Recipe.from_mapping(RunDirectory(out).read_recipe())


def _scaled(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe of continued training, completed with what its reference run says."""
    if not recipe.get("reference"):
        return recipe
    try:
        reference = ReferenceRun.model_validate(recipe["reference"])
        training = TrainingConfig.model_validate(recipe.get("training", {}))
        optim = OptimConfig.model_validate(recipe.get("optim", {}))
    except pydantic.ValidationError:
        return recipe  # the fields' own validation says what is wrong
    clips = training.batch_size * training.accumulation
    return merge(reference.settings_for(optim, steps=training.steps, clips=clips), recipe)


def _layer(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Today's keys, and `model.size` spelled out, so that a layer overrides the ones below."""
    layer = upgraded(layer)
    model = layer.get("model")
    return {**layer, "model": expand_size(model)} if isinstance(model, Mapping) else layer


def read_recipe(name_or_path: str | Path, room: str = "") -> dict[str, Any]:
    """What a recipe says, as it stands; its name is the file's unless it has one.

    Args:
        room: where names are looked up, see `recipe_names`.

    Raises:
        ConfigError: no such recipe, or no YAML mapping.
    """
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")) or len(Path(text).parts) > 1:
        return {"name": Path(text).stem, **read_yaml(text)}
    file: Traversable = resources.files("nexus") / "recipes" / room / f"{text}.yaml"
    if not file.is_file():
        raise ConfigError(
            f"no recipe is called {text!r}; {did_you_mean(text, recipe_names(room))}; a path to a "
            ".yaml file works too"
        )
    return {"name": text, **yaml.safe_load(file.read_text(encoding="utf-8"))}
