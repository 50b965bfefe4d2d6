"""`nexus probe`: what features are worth, probes to keep, and the labels that they give."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from nexus.cli import console
from nexus.cli.features import Encoder, Layers, Precision, PrecisionOption, Which, layers_of

if TYPE_CHECKING:
    from nexus.probes.classifier import Labelled
    from nexus.probes.results import ProbeRow

SHOWN = 50
"""Labels that are printed where they do not go to a file."""
CLIPS, TRAINING, LABELLING = "Clips", "With --attentive", "With --probe"


PROBE_ONLY = {
    "--out", "--windows", "--overlap", "--top", "--labels", "--index", "--any-encoder",
}  # fmt: skip
KEEPING = {"--set", "--save", "--force", "--layers", "--join/--average", "--precision"}
"""Options of both probes that are kept and probes that label."""
WITHOUT_EFFECT = {
    "--overlap": "a video is labelled as a whole; add --windows, or leave it out",
    "--clips": "with --windows each window is labelled by itself; leave it out",
    "--join/--average": "with --windows each window is labelled by itself; leave it out",
    "--force": "it replaces a probe in the folder given with --save; leave it out, or add --save",
}


class Probe(StrEnum):
    """Kinds of probes."""

    linear = "linear"
    knn = "knn"
    attentive = "attentive"


def probe(
    source: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS",
            help="A run's folder, a published .pt file, a folder of transformers', or a hub id. "
            "With --probe it may be left out.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A list with labels; default: the data that a run was trained on. With --probe: "
            "the videos to label.",
            show_default=False,
        ),
    ] = None,
    *,
    label: Annotated[
        str | None, typer.Option(help="The column to learn; default: every label column.")
    ] = None,
    kind: Annotated[
        list[Probe] | None,
        typer.Option(help="May be given several times.", show_default="linear and knn"),
    ] = None,
    attentive: Annotated[
        bool,
        typer.Option(
            "--attentive",
            help="Train the published attentive probe (20 heads of 4 blocks at once) and keep it.",
        ),
    ] = False,
    use: Annotated[
        str | None,
        typer.Option(
            "--probe",
            help="Label videos with this probe: its folder, one of Meta's .pt probe files, or a "
            "folder or hub id of transformers' with a classifier.",
            show_default=False,
        ),
    ] = None,
    which: Encoder = Which.target,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Repetitions of a probe that draws random numbers.",
            show_default="3; with --attentive 1",
        ),
    ] = None,
    num_frames: Annotated[
        int | None, typer.Option("--frames", min=1, help="Frames a clip.", rich_help_panel=CLIPS)
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second of the clips.", rich_help_panel=CLIPS)
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the pictures in pixels.", rich_help_panel=CLIPS),
    ] = None,
    clips: Annotated[
        int | None,
        typer.Option(min=1, help="Clips of each video, evenly spread.", rich_help_panel=CLIPS),
    ] = None,
    pad: Annotated[
        bool,
        typer.Option(
            "--pad",
            help="Fill up videos shorter than a clip with their last frame.",
            rich_help_panel=CLIPS,
        ),
    ] = False,
    join: Annotated[
        bool | None,
        typer.Option(
            "--join/--average",
            help="Pool the clips of a video together, or average their probabilities.",
            show_default="--average, or as the probe was trained",
            rich_help_panel=CLIPS,
        ),
    ] = None,
    layers: Layers = None,
    precision: PrecisionOption = Precision.fp32,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of the sweep, such as epochs=5 or batch_size=16.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Folder to keep the probe in.",
            show_default="RUN/results/LABEL or probes/WEIGHTS/LABEL",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace another probe that is kept in that folder.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the labels: .csv, .parquet or .jsonl.",
            show_default="they are printed",
            rich_help_panel=LABELLING,
        ),
    ] = None,
    windows: Annotated[
        bool,
        typer.Option(
            "--windows",
            help="Label each window of a video, not the video as a whole.",
            rich_help_panel=LABELLING,
        ),
    ] = False,
    overlap: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.99,
            help="With --windows: share of a window that the next one repeats.",
            show_default="0",
            rich_help_panel=LABELLING,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Labels for each video.",
            show_default="1",
            rich_help_panel=LABELLING,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Class names in order, for a probe that does not bring them: .json or a name a "
            "line.",
            show_default=False,
            rich_help_panel=LABELLING,
        ),
    ] = None,
    index: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Which of several probes in one of Meta's files.",
            show_default=False,
            rich_help_panel=LABELLING,
        ),
    ] = None,
    any_encoder: Annotated[
        bool,
        typer.Option(
            "--any-encoder",
            help="Use weights that the probe was not trained on.",
            rich_help_panel=LABELLING,
        ),
    ] = False,
    debug: console.Debug = False,
) -> None:
    """Learn labels from frozen features on one split and test on another; or use a probe.

    Rows go to RUN/results/probes.json (of published weights: probes/WEIGHTS/probes.json);
    `nexus report RUN` puts them on the page. With --attentive the probe is kept, with --probe it
    labels videos.
    """
    from nexus import jobs
    from nexus.probes.classifier import check_label_file

    _refuse_unused(
        "plain" if use is None and not attentive else "--attentive" if use is None else "--probe",
        {
            "--kind": kind,
            "--label": label,
            "--attentive": attentive,
            "--seeds": seeds,
            "--which context": which is Which.context,
            "--set": changes,
            "--save": save,
            "--force": force,
            "--layers": layers,
            "--join/--average": join is not None,
            "--precision": precision is not Precision.fp32,
            "--out": out,
            "--windows": windows,
            "--overlap": overlap,
            "--top": top,
            "--labels": labels,
            "--index": index,
            "--any-encoder": any_encoder,
        },
    )
    given = {"num_frames": num_frames, "fps": fps, "img_size": size, "clips_per_video": clips}
    wanted = {key: value for key, value in given.items() if value is not None}
    if pad:
        wanted["pad"] = True
    if use is not None:
        _refuse_without_effect(
            {
                "--overlap": overlap is not None and not windows,
                "--clips": clips is not None and windows,
                "--join/--average": join is not None and windows,
                "--force": force and save is None,
            }
        )
        if out is not None:
            check_label_file(out)  # before the encoder is opened, which may take a while
        encoder, videos = (None, source) if data is None else (source, data)
        classifier = jobs.load_probe(
            use,
            encoder=encoder,
            classes=labels,
            index=index,
            clips=wanted,
            join_clips=join,
            layers=layers_of(layers),
            any_encoder=any_encoder,
            precision=str(precision),
        )
        if save is not None:
            jobs.keep_probe(classifier, save, force=force)
            console.output().print(f"Probe: {save}", markup=False)
        found = jobs.label(
            classifier, videos, out, windows=windows, overlap=overlap or 0.0, top=top or 1
        )
        _show(found, out, top or 1)
        return
    if attentive:
        trained = jobs.train_probe(
            source,
            data,
            label=label,
            overrides=tuple(changes or ()),
            clips=wanted,
            join_clips=bool(join),
            layers=layers_of(layers),
            which=str(which),
            seeds=seeds or 1,
            precision=str(precision),
            save=save,
            force=force,
        )
        console.output().print(_table(one.row for one in trained))
        for one in trained:
            console.output().print(f"Probe: {one.folder}", markup=False)
        return
    kinds = tuple(str(chosen) for chosen in kind or (Probe.linear, Probe.knn))
    rows = jobs.probe(
        source, data, label=label, kinds=kinds, clips=wanted, which=str(which), seeds=seeds or 3
    )
    console.output().print(_table(rows))


def _refuse_unused(mode: str, given: Mapping[str, object]) -> None:
    """Refuse options that this kind of probing does not use, rather than pass over them."""
    unused = {
        "plain": PROBE_ONLY | KEEPING,
        "--attentive": PROBE_ONLY | {"--kind"},
        "--probe": {"--kind", "--label", "--attentive", "--seeds", "--set", "--which context"},
    }[mode]
    for option, value in given.items():
        # 0 counts as given: it is equal to False, but not the same.
        if option in unused and value is not None and value is not False:
            what = (
                "linear, knn and small attentive probes do" if mode == "plain" else f"{mode} does"
            )
            raise typer.BadParameter(f"{option}: {what} not use it; leave it out")


def _refuse_without_effect(given: Mapping[str, bool]) -> None:
    """Refuse options that do nothing beside the others on the line."""
    for option, without_effect in given.items():
        if without_effect:
            raise typer.BadParameter(f"{option}: {WITHOUT_EFFECT[option]}")


def _show(found: "Labelled", out: Path | None, top: int) -> None:
    if out is not None:
        console.output().print(f"Labels: {out}", markup=False)
        return
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for name in ("video", "start", "end", "label", "probability"):
        table.add_column(name, justify="left" if name in ("video", "label") else "right")
    frame = found.to_frame(top)
    for row in frame.head(SHOWN).to_dict("records"):
        table.add_row(
            escape(row["key"]),
            f"{row['start']:.2f}",
            f"{row['end']:.2f}",
            escape(row["label"]),
            f"{row['probability']:.3f}",
        )
    console.output().print(table)
    if len(frame) > SHOWN:
        console.output().print(
            f"... and {len(frame) - SHOWN} more; --out FILE writes all of them", markup=False
        )


def _table(rows: "Iterable[ProbeRow]") -> Table:
    from nexus.report.tables import interval, metric_title, shown
    from nexus.runs.read import as_table

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
