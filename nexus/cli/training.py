"""`nexus demo`, `pretrain` and `adapt`, the commands that train, and `plan-run` before them."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus.cli import terminal

if TYPE_CHECKING:
    from nexus.jobs.pretraining import RunResult


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the videos, the run and the page.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the toy world and of the run.")] = 0,
    debug: terminal.Debug = False,
) -> None:
    """Make a small world of moving shapes, train on it, probe it, write a page.

    Needs no data and no GPU. The page compares the trained encoder with an untrained one, with
    raw pixels and with frame differences.

    Examples:
        nexus demo
        nexus demo --out elsewhere --seed 1
    """
    from nexus import jobs

    finish(jobs.demo(out, seed=seed))


Minutes = Annotated[
    float | None,
    typer.Option(
        help="What training may take where no recipe is named; probes and the page come on top.",
        show_default="20",
    ),
]


def plan_run(
    data: Annotated[str, typer.Argument(help="A folder of videos or a .csv or .jsonl list.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="What is not to be chosen, for example training.steps=2000 model.img_size=96.",
        ),
    ] = None,
    *,
    minutes: Minutes = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the recipe there, a .yaml file.", show_default="nowhere"),
    ] = None,
    debug: terminal.Debug = False,
) -> None:
    """Look at videos and machine and say what `nexus pretrain` would train; nothing is trained.

    How fast things move decides the rate of the clips, how long videos last their length; some
    steps are tried on this machine, to choose the largest model of which enough steps fit.

    Examples:
        nexus plan-run videos/
        nexus plan-run videos/ --minutes 60 --out mine.yaml model.num_frames=32
    """
    from nexus import jobs
    from nexus.jobs.fitting import MINUTES

    minutes = MINUTES if minutes is None else minutes
    plan = jobs.plan_run(data, minutes=minutes, overrides=tuple(overrides or ()), out=out)
    told = [str(plan)]
    if out is None:
        told += [
            "`nexus pretrain` without a recipe chooses anew and writes RUN/recipe.yaml; "
            "--out FILE.yaml writes this one now"
        ]
    else:
        again = shlex.join(["nexus", "pretrain", data, "--recipe", str(out), "--out", "RUN"])
        told += [f"Recipe: {out}; to train it:", f"  {again}"]
    terminal.output().print("\n".join(told), markup=False, soft_wrap=True)


def pretrain(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A folder of videos, a .csv or .jsonl list, or the word [bold]toy[/bold].",
            show_default="with --resume: what the run was trained on",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Changes to the recipe, for example training.steps=20000 model.img_size=64.",
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder of the run; made if need be.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A .yaml file, or a recipe that comes with nexus: [bold]footage[/bold] (real "
            "videos, a CPU), [bold]small[/bold] (the toy world), [bold]adapt[/bold] (goes on from "
            "published weights), [bold]seed[/bold], [bold]vjepa2[/bold], [bold]vjepa2.1[/bold] "
            "(as they were published).",
            show_default="chosen for videos and machine; with --init: adapt; with --resume: the "
            "run's own",
        ),
    ] = None,
    minutes: Minutes = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Length of the run, training.steps; with --resume also more than it had.",
            show_default="what fits --minutes, or the recipe's",
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Weights to start from, for recipe [bold]adapt[/bold]: a run's folder, a file of "
            "published weights, or a model's name on the Hugging Face hub.",
            show_default="none: from nothing",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out from its last checkpoint.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the run; default: the recipe's.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Column of the list to probe the features with; default: every one."),
    ] = None,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Only train: no diagnosis, no probe, no page.")
    ] = False,
    debug: terminal.Debug = False,
) -> None:
    """Train an encoder on videos, say whether it is healthy, write RUN/report.html.

    Where no recipe is named, clips, sizes and length are chosen by looking at the videos and trying
    this machine, as [bold]nexus plan-run[/bold] does; what is chosen is said, and written to
    RUN/recipe.yaml. Changes on the command line always win.

    Broken files are left out, counted and named. Ctrl-C saves a checkpoint and prints the command
    to go on. Every key of the recipe can be changed on the command line; RUN/recipe.yaml shows
    them all.

    Examples:
        nexus pretrain videos/ --out runs/first
        nexus pretrain --resume --out runs/first
        nexus pretrain --resume --out runs/first --steps 4000
        nexus pretrain list.csv --out runs/two --label action training.steps=20000 optim.lr=3e-4
        nexus pretrain videos/ --out runs/small --recipe small
    """
    from nexus import jobs

    changes = list(overrides or ())
    if data is not None and "=" in data and not Path(data).exists():
        changes, data = [data, *changes], None
    if steps is not None:
        changes.append(f"training.steps={steps}")
    result = jobs.pretrain(
        data,
        out,
        recipe=recipe,
        minutes=minutes,
        overrides=tuple(changes),
        init=init,
        resume=resume,
        seed=seed,
        label=label,
        report=not no_report,
        command=given_command(),
    )
    finish(result)


def adapt(
    data: Annotated[str, typer.Argument(help="A folder of videos or a .csv or .jsonl list.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Changes to recipe adapt, for example training.steps=500 model.num_frames=16.",
        ),
    ] = None,
    *,
    init: Annotated[
        str,
        typer.Option(
            help="Weights to start from: a file of published weights, a run's folder, or a model's "
            "name on the Hugging Face hub."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the sweep.")],
    labels: Annotated[
        str | None,
        typer.Option(
            help="A .csv or .jsonl list with labels, to judge by.", show_default="the data itself"
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of that list to judge by; of several, the mean counts.",
            show_default="every one",
        ),
    ] = None,
    lr: Annotated[
        list[float] | None,
        typer.Option(
            help="A learning rate to try; may be given several times.",
            show_default="the recipe's, and a gentler one",
        ),
    ] = None,
    ema: Annotated[
        list[float] | None,
        typer.Option(
            help="An EMA momentum to try; may be given several times.",
            show_default="the recipe's, and a gentler one",
        ),
    ] = None,
    probe: Annotated[
        str, typer.Option(help="Kind of probe to judge by: linear, knn or attentive.")
    ] = "linear",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the runs; default: the recipe's.")
    ] = None,
    debug: terminal.Debug = False,
) -> None:
    """Continue published weights on your videos in a few ways; keep what probes best.

    Trains a small grid of learning rates and EMA momenta, beside the weights as they are, and picks
    by the validation score of a probe, not by the loss. The same command again goes on where the
    last one stopped.

    Examples:
        nexus adapt videos/ --init vitl.pt --labels labels.csv --out runs/sweep
        nexus adapt list.csv --init facebook/vjepa2-vitl-fpc64-256 --out runs/two --label act
    """
    from nexus import jobs

    result = jobs.adapt(
        data,
        out,
        init=init,
        labels=labels,
        label=label or None,
        overrides=tuple(overrides or ()),
        lrs=tuple(lr or ()),
        momenta=tuple(ema or ()),
        probe=probe,
        seed=seed,
        command=given_command(),
    )
    finish(result)


def given_command() -> str:
    """The command line as it was typed, ready to be pasted."""
    return shlex.join(["nexus", *sys.argv[1:]])


def finish(result: "RunResult") -> None:
    """Print how a run ended; an interrupted one exits with 130 (the loop said how to go on)."""
    out = terminal.output()
    if result.summary:
        out.print(result.summary, markup=False)
    if result.report:
        out.print(f"Report: {result.report}", markup=False)
    if result.status == "interrupted":
        raise typer.Exit(terminal.INTERRUPTED)
