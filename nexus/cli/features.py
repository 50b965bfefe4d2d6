"""`nexus embed`: features of videos and pictures."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nexus.cli import options, terminal


def embed(
    source: options.Weights,
    data: Annotated[
        str, typer.Argument(help="A folder of videos, a list, one video, or one picture.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="The file to write: .arrow or .parquet.")],
    num_frames: options.Frames = None,
    fps: options.Fps = None,
    size: options.Size = None,
    resize: options.Resize = None,
    pad: options.Pad = False,
    overlap: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Share of a clip that the next one repeats.")
    ] = 0.0,
    images: Annotated[
        bool, typer.Option("--images", help="Take the data as single pictures, not as videos.")
    ] = False,
    pooling: Annotated[
        Literal["mean", "mean_time", "tokens", "attentive"],
        typer.Option(
            help="One vector a clip; one a time step, in a row; every token; or the vector "
            "that a trained probe pools."
        ),
    ] = "mean",
    probe: Annotated[
        Path | None,
        typer.Option(
            help="The probe's folder, for attentive pooling; clips are cut as it was trained on."
        ),
    ] = None,
    layers: options.Layers = None,
    which: options.Encoder = "target",
    precision: options.PrecisionOption = "fp32",
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file if it is there already.")
    ] = False,
    debug: terminal.Debug = False,
) -> None:
    """Write the features of every clip of every video, with its times in seconds.

    Clips follow one another from the start to the end of each video. A picture is a clip of its
    own: as an image where the weights take images, else repeated to fill one tubelet.

    Examples:
        nexus embed runs/first videos/ --out features.parquet
        nexus embed runs/first videos/ --out tokens.arrow --pooling tokens --fps 8 --overlap 0.5
        nexus embed vitl.pt videos/ --out layers.parquet --frames 16 --layers 5,11,17,23
        nexus embed vitl.pt picture.jpg --out picture.parquet
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
        resize=resize,
        overlap=overlap,
        pooling=pooling,
        layers=options.layers_of(layers),
        probe=probe,
        images=images,
        which=which,
        precision=precision,
        force=force,
    )
    terminal.output().print(f"Features: {written}", markup=False)
