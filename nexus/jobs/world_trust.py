"""`world_report`: whether to plan with a run's world model, measured on episodes new to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nexus.checkpoints.files import CONFIG_FILE, read_card
from nexus.control.trust.measuring import Trial, TrustConfig, measured
from nexus.control.world_policies import load_world
from nexus.data.episodes.episodes import Episodes
from nexus.data.episodes.opening import open_episodes
from nexus.data.episodes.robot import Robot
from nexus.data.episodes.stretches import Stretches
from nexus.errors import DataError, RunError
from nexus.jobs.console import progress, told_on_interrupt
from nexus.reports.page import write_report
from nexus.runs.folder import RunDirectory, find_run, now
from nexus.runs.world import WORLD, WORLD_FILMS, WorldReport
from nexus.training.world_recipe import EpisodesConfig, WorldRecipe, held_out, trained_on

FRAMES_IN_MEMORY = 512_000_000
"""Bytes of decoded frames, of each of the two sets of episodes."""
LENGTH = 2
"""Frames that an episode has at least: one step of the model."""


@dataclass(frozen=True, eq=False)
class WorldReportResult:
    """What was measured, and the page that shows it (None: none was asked for)."""

    report: WorldReport
    page: Path | None


def world_report(
    run: str | Path,
    episodes: str | Path | None = None,
    *,
    split: str | None = None,
    robot: int = 0,
    settings: TrustConfig | None = None,
    page: bool = True,
    command: str | None = None,
) -> WorldReportResult:
    """Measure a world model on episodes that it was not trained on.

    Writes `results/world.json` (and `results/world_films.npz`) into the run, and its page again.

    Args:
        run: a world model's run, or a folder of weights alone, which has no page.
        episodes: a recording of the same robot. None, or the run's own: its held-out episodes.
        split: of the recording; None: all of it, or what is held out.
        robot: which of the model's robots.
        settings: how much is measured.
        page: False leaves the page as it is.

    Raises:
        RunError: it is no run of a world model, or has no such robot.
        DataError: a recording cannot be read, is another robot's, or is too short.
        ConfigError: a dimension that the action does not have.
    """
    folder = find_run(run)
    weights_alone = folder is None and (Path(run) / CONFIG_FILE).is_file()
    if folder is None and not weights_alone:
        raise RunError(f"{run} is not a run; name the folder that `nexus world train` wrote")
    model = load_world(run)
    if not 0 <= robot < len(model.config.robots):
        raise RunError(
            f"{run} has no robot {robot}; it knows {len(model.config.robots)}, counted from 0"
        )
    with told_on_interrupt(lambda: "stopped; the run is as it was"):
        with progress("reading episodes"):
            trial = _trial(folder, model.config.robots[robot], model.config.image_sides, episodes,
                           split, robot)  # fmt: skip
        with progress("measuring"):
            report, films = measured(model, trial, robot, settings, read_card(run).step)
        report, out = report.with_changes(command=command, date=now()), folder or Path(run)
        report.save(out / WORLD)
        if films is not None:
            films.save(out / WORLD_FILMS)
        else:
            (out / WORLD_FILMS).unlink(missing_ok=True)
        place = None
        if page and folder is not None:
            with progress("drawing the page"):
                place = write_report(folder)
    return WorldReportResult(report, place)


def _trial(
    folder: Path | None,
    robot: Robot,
    size: tuple[int, int],
    source: str | Path | None,
    split: str | None,
    number: int,
) -> Trial:
    """Which episodes are judged, and which ones probes are fitted on.

    Args:
        folder: of the run; None: there are weights alone.
    """
    data, sources = EpisodesConfig(), ()
    if folder is not None:
        data = WorldRecipe.from_mapping(RunDirectory(folder).read_recipe()).data
        sources = RunDirectory(folder).read_info().data.sources
    own = Path(sources[number]).expanduser() if number < len(sources) else None
    if source is None and own is None:
        raise DataError(
            f"{folder or 'a folder of weights'} does not say what it was trained on; name episodes "
            "after it"
        )
    if source is None or (own is not None and _same_place(Path(source), own)):
        assert own is not None
        recording = open_episodes(own, data.reader)
        chosen = _of_split(recording, split) if split else held_out(recording, data.split)
        training = trained_on(recording, data.split)
        if seen := sorted(set(chosen) & set(training)):
            raise DataError(
                f"{own}: episode {seen[0]} of split {split!r} was trained on; leave --split out to "
                "judge by the episodes that were held out"
            )
        if not chosen:
            raise DataError(
                f"{own}: all {len(recording)} episodes were trained on; name a recording that the "
                "model has not seen (at least 10 episodes leave one out)"
            )
        words = f"split {split!r}" if split else "held out from training"
        return _made(recording, chosen, recording, training, robot, size, f"{words} of {own}")
    judged = open_episodes(Path(source), data.reader)
    chosen = _of_split(judged, split) if split else judged.indices
    words = f"split {split!r} of {source}" if split else f"all of {source}"
    if own is not None and own.exists():
        fitted = open_episodes(own, data.reader)
        return _made(judged, chosen, fitted, trained_on(fitted, data.split), robot, size, words)
    if len(chosen) < 2:
        raise DataError(f"{source}: one episode alone; probes are fitted on others than are judged")
    note = (
        f"the training episodes ({own or 'not named'}) are not here: probes were fitted on every "
        "second episode of this recording, and nothing is known of the error in training"
    )
    even, odd = chosen[::2], chosen[1::2]
    return _made(judged, odd, judged, even, robot, size, f"every second of {words}", note)


def _made(
    judged: Episodes,
    judged_indices: Sequence[int],
    fitted: Episodes,
    fitted_indices: Sequence[int],
    robot: Robot,
    size: tuple[int, int],
    words: str,
    note: str = "",
) -> Trial:
    def stretches(episodes: Episodes, indices: Sequence[int]) -> Stretches:
        return Stretches(
            episodes, indices, robot, size=size, length=LENGTH, memory=FRAMES_IN_MEMORY
        )

    robot.check(judged, judged_indices)
    return Trial(
        stretches(judged, judged_indices),
        tuple(judged_indices),
        stretches(fitted, fitted_indices),
        tuple(fitted_indices),
        source=str(judged.source),
        choice=f"{len(judged_indices)} episodes: {words}",
        apart=not note,
        notes=(note,) if note else (),
    )


def _of_split(episodes: Episodes, split: str) -> tuple[int, ...]:
    chosen = episodes.of_split(split)
    if not chosen:
        known = sorted({one.split for one in episodes.episodes if one.split})
        raise DataError(
            f"{episodes.source}: no split {split!r}; known: {', '.join(known) or 'none'}"
        )
    return chosen


def _same_place(one: Path, other: Path) -> bool:
    return one.expanduser().resolve() == other.resolve()
