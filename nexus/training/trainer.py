"""One run in the making: the loop over its steps, and everything that a step leaves behind."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from nexus.checkpoints.files import MODEL_FILE, ModelCard, load_state, save_checkpoint
from nexus.checkpoints.weights import load_weights
from nexus.errors import OutputError, TrainingError
from nexus.runs.folder import RunDirectory, how_to_continue
from nexus.runs.journal import JournalWriter
from nexus.runs.schema import ModelInfo, RunInfo
from nexus.training.assembly import assemble
from nexus.training.feed import FeedMaker, Taken
from nexus.training.health import HealthWatch, SkipWatch, thresholds
from nexus.training.interrupts import Interrupts
from nexus.training.live_page import LivePage
from nexus.training.optim import rates_at, set_rates
from nexus.training.progress import Pace, Screen
from nexus.training.rng import kept_rng, rng_state, set_rng_state
from nexus.training.run_recipe import RunRecipe
from nexus.training.start import Start, load_start
from nexus.training.step import StepResult, TrainingBatch
from nexus.version import nexus_version

Status = Literal["finished", "interrupted"]


class Trainer:
    """One run: its model, data and records, and the loop over its steps."""

    def __init__(
        self, recipe: RunRecipe, data: FeedMaker, run: RunDirectory, screen: Screen
    ) -> None:
        settings = recipe.training
        self.recipe, self.directory, self.screen = recipe, run, screen
        parts = assemble(recipe)
        self.device, self.model, self.optimizer = parts.device, parts.model, parts.optimizer
        self.take_step = parts.take_step
        self.feed = data(
            problems_file=run.problems_file,
            say=screen.say,
            pin_memory=self.device.type == "cuda",
        )
        self.health = HealthWatch(
            videos=self.feed.units,
            patience=settings.collapse_patience,
            on_collapse=settings.on_collapse,
        )
        self.skips = SkipWatch(limit=settings.max_skipped_steps)
        self.journal = JournalWriter(
            run.journal_file, tensorboard=run.tensorboard if settings.tensorboard else None
        )
        self.pace = Pace()
        self.step = 0
        self.loaded: Taken  # the last one that was taken
        self.checkpoint: Path | None = None
        self.saved_at = time.monotonic()
        self.last_row: dict[str, Any] = {}
        self.page: LivePage | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.feed.close()
        self.journal.close()

    def run(self, interrupts: Interrupts) -> Status:
        """Take steps until the run is done or has to stop; the last one is always saved.

        Raises:
            TrainingError: see `SkipWatch.count` and `HealthWatch.raise_if_stopped`.
            DataError: too many files cannot be read.
        """
        settings = self.recipe.training
        self.pace.start()
        self.saved_at = time.monotonic()
        while self.step < settings.steps and not (interrupts.requested or self.health.stops):
            rates = rates_at(self.recipe.optim, self.step, steps=settings.steps)
            set_rates(self.optimizer, **rates)
            logged = self.is_logged(self.step + 1)
            result = self.take_step(
                self.micro_batches(),
                self.step,
                planned=settings.batch_size * settings.accumulation,
                meters=logged,
            )
            self.step += 1
            self.account(result)
            if logged:
                self.log(result, rates)
            if self.step % settings.checkpoint_every == 0 or self.is_long_ago():
                self.save()
        self.save()
        self.health.raise_if_stopped(self.step)
        return "finished" if self.step == settings.steps else "interrupted"

    def micro_batches(self) -> Iterator[TrainingBatch]:
        """The batches of one step, each taken when it is asked for: a step may have hundreds."""
        for _ in range(self.recipe.training.accumulation):
            with self.pace.waiting():
                self.loaded = self.feed.take()
            yield self.loaded.batch

    def is_long_ago(self) -> bool:
        """Whether the last checkpoint is older than `training.checkpoint_minutes`."""
        minutes = self.recipe.training.checkpoint_minutes
        return minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes

    def is_logged(self, step: int) -> bool:
        """Whether the journal gets a row after this many steps: the first, the last, every nth."""
        settings = self.recipe.training
        return step in (1, settings.steps) or step % settings.log_every == 0

    def account(self, result: StepResult) -> None:
        """Count what a step did."""
        self.pace.count(result.clips)
        self.screen.move(self.step)
        self.skips.count(self.step, loss=result.loss, skipped=not result.finite)

    def log(self, result: StepResult, rates: Mapping[str, float]) -> None:
        """Write a row to the journal, look at the health, tell the person who watches."""
        metrics = {**result.metrics, **self.feed.readings(self.loaded)}
        news = self.health.read(self.step, metrics) if result.applied else None
        self.last_row = {
            "step": self.step,
            "epoch": self.loaded.epoch,
            **metrics,
            "loss": result.loss,
            **rates,
            "momentum": result.momentum,
            "grad_norm": result.grad_norm,
            "skipped_steps": self.skips.total,
            "health": self.health.verdict.status,
            "health_reason": self.health.verdict.reason,
            **self.pace.read(),
        }
        self.journal.write(self.last_row)
        self.screen.show(self.last_row)
        if news:
            self.screen.say(news)
        if self.page is not None:
            self.page.update(self.last_row["seconds"])

    def begin(self, start: Start | None) -> None:
        """Take over the weights that a run starts from, unless it has a checkpoint of its own.

        They are saved at once as the checkpoint of step 0: from then on, the run can be resumed
        without the file that they came from.

        Raises:
            CheckpointError: the weights do not fit.
            TrainingError: the run started from weights that it has not saved and was not given, or
                from nothing.
        """
        recorded = self.directory.info.init
        if start and not recorded:
            raise TrainingError(
                f"{self.directory.root} holds a run that did not start from weights; resume it "
                "without --init"
            )
        if self.checkpoint is not None or not recorded:
            return
        if start is None:
            raise TrainingError(
                f"this run was to start from {recorded.source}, but ended before it had saved "
                f"these weights; give them again: --init {recorded.source}"
            )
        told = load_start(self.model, start)
        notes = tuple(dict.fromkeys([*start.origin.notes, *told]))
        info, origin = self.directory.info, start.origin.with_changes(notes=notes)
        self.directory.write(info.with_changes(init=origin))
        self.screen.say("\n  ".join([f"starting from {origin.source}", *notes]))
        self.save()

    def save(self) -> None:
        """Write a checkpoint of this step, unless there is one."""
        if self.checkpoint and self.checkpoint.name == f"step_{self.step:08d}":
            return
        self.journal.sync()
        card = ModelCard(
            kind=self.recipe.model.kind,
            config=self.model.config.to_mapping(),
            step=self.step,
            extra=self.card_facts(),
        )
        try:
            self.checkpoint = save_checkpoint(
                self.directory.checkpoints,
                self.model,
                card,
                self.state_dict(),
                keep=self.recipe.training.keep_checkpoints,
            )
        except OutputError as error:
            again = how_to_continue(self.directory.info.command)
            raise OutputError(f"{error}:\n  {again}", error.errno) from error
        self.directory.write(self.counted(self.directory.info))
        self.saved_at = time.monotonic()

    def card_facts(self) -> dict[str, Any]:
        """What a checkpoint says of itself beside kind, settings and step."""
        init = self.directory.info.init
        facts = {"recipe": self.recipe.name, "nexus": nexus_version(), **self.feed.card()}
        return {**facts, "init": init.model_dump()} if init else facts

    def state_dict(self) -> dict[str, Any]:
        """All that a resume needs beside the model's weights."""
        return {
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.take_step.scaler.state_dict(),
            "feed": self.feed.state_dict(),
            "health": self.health.state_dict(),
            "skips": self.skips.state_dict(),
            "pace": self.pace.state_dict(),
            "journal_bytes": self.journal.size,
            "rng": rng_state(),
        }

    def restore(self, checkpoint: Path | None) -> None:
        """Go back to the moment after a checkpoint was saved; none: to the start of the run.

        Raises:
            CheckpointError: the checkpoint is damaged.
            DataError: the videos are not those that the run was started with.
        """
        if checkpoint is None:
            self.feed.write_problems()
            self.journal.rewind(0)
            return
        state = load_state(checkpoint)
        self.feed.load_state_dict(state["feed"])
        self.feed.write_problems()
        load_weights(self.model, checkpoint / MODEL_FILE)
        self.optimizer.load_state_dict(state["optimizer"])
        self.take_step.scaler.load_state_dict(state["scaler"])
        self.health.load_state_dict(state["health"])
        self.skips.load_state_dict(state["skips"])
        self.pace.load_state_dict(state["pace"])
        if not self.journal.rewind(state["journal_bytes"]):
            self.screen.say(
                f"{self.directory.journal_file} is shorter than when the checkpoint was saved: "
                "some of its rows are lost"
            )
        self.step, self.checkpoint = state["step"], checkpoint
        set_rng_state(state["rng"])
        self.screen.say(f"going on from {checkpoint} at step {self.step}")

    def describe(self) -> RunInfo:
        """What is trained, on what and how, for `run.json`."""
        encoder = self.model.evaluation_encoder("context")
        info = RunInfo(
            recipe=self.recipe.name,
            seed=self.recipe.training.seed,
            device=self.device.type,
            precision=self.recipe.training.precision,
            data=self.feed.describe(),
            model=ModelInfo(
                kind=self.recipe.model.kind,
                parameters=sum(p.numel() for p in self.model.parameters() if p.requires_grad),
                encoder_parameters=sum(p.numel() for p in encoder.parameters()),
            ),
            health_thresholds=thresholds(),
            steps_total=self.recipe.training.steps,
        )
        return self.counted(info)

    def rehearse(self) -> None:
        """Forward and backward of a random batch, as in a step, that leaves no trace."""
        with kept_rng():
            self.take_step.backward(self.feed.random_batch(), meters=False)
        self.optimizer.zero_grad(set_to_none=True)

    def counted(self, info: RunInfo) -> RunInfo:
        """What `run.json` says, with how far the run has come."""
        return info.with_changes(
            steps_done=self.step,
            train_seconds=round(self.pace.seconds, 3),
            clips_seen=self.pace.clips,
        )
