"""`plan_run`: look at videos and machine and say what a run would be; `pretrain` does the same."""

from collections.abc import Sequence
from pathlib import Path

from nexus.atomic import check_writable
from nexus.config import parse_overrides
from nexus.data.catalog.catalog import Catalog
from nexus.errors import ConfigError, OutputError
from nexus.fitting.movement import look_at_movement
from nexus.fitting.plan import Planner, RunPlan
from nexus.jobs.console import progress
from nexus.jobs.opening import read_videos
from nexus.training.feed import training_part

BASE, MINUTES = "footage", 20.0
"""The recipe that a plan completes, and what training may take, unless something else is asked."""


def plan_run(
    data: str | Path | Sequence[str | Path],
    *,
    minutes: float = MINUTES,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
) -> RunPlan:
    """Look at videos, try a few sizes on this machine, choose a run; nothing is trained.

    Args:
        data: a folder, a .csv or .jsonl list, a video, or several of these.
        minutes: that training may take; probes and the page come on top.
        overrides: settings that are not to be chosen, `["model.img_size=96", ...]`.
        out: a .yaml file that the recipe is written to, to be edited and trained with.

    Raises:
        DataError: no usable video, only still pictures, or none as long as a clip that was asked.
        ConfigError: an override that is not acceptable, a budget in which not one step fits, or an
            `out` that is not called .yaml.
        OutputError: `out` cannot be written, or is there already.
    """
    if out is not None:
        _check_file(Path(out))
    planner = Planner(BASE, parse_overrides(overrides), minutes)
    plan, _ = plan_for(read_videos(data, 1, planner.settings.data.reader), planner)
    if out is not None:
        plan.save(out)
    return plan


def plan_for(catalog: Catalog, planner: Planner) -> tuple[RunPlan, Catalog]:
    """A plan for some videos, and those of them that are long enough for it."""
    training = training_part(catalog, planner.settings.data.split)
    with progress("looking at the videos") as tick:
        movement = look_at_movement(training, progress=tick)
    with progress("trying sizes"):
        plan = planner.plan(training, movement)
    catalog = catalog.of_at_least(plan.recipe.frames_needed)
    catalog.check_usable()
    return plan, catalog


def _check_file(path: Path) -> None:
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{path}: a recipe's file is called NAME.yaml")
    check_writable(path, folder=False)
    if path.exists():
        raise OutputError(f"{path} is there already; remove it, or name another file (--out)")
