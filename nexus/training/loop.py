"""`train`: open the run's folder, start or restore, run the loop, write down how it ended."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from nexus.atomic import check_writable
from nexus.checkpoints.files import discard_leftovers, latest_checkpoint
from nexus.data.catalog.catalog import Catalog
from nexus.data.catalog.clip_check import check_clips
from nexus.models.ssl.collapse import Diagnosis
from nexus.runs.folder import RunDirectory, how_to_continue
from nexus.runs.schema import PlanInfo
from nexus.training.cpu import calibrate, precision_warning, thread_counts
from nexus.training.environment import choose_device, describe_environment, kept_settings
from nexus.training.feed import FeedMaker, VideoFeed, training_part
from nexus.training.interrupts import Interrupts
from nexus.training.live_page import LivePage
from nexus.training.progress import Screen
from nexus.training.recipe import Recipe
from nexus.training.run_recipe import RunRecipe
from nexus.training.start import Start
from nexus.training.trainer import Status, Trainer


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    out: Path
    status: Status
    steps_done: int
    steps_total: int
    checkpoint: Path
    train_seconds: float
    """Seconds in the loop, those before a resume included."""
    clips_seen: int
    skipped_steps: int
    health: Diagnosis
    last_row: Mapping[str, Any]
    """The journal's last row; empty when nothing was logged."""
    signal: str | None = None
    """The signal that came, if one did; a finished run came to its end all the same."""


def train(
    recipe: Recipe,
    catalog: Catalog,
    out: str | Path,
    *,
    resume: bool = False,
    start: Start | None = None,
    plan: PlanInfo | None = None,
    command: str = "",
    console: Console | None = None,
    live_page: bool = False,
) -> TrainResult:
    """Train a model into a run directory; saves and returns early on Ctrl-C or SIGTERM.

    Process-wide settings (random generators, thread count) are put back afterwards.

    Args:
        recipe: what to compute.
        catalog: the videos; its training split is used, if it has splits.
        out: the run's folder, new or, with `resume`, that of an earlier run.
        resume: go on from the run's last checkpoint (from the start if it has none yet). On the
            CPU the weights and the journal come out bit for bit as without the interruption.
        start: weights to start from; not needed once the run has a checkpoint.
        plan: why the recipe is as it is, for the record.
        command: the command line that was given, for the record and for the hint how to go on.
        console: where progress goes; default: standard error.
        live_page: write RUN/report.html now and then; the caller replaces it by the whole page.

    Raises:
        TrainingError: `out` holds a run already, or none to resume, or one with another recipe;
            too many steps in a row without finite numbers; a collapse under the `stop` policy.
        DataError: no usable videos, or too many files that cannot be read.
        OutputError: `out` cannot be written, or the disk is full.
        CheckpointError: the checkpoint to resume from is damaged, or the weights to start from do
            not fit.
    """
    videos = training_part(catalog, recipe.data.split)
    videos.check_usable()
    foreseen = check_clips(videos.records, recipe.longest_clip)
    foreseen.raise_if_too_many(recipe.data.max_bad_files)
    return run_training(
        recipe,
        partial(VideoFeed, recipe, catalog),
        out,
        resume=resume,
        start=start,
        plan=plan,
        command=command,
        console=console,
        live_page=live_page,
        notes=foreseen.notes(),
    )


def run_training(
    recipe: RunRecipe,
    data: FeedMaker,
    out: str | Path,
    *,
    resume: bool = False,
    start: Start | None = None,
    plan: PlanInfo | None = None,
    command: str = "",
    console: Console | None = None,
    live_page: bool = False,
    notes: Sequence[str] = (),
) -> TrainResult:
    """`train`, whatever the model is trained on.

    Args:
        data: opens it.
        notes: what is told of it before the first step.
    """
    choose_device(recipe.training.device)
    check_writable(out)
    run = RunDirectory(out)
    with run.lock(), kept_settings(), Interrupts() as interrupts:
        if resume:
            run.reopen(recipe)
        else:
            run.check_free()
        screen = Screen(
            console or Console(stderr=True), log_file=run.log_file, steps=recipe.training.steps
        )
        with screen, Trainer(recipe, data, run, screen) as trainer:
            discard_leftovers(run.checkpoints)
            trainer.restore(latest_checkpoint(run.checkpoints) if resume else None)
            info = trainer.describe().with_changes(
                command=command,
                environment=describe_environment(),
                init=start.origin if start else None,
                plan=plan,
            )
            run.start(recipe, info)
            if plan:
                screen.say(str(plan))
            trainer.page = LivePage(run.root, screen.say) if live_page else None
            with trainer.page or nullcontext():
                with run.failures_recorded():
                    for note in () if resume else notes:
                        screen.say(f"note: {note}")
                    trainer.begin(start)
                    trainer.feed.attach(trainer.model)
                    if slow := precision_warning(recipe.training.precision, trainer.device):
                        screen.say(slow)
                    settle_threads(trainer, run)
                    status = trainer.run(interrupts)
                run.finish(status)
            if status == "interrupted":
                screen.say(
                    f"{interrupts.requested}: saved at step {trainer.step} of "
                    f"{recipe.training.steps}. To go on:\n  {how_to_continue(run.info.command)}"
                )
            return _result(trainer, status, interrupts.requested)


def settle_threads(trainer: Trainer, run: RunDirectory) -> None:
    """Set the number of CPU threads: as the run had it before, as the recipe says, or by trying."""
    wanted = run.info.threads or trainer.recipe.training.threads
    if wanted != "auto":
        torch.set_num_threads(wanted)
    elif trainer.device.type == "cpu" and trainer.recipe.training.steps:
        found = calibrate(trainer.rehearse, thread_counts(torch.get_num_threads()))
        trainer.screen.say(f"using {found}")
    run.write(run.info.with_changes(threads=torch.get_num_threads()))


def _result(trainer: Trainer, status: Status, signal: str | None) -> TrainResult:
    assert trainer.checkpoint is not None, "a run saves before it returns"
    return TrainResult(
        out=trainer.directory.root,
        status=status,
        signal=signal,
        steps_done=trainer.step,
        steps_total=trainer.recipe.training.steps,
        checkpoint=trainer.checkpoint,
        train_seconds=trainer.pace.seconds,
        clips_seen=trainer.pace.clips,
        skipped_steps=trainer.skips.total,
        health=trainer.health.verdict,
        last_row=trainer.last_row,
    )
