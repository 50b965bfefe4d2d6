"""`nexus probe` and `nexus embed`: what the features are worth, and the features themselves."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from nexus.cli import console

if TYPE_CHECKING:
    from nexus.evaluation.results import ProbeRow

Run = Annotated[
    Path,
    typer.Argument(help="The folder of a run, or of one of its checkpoints.", show_default=False),
]


class Which(StrEnum):
    """The encoder whose features are taken."""

    target = "target"
    context = "context"


class Probe(StrEnum):
    """Kinds of probes."""

    linear = "linear"
    knn = "knn"
    attentive = "attentive"


class Pooling(StrEnum):
    """How the tokens of a clip become its features."""

    mean = "mean"
    mean_time = "mean_time"
    tokens = "tokens"


Encoder = Annotated[
    Which, typer.Option(help="The slowly moving target encoder, or the trained context encoder.")
]


def probe(
    run: Run,
    data: Annotated[
        str | None,
        typer.Option(help="A list with labels; default: the data that the run was trained on."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The column to learn; default: every label column.")
    ] = None,
    kind: Annotated[
        list[Probe] | None,
        typer.Option(help="May be given several times.", show_default="linear and knn"),
    ] = None,
    which: Encoder = Which.target,
    seeds: Annotated[
        int, typer.Option(min=1, help="Repetitions of a probe that draws random numbers.")
    ] = 3,
    debug: console.Debug = False,
) -> None:
    """Measure frozen features: learn labels from them on one split, test on another.

    The rows go to RUN/results/probes.json; `nexus report RUN` puts them on the page.
    """
    from nexus import jobs

    kinds = tuple(str(chosen) for chosen in kind or (Probe.linear, Probe.knn))
    rows = jobs.probe(run, data, label=label, kinds=kinds, which=str(which), seeds=seeds)
    console.output().print(_table(rows))


def _table(rows: "Iterable[ProbeRow]") -> Table:
    from nexus.report.read import as_table
    from nexus.report.tables import interval, metric_title, shown

    table = Table(box=None, padding=(0, 2), header_style="bold")
    for name in ("arm", "label", "probe", "metric"):
        table.add_column(name)
    for name in ("value", "95 % interval", "chance", "test files"):
        table.add_column(name, justify="right")
    for row in as_table([row.to_mapping() for row in rows]).rows:
        table.add_row(
            escape(row.arm),
            escape(row.task),
            row.probe,
            metric_title(row.metric),
            shown(row.mean, row.metric),
            interval(row),
            shown(row.chance, row.metric),
            str(row.n_test),
        )
    return table


def embed(
    run: Run,
    data: Annotated[
        str, typer.Argument(help="A folder of videos, a list, or one video.", show_default=False)
    ],
    *,
    out: Annotated[
        Path, typer.Option(help="The file to write: .parquet or .npz.", show_default=False)
    ],
    num_frames: Annotated[
        int | None, typer.Option("--frames", min=1, help="Frames a clip; default: as trained.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second of the clips; default: as trained.")
    ] = None,
    overlap: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Share of a clip that the next one repeats.")
    ] = 0.0,
    pooling: Annotated[
        Pooling,
        typer.Option(help="One vector a clip; one a time step, in a row; or every token (.npz)."),
    ] = Pooling.mean,
    which: Encoder = Which.target,
    debug: console.Debug = False,
) -> None:
    """Write the features of every clip of every video, with its times in seconds.

    Clips follow one another from the start to the end of each video.
    """
    from nexus import jobs

    written = jobs.embed(
        run,
        data,
        out,
        num_frames=num_frames,
        fps=fps,
        overlap=overlap,
        pooling=str(pooling),
        which=str(which),
    )
    console.output().print(f"Features: {written}", markup=False)
