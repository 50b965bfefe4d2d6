"""`nexus embed`: features of videos and pictures."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nexus.cli import console


class Which(StrEnum):
    """The encoder whose features are taken."""

    target = "target"
    context = "context"


class Pooling(StrEnum):
    """How the tokens of a clip become its features."""

    mean = "mean"
    mean_time = "mean_time"
    tokens = "tokens"
    attentive = "attentive"


class Precision(StrEnum):
    """Number format of the encoder's arithmetic."""

    fp32 = "fp32"
    bf16 = "bf16"


Encoder = Annotated[
    Which, typer.Option(help="The slowly moving target encoder, or the trained context encoder.")
]
Layers = Annotated[
    str | None,
    typer.Option(
        help="Blocks, from 0, whose features are taken: 5,11,17,23.", show_default="the last"
    ),
]
PrecisionOption = Annotated[Precision, typer.Option(help="Of the encoder's arithmetic.")]


def layers_of(text: str | None) -> tuple[int, ...]:
    """`5,11,17,23` as numbers; none for None."""
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise typer.BadParameter(
            f"--layers {text!r}: expected block numbers, for example 5,11,17,23"
        ) from None


def embed(
    source: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS",
            help="A run's or checkpoint's folder, a published .pt file, a folder of transformers', "
            "or a hub id.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(
            help="A folder of videos, a list, one video, or one picture.", show_default=False
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option(help="The file to write: .parquet or .npz.", show_default=False)
    ],
    num_frames: Annotated[
        int | None,
        typer.Option(
            "--frames",
            min=1,
            help="Frames a clip; default: as the probe or the weights were trained.",
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Frames a second of the clips; default: as the probe or a run was trained, 4 for "
            "published weights."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the pictures in pixels; default: as trained."),
    ] = None,
    overlap: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Share of a clip that the next one repeats.")
    ] = 0.0,
    pad: Annotated[
        bool,
        typer.Option("--pad", help="Fill up videos shorter than a clip with their last frame."),
    ] = False,
    images: Annotated[
        bool, typer.Option("--images", help="Take the data as single pictures, not as videos.")
    ] = False,
    pooling: Annotated[
        Pooling,
        typer.Option(
            help="One vector a clip; one a time step, in a row; every token (.npz); or the vector "
            "that a trained probe pools."
        ),
    ] = Pooling.mean,
    probe: Annotated[
        Path | None,
        typer.Option(
            help="The probe's folder, for attentive pooling; clips are cut as it was trained on."
        ),
    ] = None,
    layers: Layers = None,
    which: Encoder = Which.target,
    precision: PrecisionOption = Precision.fp32,
    debug: console.Debug = False,
) -> None:
    """Write the features of every clip of every video, with its times in seconds.

    Clips follow one another from the start to the end of each video. A picture is a clip of its
    own: as an image where the weights take images, else repeated to fill one tubelet.
    """
    from nexus import jobs

    written = jobs.embed(
        source,
        data,
        out,
        num_frames=num_frames,
        fps=fps,
        pad=pad,
        img_size=size,
        overlap=overlap,
        pooling=str(pooling),
        layers=layers_of(layers),
        probe=probe,
        images=images,
        which=str(which),
        precision=str(precision),
    )
    console.output().print(f"Features: {written}", markup=False)
