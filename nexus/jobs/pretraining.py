"""`pretrain` and `demo`: from videos to a trained, diagnosed, measured encoder and its page."""

import shlex
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nexus.atomic import check_writable, write_text
from nexus.config import parse_overrides
from nexus.data.catalog.catalog import Catalog
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.clip_source import ClipSource
from nexus.errors import ConfigError, DataError
from nexus.features.neighbours import find_neighbours
from nexus.features.pictures import write_pictures
from nexus.fitting.plan import Planner
from nexus.jobs.console import (
    progress,
    say_notes,
    say_problems,
    starts_over,
    told_on_interrupt,
)
from nexus.jobs.fitting import BASE, MINUTES, plan_for
from nexus.jobs.opening import OpenedEncoder, open_encoder, read_videos
from nexus.jobs.probing import measure_arms
from nexus.jobs.starting import start_of
from nexus.probes.columns import label_columns
from nexus.reports.facts import resume_command
from nexus.reports.page import PAGE, write_report
from nexus.reports.tables import markdown_table
from nexus.reports.worth import comparisons
from nexus.runs.folder import RunDirectory, is_finished
from nexus.runs.predictions import write_predictions
from nexus.runs.read import read_run
from nexus.runs.results import write_probe_rows
from nexus.runs.schema import ProbeRow, RunInfo
from nexus.toy.world import ToyConfig, write_toy_world
from nexus.training.interrupts import Interrupts
from nexus.training.loop import train
from nexus.training.recipe import load_recipe

TOY, ADAPT = "toy", "adapt"
DEMO_MINUTES = 5.0
"""What training takes in the demo, where `pretrain` would take 20."""
SHORT_LOOK = 0.5
"""Seconds below which little moves in front of a camera."""
NEIGHBOURS = "neighbours.json"
RESULTS = ("pca.npz", "horizon.json", "probes.json", "predictions.json", NEIGHBOURS)
"""What is measured of a run and shown on its page, in this order."""
TOY_TASKS = ("direction", "speed", "contact", "occlusion", "shape")


@dataclass(frozen=True)
class RunResult:
    """How a run went: its folder and page, how it ended, the doctor's word, and all in text."""

    out: Path
    report: Path | None
    status: str
    health: str
    summary: str


