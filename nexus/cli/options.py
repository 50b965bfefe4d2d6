"""Options that several commands share."""

from typing import Annotated, Any, Literal

import typer

CLIPS = "Clips"
"""The panel of `--help` on which clips are read."""


Which = Literal["target", "context"]
Precision = Literal["fp32", "bf16"]
Weights = Annotated[
    str,
    typer.Argument(
        metavar="WEIGHTS",
        help="A run's or checkpoint's folder, a published .pt file, a folder of transformers', or "
        "a hub id.",
    ),
]
Labelled = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA", help="A list with labels; default: the data that a run was trained on."
    ),
]
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
Frames = Annotated[
    int | None,
    typer.Option(
        "--frames",
        min=1,
        help="Frames a clip.",
        show_default="as the weights, or the probe, were trained",
        rich_help_panel=CLIPS,
    ),
]
Fps = Annotated[
    float | None,
    typer.Option(
        help="Frames a second of the clips.",
        show_default="as a probe or a run was trained, 4 for published weights",
        rich_help_panel=CLIPS,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        "--img-size",
        min=1,
        help="Side of the pictures in pixels.",
        show_default="as trained",
        rich_help_panel=CLIPS,
    ),
]
Resize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Pixels that the short side of pictures is brought to before their middle is cropped.",
        show_default="as trained, or as the weights' makers do: 292 for 256",
        rich_help_panel=CLIPS,
    ),
]
Clips = Annotated[
    int | None,
    typer.Option(min=1, help="Clips of each video, evenly spread.", rich_help_panel=CLIPS),
]
Pad = Annotated[
    bool,
    typer.Option(
        "--pad",
        help="Fill up videos shorter than a clip with their last frame.",
        rich_help_panel=CLIPS,
    ),
]
Join = Annotated[
    bool | None,
    typer.Option(
        "--join/--average",
        help="Pool the clips of a video together, or average their probabilities.",
        show_default="--average, or as the probe was trained",
        rich_help_panel=CLIPS,
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace another probe that is kept in that folder.")
]


def layers_of(text: str | None) -> tuple[int, ...]:
    """`5,11,17,23` as numbers; none for None."""
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise typer.BadParameter(
            f"--layers {text!r}: expected block numbers, for example 5,11,17,23"
        ) from None


def clips_of(
    num_frames: int | None,
    fps: float | None,
    size: int | None,
    resize: int | None,
    clips: int | None,
    pad: bool,
) -> dict[str, Any]:
    """What was asked of the clips, as the jobs take it."""
    given = {"num_frames": num_frames, "fps": fps, "img_size": size, "resize": resize}
    given["clips_per_video"] = clips
    asked = {key: value for key, value in given.items() if value is not None}
    return {**asked, "pad": True} if pad else asked
