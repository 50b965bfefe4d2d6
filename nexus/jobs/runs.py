"""A run's folder as a starting point: its model, its recipe, its data, its evaluation clips."""

from collections.abc import Sequence
from pathlib import Path

from nexus.checkpoints.files import load_checkpoint_model
from nexus.config import read_yaml
from nexus.data.cache import CacheConfig
from nexus.data.catalog import Catalog, scan
from nexus.data.clip_source import ClipSource
from nexus.data.index import user_index_dir
from nexus.errors import CheckpointError
from nexus.jobs.console import progress
from nexus.models.ssl import SelfSupervisedModel
from nexus.runs.folder import expanded, run_folder
from nexus.training.environment import choose_device
from nexus.training.recipe import Recipe


def read_videos(data: str | Path | Sequence[str | Path], min_frames: int = 1) -> Catalog:
    """Scan videos with the user's index and a progress bar; see `nexus.data.catalog.scan`."""
    with progress("reading videos") as tick:
        return scan(data, index_dir=user_index_dir(), min_frames=min_frames, progress=tick)


def frames_needed(settings: Recipe) -> int:
    """Native frames that the longest clip of a recipe needs at the least."""
    clip = settings.data.clip
    longest = max(stage.clip.num_frames for stage in settings.stages)
    if clip.pad == "repeat_last":
        return 1
    return longest if clip.fps else (longest - 1) * clip.stride + 1


def clip_source(settings: Recipe, catalog: Catalog) -> ClipSource:
    """The evaluation clips that belong to a recipe: its last size, its rate, nothing random."""
    data = settings.data
    return ClipSource(
        settings.final_clip.for_evaluation(),
        catalog,
        cache=data.cache if data.cache.kind == "disk" else CacheConfig(),
        workers=data.workers,
    )


def load_run(run: str | Path) -> tuple[SelfSupervisedModel, Recipe]:
    """The model of a run (or checkpoint) in eval mode, and the run's recipe.

    Raises:
        CheckpointError: there is no checkpoint, or no recipe beside it.
    """
    model = load_checkpoint_model(expanded(run))
    file = run_folder(run) / "recipe.yaml"
    if not file.exists():
        raise CheckpointError(
            f"{file} is missing; it says how clips are cut for this model. Give a run's folder, or "
            "a checkpoint inside one"
        )
    return model, Recipe.from_mapping(read_yaml(file))


def load_for_measuring(
    run: str | Path, settings: Recipe | None = None
) -> tuple[SelfSupervisedModel, Recipe]:
    """`load_run`, with the model on the GPU if there is one, unless the recipe asks for the CPU.

    `settings` take the place of the recipe in the run's folder. A run that was trained on a GPU can
    be measured where there is none.
    """
    model, own = load_run(run)
    recipe = settings or own
    model.to(choose_device("cpu" if recipe.training.device == "cpu" else "auto"))
    return model, recipe