def pretrain(
    data: str | Path | Sequence[str | Path] | None,
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    minutes: float | None = None,
    overrides: Sequence[str] = (),
    init: str | Path | None = None,
    resume: bool = False,
    seed: int | None = None,
    label: str | Sequence[str] | None = None,
    report: bool = True,
    command: str = "",
) -> RunResult:
    """Train an encoder on videos, diagnose it, measure its features, write a page.

    Args:
        data: a folder, a .csv or .jsonl list, a video, several of these, or "toy" for a toy world
            that is made in `out/toy`. None, with `resume`: what the run was trained on.
        out: the run's folder.
        recipe: a recipe's name or a .yaml file; None: chosen by looking at videos and machine
            (`plan_run`), "adapt" with `init`, that of the run to resume.
        minutes: what training may take where the recipe is chosen; None: 20.
        overrides: changes to the recipe, `["training.steps=2000", ...]`; they always win.
        init: weights to start from (recipe "adapt" needs some): what `nexus.load` takes, that is
            the folder of a run or checkpoint, published weights, or a hub id. The run keeps what
            it needs of them.
        resume: go on with the run in `out`. More `training.steps` than it had make it longer, a
            finished one too: from there on its schedules are those of a run of that length.
        seed: of the run; default: the recipe's.
        label: label column(s) to probe; default: every one that the data has.
        report: False only trains.

    Raises:
        DataError: no usable video, an unknown label column, or too many files that fail.
        ConfigError: a recipe or override that is not acceptable, or that does not go with `init`;
            `minutes` with a recipe, whose length is its own.
        CheckpointError: `init` cannot be read.
        TrainingError: `out` holds a run already, or training cannot go on.
        OutputError: `out` cannot be written, or the disk is full.
    """
    out, seeded = Path(out), [] if seed is None else [f"training.seed={seed}"]
    check_writable(out)
    run = RunDirectory(out)
    changes = parse_overrides([*overrides, *seeded])
    if resume:
        run.check_started()
        recipe = recipe or run.recipe_file
    else:
        run.check_free()
        recipe = recipe or (ADAPT if init is not None else None)
        if recipe is not None and minutes is not None:
            raise ConfigError(
                f"minutes {minutes:g}: a run of recipe {recipe} is as long as its training.steps; "
                "give the steps (--steps), or leave the recipe out to have all chosen"
            )
    if data is None:
        data = _data_of(out, resume=resume)
    planner = plan = None
    start, weights = start_of(init, out, resume=resume)
    if recipe is None:
        planner = Planner(BASE, changes, MINUTES if minutes is None else minutes)
        settings = planner.settings
    else:
        settings = load_recipe(recipe, changes, weights=weights)
    if data == TOY:
        data = toy_world(out / "toy", ToyConfig.from_mapping({}), seed=settings.training.seed)
        label = label or TOY_TASKS
    frames = 1 if planner else settings.frames_needed
    wanted = (label,) if isinstance(label, str) else label
    with told_on_interrupt(starts_over):
        catalog = read_videos(data, frames, settings.data.reader)
        columns = label_columns(catalog, wanted)
        if planner:
            plan, catalog = plan_for(catalog, planner)
            settings = plan.recipe
    say_problems(catalog)
    say_notes([short_look(catalog, settings.final_clip)])
    before = run.read_info().steps_done if resume else None
    with kept_on_interrupt(out):
        result = train(
            settings,
            catalog,
            out,
            resume=resume,
            start=start,
            plan=plan.record if plan else None,
            command=command,
            live_page=report,
        )
        told = [f"Health: {result.health.status}: {result.health.reason}."]
        page = None
        if resume and result.status == "finished" and result.steps_done != before:
            _forget_results(out)
        if report and result.status == "finished":
            if result.signal:  # it came too late for the training
                raise KeyboardInterrupt
            opened = open_encoder(out, recipe=settings)
            pictures, notes = diagnose(opened, catalog, columns, strict=wanted is not None)
            with progress("drawing the page"):
                page = write_report(out)
            told += [*pictures, *notes, *_table(out)]
    return RunResult(out, page, result.status, result.health.status, "\n\n".join(told))


@contextmanager
def kept_on_interrupt(out: Path) -> Iterator[None]:
    """On Ctrl-C, say what is kept of a run and how to go on; a page of it says what it lacks."""

    def kept() -> str:
        if not (out / "run.json").exists():
            return starts_over()
        run = read_run(out)
        state = "is trained to its end and kept; what is measured after that"
        if run.info.status != "finished":
            state = "is kept as its last checkpoint has it; the training"
        return f"the run in {out} {state} goes on with\n  {resume_command(run)}"

    try:
        with told_on_interrupt(kept):
            yield
    except KeyboardInterrupt:
        if is_finished(out) and (out / PAGE).exists():  # it says that something more comes
            with Interrupts():  # another Ctrl-C waits for it
                write_report(out)
        raise


def _forget_results(out: Path) -> None:
    """Remove what was measured of an earlier state of a run, which is measured anew."""
    for name in RESULTS:
        (out / "results" / name).unlink(missing_ok=True)


def short_look(catalog: Catalog, clip: ClipSpec) -> str | None:
    """What to say where clips last but an instant of much longer videos, if they do."""
    look = statistics.median(clip.seconds(record.fps) for record in catalog.records)
    lasts = statistics.median(record.duration for record in catalog.records)
    if look >= SHORT_LOOK or lasts < 2 * SHORT_LOOK:
        return None
    return (
        f"a clip lasts {look:.2f} s and your videos {lasts:.1f} s in the median: in so short a "
        "look little moves, and little is learned; leave --recipe out (clips are chosen then), or "
        f"try data.clip.fps={max(1, (clip.num_frames - 1) // 2)} with this recipe"
    )


