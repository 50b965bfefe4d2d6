"""`nexus world`: world models of robots."""

from pathlib import Path
from typing import Annotated

import typer

from nexus.cli import terminal
from nexus.cli.training import finish, given_command


def train(
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
        typer.Option(help="world, world-joint or a .yaml file.", show_default="world-joint"),
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
        nexus world train pushes/ --out runs/world
        nexus world train pushes/ --out runs/world --steps 8000 --set data.block=5
        nexus world train --out runs/world --resume
    """
    from nexus import jobs

    length = [] if steps is None else [f"training.steps={steps}"]
    finish(
        jobs.train_world(
            data or None,
            out,
            recipe=recipe,
            overrides=[*(settings or ()), *length],
            resume=resume,
            seed=seed,
            report=report,
            command=given_command(),
        )
    )
