"""`train_world`: from recordings of robots to a trained world model and its page."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nexus.atomic import check_writable
from nexus.checkpoints.weights import tensor_digest
from nexus.config import merge, parse_overrides
from nexus.data.episodes.opening import open_episodes
from nexus.data.episodes.robot import Robot
from nexus.data.episodes.stretches import Stretches
from nexus.errors import ConfigError, DataError
from nexus.jobs.console import progress, say_notes, starts_over, told_on_interrupt
from nexus.jobs.opening import open_encoder
from nexus.jobs.pretraining import RunResult, kept_on_interrupt
from nexus.models.encoder import EncoderConfig
from nexus.reports.page import write_report
from nexus.runs.folder import RunDirectory
from nexus.runs.schema import InitInfo
from nexus.training.episode_feed import EpisodeFeed
from nexus.training.loop import run_training
from nexus.training.start import Start
from nexus.training.world_recipe import WorldRecipe, load_world_recipe, trained_on

RECIPE, FROZEN_RECIPE = "world-joint", "world"
GIGABYTE = 1e9
PART = "encoder.encoder."


def train_world(
    data: str | Path | Sequence[str | Path] | None,
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    encoder: str | Path | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    seed: int | None = None,
    report: bool = True,
    command: str = "",
) -> RunResult:
    """Train a world model on robot episodes: what an action does to what the camera sees.

    Args:
        data: a recording (a LeRobot folder, an HDF5 file of robomimic) or several, one a robot.
            None, with `resume`: what the run was trained on.
        out: the run's folder.
        recipe: a recipe's name or a .yaml file; None: `world` with an encoder, `world-joint`
            without, that of the run to resume.
        encoder: weights that are trained already and stay as they are: what `nexus.load` takes.
            None: the encoder is trained along.
        overrides: changes to the recipe, `["training.steps=2000", ...]`.
        resume: go on with the run in `out`.
        seed: of the run; default: the recipe's.
        report: False only trains.

    Raises:
        DataError: a recording cannot be read, or too many of its episodes.
        ConfigError: a recipe or override that is not acceptable.
        TrainingError: `out` holds a run already, or training cannot go on.
        OutputError: `out` cannot be written, or the disk is full.
    """
    out, seeded = Path(out), [] if seed is None else [f"training.seed={seed}"]
    check_writable(out)
    run = RunDirectory(out)
    if resume:
        run.check_started()
        recipe = recipe or run.recipe_file
    else:
        run.check_free()
    changes = parse_overrides([*overrides, *seeded])
    start = None
    if encoder is not None:
        recipe, start = recipe or FROZEN_RECIPE, frozen_start(encoder)
        changes = merge({"model": {"encoder": start.config}}, changes)
    settings = load_world_recipe(recipe or RECIPE, changes)
    if settings.model.frozen and start is None and not resume:
        raise ConfigError(
            f"recipe {settings.name} needs an encoder that is trained already; name its weights: "
            "--encoder WEIGHTS (a run's folder, a file, or a model's name on the hub)"
        )
    sources = _sources(data, run, resume=resume)
    with told_on_interrupt(starts_over):
        settings, recordings = opened_recordings(settings, sources)
    with kept_on_interrupt(out):
        result = run_training(
            settings,
            partial(EpisodeFeed, settings, recordings),
            out,
            resume=resume,
            start=start,
            command=command,
            live_page=report,
        )
        told = [f"Health: {result.health.status}: {result.health.reason}."]
        page = None
        if report and result.status == "finished":
            if result.signal:  # it came too late for the training
                raise KeyboardInterrupt
            with progress("drawing the page"):
                page = write_report(out)
    return RunResult(out, page, result.status, result.health.status, "\n\n".join(told))


def opened_recordings(
    settings: WorldRecipe, sources: Sequence[str | Path]
) -> tuple[WorldRecipe, list[Stretches]]:
    """The training windows of each recording, and the recipe with what is known of its robot.

    A robot that the recipe knows already (a run that goes on) is held against its recording.

    Raises:
        DataError: a recording cannot be read, or is not that of its robot.
    """
    data, model = settings.data, settings.model
    if model.robots and len(model.robots) != len(sources):
        raise DataError(
            f"the model knows {len(model.robots)} robots ("
            f"{', '.join(robot.name for robot in model.robots)}); got {len(sources)} recordings"
        )
    recordings, robots = [], []
    for number, source in enumerate(sources):
        with progress("reading episodes"):
            episodes = open_episodes(source, data.reader)
            chosen = trained_on(episodes, data.split)
            if model.robots:
                robot = model.robots[number]
                robot.check(episodes, chosen)
            else:
                name = "robot" if len(sources) == 1 else f"robot {number + 1}"
                robot = Robot.of(
                    episodes, chosen, name=name, cameras=data.cameras, block=data.block
                )
        say_notes(_notes(robot))
        robots.append(robot)
        recordings.append(
            Stretches(
                episodes,
                chosen,
                robot,
                size=model.image_sides,
                length=model.num_frames,
                memory=int(data.memory_gigabytes * GIGABYTE / len(sources)),
            )
        )
    told = settings.with_changes(model=model.with_changes(robots=tuple(robots)))
    return told, recordings


def frozen_start(weights: str | Path) -> Start:
    """Weights of an encoder as the frozen part of a world model.

    Raises:
        CheckpointError: there are none, or they are damaged.
    """
    opened = open_encoder(weights, device="cpu")
    told = opened.model.config.to_mapping()
    settings = {key: each for key, each in told.items() if key in EncoderConfig.model_fields}
    own = {"img_size", "in_chans"}  # these are the world model's
    tensors = {f"{PART}{name}": tensor for name, tensor in opened.encoder.state_dict().items()}
    origin = InitInfo(
        source=str(weights),
        place=str(Path(weights).expanduser().absolute()) if Path(weights).exists() else None,
        sha256=tensor_digest(tensors),
        notes=opened.notes,
    )
    kept = {key: each for key, each in settings.items() if key not in own}
    return Start({"kind": "frozen", "model": kept}, tensors, origin, part=PART)


def _notes(robot: Robot) -> list[str]:
    statistics = robot.statistics.state
    flat = statistics.constant() if statistics else ()
    return [f"the state's {', '.join(flat)} never changes"] if flat else []


def _sources(
    data: str | Path | Sequence[str | Path] | None, run: RunDirectory, *, resume: bool
) -> list[str | Path]:
    if data is None:
        if not resume:
            raise DataError("there is nothing to train on; name a folder of robot episodes")
        kept = run.read_info().data.sources
        if not kept:
            raise DataError(f"{run.root} does not say what it was trained on; name the data again")
        return list(kept)
    return [data] if isinstance(data, str | Path) else list(data)
