"""`nexus world`: episodes of robots, and the models that learn from them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from nexus.cli import terminal
from nexus.cli.training import finish, given_command

if TYPE_CHECKING:
    from nexus.control.collecting import Collected
    from nexus.runs.world import WorldReport


def world_collect(
    environment: Annotated[
        str,
        typer.Argument(
            metavar="ENV",
            help="reach, push, reach-walls, push-walls, pusht, gym:ID, package.module:Class, or "
            'one with its settings: "{kind: push, size: 96}".',
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder; one that was begun goes on.", show_default=False)
    ],
    episodes: Annotated[int, typer.Option(min=1, help="How many there are to be in the end.")],
    steps: Annotated[int, typer.Option(min=1, help="Of an episode, at most.")] = 20,
    policy: Annotated[
        str, typer.Option(help="random, or what the environment offers: play, expert.")
    ] = "play",
    seed: Annotated[
        int, typer.Option(min=0, max=999, help="Two seeds have no start in common.")
    ] = 0,
    codec: Annotated[
        Literal["lossless", "h264", "av1"],
        typer.Option(help="Of the videos; lossless keeps every pixel, at half a kilobyte each."),
    ] = "lossless",
    debug: terminal.Debug = False,
) -> None:
    """Collect episodes in a simulator, as a LeRobot v3.0 folder.

    Pictures, actions, what the robot knows of itself, and the simulator's exact states. The same
    command again goes on after the last finished episode.

    Examples:
        nexus world collect push --out pushes --episodes 1500
        nexus world collect reach --out reaches --episodes 200 --policy expert
        nexus world collect gym:Pendulum-v1 --out pendulum --episodes 100 --policy random
    """
    from nexus import jobs
    from nexus.envs.registry import environment_choice

    collected = jobs.collect_episodes(
        environment_choice(environment),
        out,
        episodes=episodes,
        steps=steps,
        policy=policy,
        seed=seed,
        codec=codec,
    )
    _show(collected)


def world_train(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EPISODES",
            help="Robot episodes: a LeRobot folder or an HDF5 file of robomimic; several are "
            "several robots of one model.",
            show_default="with --resume what the run was trained on",
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="world, world-joint or a .yaml file.",
            show_default="world with an encoder, else world-joint",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="An encoder that is trained already and stays as it is: a run's folder, published "
            "weights, or a hub id.",
            show_default="the encoder is trained along",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A change to the recipe: training.steps=2000."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=0, help="Short for --set training.steps=N.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the run; default: the recipe's.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write the page afterwards.")
    ] = True,
    debug: terminal.Debug = False,
) -> None:
    """Train a world model: what an action does to what the camera sees.

    Examples:
        nexus world train pushes --out runs/world
        nexus world train pushes --out runs/world --steps 8000 --set data.block=5
        nexus world train pushes --out runs/frozen --encoder runs/first
        nexus world train --out runs/world --resume
    """
    from nexus import jobs

    length = [] if steps is None else [f"training.steps={steps}"]
    finish(
        jobs.train_world(
            data or None,
            out,
            recipe=recipe,
            encoder=encoder,
            overrides=[*(settings or ()), *length],
            resume=resume,
            seed=seed,
            report=report,
            command=given_command(),
        )
    )


def world_report(
    run: Annotated[Path, typer.Argument(help="The folder of a world model's run.")],
    episodes: Annotated[
        Path | None,
        typer.Argument(
            metavar="EPISODES",
            help="Another recording of the same robot, all of it.",
            show_default="what was held out of the run's own",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Judge by this split of the recording.")] = None,
    robot: Annotated[int, typer.Option(min=0, help="Which of the model's robots.")] = 0,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps of the model to look ahead, where episodes allow it.")
    ] = 8,
    excerpts: Annotated[
        int, typer.Option(min=2, help="Stretches that errors are measured on.")
    ] = 256,
    candidates: Annotated[
        int, typer.Option(min=1, help="Random actions beside the true ones.")
    ] = 64,
    dims: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Two dimensions of the action to draw the energy over.",
            show_default="the first two",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn at random.")] = 0,
    debug: terminal.Debug = False,
) -> None:
    """See whether to plan with a world model before it moves anything.

    Measured on episodes that it was not trained on: errors beside those of a copy, and of the same
    model with the actions of others; where the true actions rank among random ones; what the
    encoder tells of where things are; what each dimension of the action does. The result is a
    section of the run's page.

    Examples:
        nexus world report runs/world
        nexus world report runs/world other-pushes --dims dx,dy
    """
    from nexus import jobs
    from nexus.control.trust.measuring import TrustConfig

    settings = TrustConfig.from_mapping(
        {
            "steps": steps,
            "excerpts": excerpts,
            "candidates": candidates,
            "dimensions": _pair(dims),
            "seed": seed,
        }
    )
    result = jobs.world_report(
        run, episodes, split=split, robot=robot, settings=settings, command=given_command()
    )
    _show_report(result.report)
    if result.page is not None:
        terminal.output().print(f"Page: {result.page}", markup=False, soft_wrap=True)


def world_pack(
    run: Annotated[Path, typer.Argument(help="The folder of a world model's run.")],
    out: Annotated[Path, typer.Option(help="A new folder.", show_default=False)],
    planned: Annotated[
        list[Path] | None,
        typer.Option(
            "--planned",
            help="A folder of `nexus plan` with this run, for the card; again for another. The "
            "first one's weights of the cost go along.",
        ),
    ] = None,
    note: Annotated[str, typer.Option(help="A paragraph for the card.")] = "",
    debug: terminal.Debug = False,
) -> None:
    """Write a world model into a small folder with a card: to keep, to pass on, to plan with.

    Examples:
        nexus world pack runs/world --out model --planned plans/world
        nexus plan model --env push --out plans/packed
    """
    from nexus import jobs

    folder = jobs.pack_world(run, out, planned=planned or (), note=note)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    printed = f"Written: {folder}, {size:.1f} MB; its card is README.md"
    terminal.output().print(printed, markup=False, soft_wrap=True)


def _pair(dims: str | None) -> tuple[str, ...] | None:
    names = None if dims is None else tuple(name.strip() for name in dims.split(","))
    if names is not None and len(names) != 2:
        raise typer.BadParameter(f"--dims takes two names with a comma between them, got {dims!r}")
    return names


def _show_report(report: "WorldReport") -> None:
    from nexus.reports.trust import TABLES

    printer = terminal.output()
    printer.print(report.verdict.sentence, markup=False, soft_wrap=True, style="bold")
    printer.print(report.choice, markup=False, soft_wrap=True)
    for lines in (each.lines(report) for each in TABLES):
        if not lines:
            continue
        shown = Table(box=None, padding=(0, 2), header_style="bold")
        for number, heading in enumerate(lines[0]):
            shown.add_column(escape(heading), justify="right" if number else "left")
        for line in lines[1:]:
            shown.add_row(*map(escape, line))
        printer.print(shown)
    for note in report.notes:
        printer.print(f"Note: {note}", markup=False, soft_wrap=True)


def _show(collected: "Collected") -> None:
    printer = terminal.output()
    total = f"{collected.episodes} episodes of {collected.steps} steps in all"
    new = f"{collected.made} of them new"
    printer.print(f"{collected.folder}: {total}, {new}", markup=False, soft_wrap=True)
    if collected.short:
        printer.print(f"The environment ended {collected.short} of the new ones early.")
    if collected.solved is not None and collected.made:
        share = collected.solved / collected.made
        printer.print(
            f"The expert reached the goal in {collected.solved} of {collected.made} ({share:.0%})."
        )
