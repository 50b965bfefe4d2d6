"""`nexus label`: the labels that a kept or published probe gives to videos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from nexus.cli import options, terminal

if TYPE_CHECKING:
    from nexus.probes.classifier import Labelled

SHOWN = 50
"""Labels that are printed where they do not go to a file."""


def label(
    probe: Annotated[
        str,
        typer.Argument(
            metavar="PROBE",
            help="A probe's folder, one of Meta's .pt probe files, or a folder or hub id of "
            "transformers' with a classifier.",
        ),
    ],
    data: Annotated[str, typer.Argument(metavar="VIDEOS", help="The videos to label.")],
    *,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="The encoder's weights.",
            show_default="those that the probe names, or that lie beside it",
        ),
    ] = None,
    any_encoder: Annotated[
        bool, typer.Option("--any-encoder", help="Use weights that the probe was not trained on.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the labels: .csv, .parquet or .jsonl.", show_default="they are printed"
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Labels for each video.")] = 1,
    windows: Annotated[
        bool,
        typer.Option("--windows", help="Label each window of a video, not the video as a whole."),
    ] = False,
    overlap: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.99,
            help="With --windows: share of a window that the next one repeats.",
            show_default="0",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Class names in order, for a probe that does not bring them: .json or a name a "
            "line."
        ),
    ] = None,
    index: Annotated[
        int | None, typer.Option(min=0, help="Which of several probes in one of Meta's files.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Also keep the probe as a folder of ours.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace the file of --out, and another probe in the folder of --save."
        ),
    ] = False,
    layers: options.Layers = None,
    precision: options.PrecisionOption = "fp32",
    num_frames: options.Frames = None,
    fps: options.Fps = None,
    size: options.Size = None,
    resize: options.Resize = None,
    clips: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Clips that each video is labelled from, evenly spread.",
            show_default="as many as the probe learned from, 3 where that was one",
            rich_help_panel=options.CLIPS,
        ),
    ] = None,
    pad: options.Pad = False,
    join: options.Join = None,
    debug: terminal.Debug = False,
) -> None:
    """Label videos, or each window of them, with a probe.

    The clips are cut as the probe was trained, unless they are asked for otherwise; of each video
    several are read, spread through it, and what the probe says of them is averaged.

    Examples:
        nexus label probes/vitl/action videos/ --out labels.csv --top 5
        nexus label ssv2-vitl-16x2x3.pt videos/ --encoder vitl.pt --classes ssv2.json
    """
    from nexus import jobs

    without_effect = {
        "--overlap: a video is labelled as a whole; add --windows, or leave it out": (
            overlap is not None and not windows
        ),
        "--clips: with --windows each window is labelled by itself; leave it out": (
            clips is not None and windows
        ),
        "--join/--average: with --windows each window is labelled by itself; leave it out": (
            join is not None and windows
        ),
        "--force: it replaces what is at --out or --save; leave it out, or add one of these": (
            force and save is None and out is None
        ),
    }
    for reason, given in without_effect.items():
        if given:
            raise typer.BadParameter(reason)
    from nexus.probes.classifier import check_label_file

    if out is not None:
        check_label_file(out, force)  # before the encoder is opened, which may take a while
    classifier = jobs.load_probe(
        probe,
        encoder=encoder,
        classes=classes,
        index=index,
        clips=options.clips_of(num_frames, fps, size, resize, clips, pad),
        join_clips=join,
        layers=options.layers_of(layers),
        any_encoder=any_encoder,
        precision=precision,
    )
    if save is not None:
        jobs.keep_probe(classifier, save, force=force)
        terminal.output().print(f"Probe: {save}", markup=False)
    labelled = jobs.label(
        classifier,
        data,
        out,
        windows=windows,
        overlap=overlap or 0.0,
        top=top,
        force=force,
    )
    if out is not None:
        terminal.output().print(f"Labels: {out}", markup=False)
    else:
        _show(labelled, top)


def _show(labelled: "Labelled", top: int) -> None:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for name in ("video", "start", "end", "label", "probability"):
        table.add_column(name, justify="left" if name in ("video", "label") else "right")
    frame = labelled.to_frame(top)
    for row in frame.head(SHOWN).to_dict("records"):
        table.add_row(
            escape(row["key"]),
            f"{row['start']:.2f}",
            f"{row['end']:.2f}",
            escape(row["label"]),
            f"{row['probability']:.3f}",
        )
    terminal.output().print(table)
    if len(frame) > SHOWN:
        terminal.output().print(
            f"... and {len(frame) - SHOWN} more; --out FILE writes all of them", markup=False
        )