def _data_of(out: Path, *, resume: bool) -> str | tuple[str, ...]:
    if not resume:
        raise DataError("there is no data to train on; name a folder of videos or a list")
    source = RunDirectory(out).read_info().data.source
    if source is None:
        raise DataError(f"{out} does not say what it was trained on; name the data again")
    return source


def demo(out: str | Path = "demo", *, seed: int = 0) -> RunResult:
    """Make a toy world, train on it, compare the features with random init and pixels.

    An interrupted demo in `out` is continued; of a finished one only the page is written again.

    Raises:
        TrainingError: `out` holds a demo with another seed.
    """
    out = Path(out)
    check_writable(out)
    run = out / "run"
    started = (run / "run.json").exists()
    info = RunDirectory(run).read_info() if started else RunInfo()
    measured = (run / "results" / NEIGHBOURS).exists()  # the last of them
    if info.status == "finished" and info.seed == seed and measured:
        told = f"{out} holds a finished demo; remove it to run the demo anew."
        health = str(read_run(run).journal.rows[-1]["health"])
        page = write_report(run, out / "report.html")
        return RunResult(run, page, "finished", health, "\n\n".join([told, *_table(run)]))
    command = shlex.join(["nexus", "demo", "--out", str(out), "--seed", str(seed)])
    listing = toy_world(out / "videos", ToyConfig.from_mapping({}), seed=seed)
    done = pretrain(
        listing,
        run,
        minutes=None if started else DEMO_MINUTES,
        resume=started,
        seed=seed,
        label=TOY_TASKS,
        command=command,
    )
    if done.report is None:
        return done
    with kept_on_interrupt(run):
        return replace(done, report=write_report(run, out / "report.html"))


def toy_world(folder: Path, config: ToyConfig, *, seed: int) -> Path:
    """The listing of a toy world in `folder`, made unless the very same one is there already."""
    stamp = folder / "toy.json"
    wanted = config.model_dump_json() + f" seed {seed}\n"
    listing = folder / "labels.csv"
    if listing.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return listing
    with told_on_interrupt(starts_over), progress("drawing the toy world") as tick:
        write_toy_world(folder, config, seed=seed, progress=tick)
    write_text(stamp, wanted)
    return listing


def diagnose(
    opened: OpenedEncoder,
    catalog: Catalog,
    columns: Sequence[str],
    kinds: Sequence[str] = ("linear", "knn"),
    *,
    seeds: int = 1,
    strict: bool = False,
    beside: Sequence[ProbeRow] = (),
) -> tuple[list[str], list[str]]:
    """Draw a run's features and, where there are labels, probe them; notes on either for the user.

    `beside` are rows of the weights that it started from.
    """
    source = opened.reading(catalog)
    with progress("picturing the features"):
        pictures = write_pictures(opened.model, opened.encoder, source, opened.results)
    if not columns:
        return [*pictures, *_neighbours(opened, source)], []
    arms = measure_arms(opened, catalog, columns, kinds, seeds=seeds, strict=strict)
    own = [row for row in arms.rows if row.role == "trained"]
    rows = [*own, *beside, *arms.rows[len(own) :]]
    write_probe_rows(opened.results / "probes.json", rows, notes=arms.notes)
    write_predictions(opened.results / "predictions.json", arms.predictions)
    return [*pictures, *_neighbours(opened, source)], arms.notes


def _neighbours(opened: OpenedEncoder, source: ClipSource) -> list[str]:
    """Write which clips are alike; says why if that cannot be done."""
    try:
        with progress("looking for clips that are alike") as tick:
            found = find_neighbours(
                opened.encoder, source, opened.results / "features", progress=tick
            )
    except DataError as error:
        return [f"no nearest neighbours: {error}"]
    found.save(opened.results / NEIGHBOURS)
    return []


def _table(out: Path) -> list[str]:
    """The linear probes of all arms, then the run beside each baseline under its best probe."""
    probes = read_run(out).probes
    if probes is None or not probes.rows:
        return []
    linear = [row for row in probes.rows if row.probe == "linear"]  # none where all are quantities
    beside = "\n".join(map(str, comparisons(probes)))
    return [markdown_table(linear or probes.rows).strip(), beside]
