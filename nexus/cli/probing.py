"""`nexus probe` and `nexus train-probe`: what features are worth, and probes to keep."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from nexus.cli import options, terminal

if TYPE_CHECKING:
    from nexus.runs.schema import ProbeRow


def probe(
    source: options.Weights,
    data: options.Labelled = None,
    *,
    label: Annotated[
        str | None, typer.Option(help="The column to learn; default: every label column.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="linear, knn, attentive (a small one) or package.module:Class; may be given "
            "several times.",
            show_default="linear and knn",
        ),
    ] = None,
    which: options.Encoder = "target",
    seeds: Annotated[
        int, typer.Option(min=1, help="Repetitions of a probe that draws random numbers.")
    ] = 3,
    num_frames: options.Frames = None,
    fps: options.Fps = None,
    size: options.Size = None,
    resize: options.Resize = None,
    clips: options.Clips = None,
    pad: options.Pad = False,
    debug: terminal.Debug = False,
) -> None:
    """Learn labels from frozen features on one split and test on another.

    Rows go to RUN/results/probes.json (of published weights: probes/WEIGHTS/probes.json);
    `nexus report RUN` puts them on the page. `nexus train-probe` trains a probe to keep.

    Examples:
        nexus probe runs/first labels.csv --label action
        nexus probe runs/first --label action --kind attentive --seeds 5
        nexus probe vitl.pt labels.csv --label action --frames 16
    """
    from nexus import jobs

    rows = jobs.probe(
        source,
        data,
        label=label,
        kinds=tuple(kind or ("linear", "knn")),
        clips=options.clips_of(num_frames, fps, size, resize, clips, pad),
        which=which,
        seeds=seeds,
    )
    terminal.output().print(_table(rows))


def train_probe(
    source: options.Weights,
    data: options.Labelled = None,
    *,
    label: Annotated[
        str | None, typer.Option(help="The column to learn; default: every column of classes.")
    ] = None,
    kind: Annotated[
        Literal["attentive", "linear", "knn"],
        typer.Option(
            help="The published attentive probe; or, quick, what [bold]nexus probe[/bold] measures."
        ),
    ] = "attentive",
    which: options.Encoder = "target",
    layers: options.Layers = None,
    precision: options.PrecisionOption = "fp32",
    seeds: Annotated[
        int,
        typer.Option(
            min=1, help="Repetitions of an attentive probe; the one that validates best is kept."
        ),
    ] = 1,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of the sweep, such as epochs=5; may be given several times. There are "
            "learning_rates, weight_decays, epochs, batch_size, warmup, depth, num_heads, "
            "clip_norm, precision, split_seed; of a linear probe strengths, max_iterations, "
            "split_seed; of knn neighbours, temperatures, centre, split_seed.",
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Folder to keep the probe in.",
            show_default="RUN/results/LABEL or probes/WEIGHTS/LABEL; LABEL-KIND of other kinds "
            "than attentive",
        ),
    ] = None,
    force: options.Force = False,
    num_frames: options.Frames = None,
    fps: options.Fps = None,
    size: options.Size = None,
    resize: options.Resize = None,
    clips: options.Clips = None,
    pad: options.Pad = False,
    join: options.Join = None,
    debug: terminal.Debug = False,
) -> None:
    """Train a probe and keep it, for `nexus label` to use.

    By default it is the published attentive probe, 20 heads of 4 blocks at once. What there is to
    choose is chosen on the validation split; the test split is read for the chosen one alone.

    Examples:
        nexus train-probe runs/first --label action --kind linear
        nexus train-probe runs/first --label action
        nexus train-probe vitl.pt labels.csv --label action --frames 16 --set epochs=10
    """
    from nexus import jobs

    trained = jobs.train_probe(
        source,
        data,
        label=label,
        kind=kind,
        overrides=tuple(changes or ()),
        clips=options.clips_of(num_frames, fps, size, resize, clips, pad),
        join_clips=bool(join),
        layers=options.layers_of(layers),
        which=which,
        seeds=seeds,
        precision=precision,
        save=save,
        force=force,
    )
    terminal.output().print(_table(one.row for one in trained))
    for one in trained:
        terminal.output().print(f"Probe: {one.folder}", markup=False)


def _table(rows: "Iterable[ProbeRow]") -> Table:
    from nexus.reports.tables import interval, metric_title, shown

    table = Table(box=None, padding=(0, 2), header_style="bold")
    for name in ("arm", "label", "probe", "metric"):
        table.add_column(name)
    for name in ("value", "95 % interval", "chance", "test files"):
        table.add_column(name, justify="right")
    for row in rows:
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
