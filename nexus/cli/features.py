"""`nexus embed`: features of videos and pictures."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nexus.cli import options, terminal


class Pooling(StrEnum):
    """How the tokens of a clip become its features."""

    mean = "mean"
    mean_time = "mean_time"
    tokens = "tokens"
    attentive = "attentive"


def embed(
    source: options.Weights,
    data: Annotated[
        str,
        typer.Argument(
            help="A folder of videos, a list, one video, or one picture.", show_default=False
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option(help="The file to write: .arrow or .parquet.", show_default=False)
    ],
    num_frames: options.Frames = None,
    fps: options.Fps = None,
    size: options.Size = None,
    pad: options.Pad = False,
    overlap: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Share of a clip that the next one repeats.")
    ] = 0.0,
    images: Annotated[
        bool, typer.Option("--images", help="Take the data as single pictures, not as videos.")
    ] = False,
    pooling: Annotated[
        Pooling,
        typer.Option(
            help="One vector a clip; one a time step, in a row; every token; or the vector "
            "that a trained probe pools."
        ),
    ] = Pooling.mean,
    probe: Annotated[
        Path | None,
        typer.Option(
            help="The probe's folder, for attentive pooling; clips are cut as it was trained on."
        ),
    ] = None,
    layers: options.Layers = None,
    which: options.Encoder = options.Which.target,
    precision: options.PrecisionOption = options.Precision.fp32,
    debug: terminal.Debug = False,
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
        layers=options.layers_of(layers),
        probe=probe,
        images=images,
        which=str(which),
        precision=str(precision),
    )
    terminal.output().print(f"Features: {written}", markup=False)
