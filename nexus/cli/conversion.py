"""`nexus convert`: weights from one layout to another."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nexus.cli import terminal
from nexus.cli.options import Encoder


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="A published .pt file, a vjepa2 folder of transformers, a run or checkpoint, or a "
            "hub id org/name."
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings of the model that its file does not tell, for example num_heads=4.",
        ),
    ] = None,
    *,
    to: Annotated[
        Literal["hf", "meta", "nexus", "world", "onnx", "torch-export"],
        typer.Option(help="The format to write."),
    ],
    layout: Annotated[
        Literal["hub", "training"],
        typer.Option(help="Of meta: names as published, or as Meta's training loop loads them."),
    ] = "hub",
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    which: Encoder = "target",
    num_frames: Annotated[
        int | None,
        typer.Option("--frames", min=1, help="Frames of a graph's clips; default: the model's."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Pixels a side of a graph's clips; default: the model's."),
    ] = None,
    img_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Pixels a side of the pictures that the weights were trained with, where the file "
            "does not say it.",
        ),
    ] = None,
    in_chans: Annotated[
        int | None,
        typer.Option("--channels", min=1, help="Channels of your clips; default: the file's."),
    ] = None,
    fresh_predictor: Annotated[
        bool,
        typer.Option("--fresh-predictor", help="Leave the file's predictor aside, make a new one."),
    ] = False,
    allow_missing: Annotated[
        list[str] | None,
        typer.Option(help="Pattern of tensors that may be missing; may be given several times."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None,
    robot: Annotated[
        Path | None,
        typer.Option(
            help="Of world: a recording of the robot that is to act.",
            show_default="the published arm",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what an earlier conversion wrote to --out.")
    ] = False,
    debug: terminal.Debug = False,
) -> None:
    """Convert weights: published, from the hub, or of a run.

    Loading is strict and its account is printed. The folder holds a README.md that says where the
    weights come from. Graphs (onnx, torch-export) hold one encoder and are run once to compare.

    Examples:
        nexus convert runs/first --to onnx --out first-onnx
        nexus convert vitl.pt --to hf --out vitl-hf
        nexus convert facebook/vjepa2-vitl-fpc64-256 --to nexus --out vitl
        nexus convert vitl.pt --to torch-export --out vitl-16 --frames 16 --size 256
        nexus convert runs/first --to meta --layout training --out first-meta
        nexus convert vjepa2-ac-vitg.pt --to world --out ac-world
    """
    from nexus import jobs
    from nexus.config import parse_overrides

    given = parse_overrides(settings or [])
    if img_size is not None:
        given = {**given, "img_size": img_size}
    done = jobs.convert(
        source,
        out,
        to=to,
        which=which,
        force=force,
        config=given,
        in_chans=in_chans,
        predictor="fresh" if fresh_predictor else "file",
        allow_missing=tuple(allow_missing or ()),
        revision=revision,
        num_frames=num_frames,
        img_size=size,
        layout=layout,
        robot=robot,
    )
    terminal.output().print(done.explain(), markup=False)
