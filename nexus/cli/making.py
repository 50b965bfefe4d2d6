"""`nexus data`: data sets that nexus makes."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus.cli import terminal

if TYPE_CHECKING:
    from nexus.motion.benchmark import Benchmark

VALIDATION_SHARE, TEST_SHARE = 5, 3
"""The training split has so many times the clips of the validation and of the test split."""


def data_motion(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCES...",
            help="Video files and folders of them; at least three videos.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the clips and labels.csv.", show_default=False)
    ],
    clips: Annotated[
        int,
        typer.Option(
            min=1, help="Training clips; a fifth of it for validation and a third for the test."
        ),
    ] = 2400,
    size: Annotated[int, typer.Option(help="Side of the clips, pixels.")] = 96,
    seconds: Annotated[float, typer.Option(help="Length of a clip.")] = 2.0,
    fps: Annotated[float, typer.Option(help="Frames a second of the clips.")] = 16.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    train: Annotated[
        list[str] | None,
        typer.Option(
            help="A source, as `nexus check` names it, for this split; may be given several times.",
            show_default="dealt by length",
        ),
    ] = None,
    validation: Annotated[
        list[str] | None, typer.Option(help="As --train.", show_default="dealt by length")
    ] = None,
    test: Annotated[
        list[str] | None, typer.Option(help="As --train.", show_default="dealt by length")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a benchmark that is in that folder.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes.", show_default="one a core, at most 8"),
    ] = None,
    debug: terminal.Debug = False,
) -> None:
    """Cut a benchmark of real motion from your videos.

    Windows pan over the footage in eight directions at three speeds, zoom in and out, or stand
    still while it runs forwards or backwards. Whole source files are held out, and nothing but
    motion tells the classes apart. No clip spans a cut.

    Examples:
        nexus data motion videos/ --out motion
        nexus data motion a.mp4 b.mp4 more/ --out motion --clips 600 --test b.mp4
    """
    from nexus import jobs
    from nexus.motion.config import MotionConfig

    config = MotionConfig.from_mapping(
        {
            "size": size,
            "seconds": seconds,
            "fps": fps,
            "train_clips": clips,
            "validation_clips": -(-clips // VALIDATION_SHARE),
            "test_clips": -(-clips // TEST_SHARE),
        }
    )
    given = {"train": train, "validation": validation, "test": test}
    chosen = {name: split for split, names in given.items() for name in names or ()}
    one = sources[0] if len(sources) == 1 else sources
    made = jobs.make_motion(
        one, out, config, seed=seed, chosen=chosen, force=force, workers=workers
    )
    _show(made)


def _show(made: "Benchmark") -> None:
    printer = terminal.output()
    counts = Counter(clip.split for clip in made.clips)
    for split, count in counts.items():
        names = ", ".join(name for name, its in made.splits.items() if its == split)
        printer.print(f"{split}: {count} clips from {names}", markup=False)
    printer.print(f"Labels: {made.listing}", markup=False)
