"""`embed`: features of every window of every video, with its times."""

from collections.abc import Sequence
from pathlib import Path

from nexus.data.decode import choose_decoder
from nexus.errors import DataError
from nexus.evaluation import embed as windows
from nexus.evaluation.frozen import FeatureConfig
from nexus.jobs.console import messages, progress, say_problems
from nexus.jobs.runs import load_run, read_videos


def embed(
    run: str | Path,
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    num_frames: int | None = None,
    fps: float | None = None,
    overlap: float = 0.0,
    pooling: str = "mean",
    which: str = "target",
) -> Path:
    """Write features of every window of every video to a .parquet or .npz file.

    Args:
        run: a run's folder or a checkpoint's.
        num_frames: frames a window, a multiple of the tubelet; default: as trained.
        fps: frames a second of the windows; default: as trained.
        overlap: share of a window that the next one repeats, from 0 to below 1.
        pooling: "mean", "mean_time" or "tokens".
        which: "target" or "context" encoder.

    Raises:
        CheckpointError: there is no checkpoint in `run`.
        DataError: no window could be read, or the window does not fit the encoder.
    """
    model, settings = load_run(run)
    clip = settings.data.clip.for_evaluation()
    tubelet = model.config.tubelet_size
    if num_frames is not None and num_frames % tubelet:
        raise DataError(
            f"a window of {num_frames} frames does not divide into tubelets of {tubelet}; "
            f"give a multiple of {tubelet}"
        )
    if num_frames is not None:
        clip = clip.with_changes(num_frames=num_frames)
    if fps is not None:
        clip = clip.with_changes(fps=fps, stride=1)
    catalog = read_videos(data)
    say_problems(catalog)
    encoder = model.evaluation_encoder("context" if which == "context" else "target")
    with progress("embedding") as tick:
        written = windows.embed(
            encoder,
            catalog,
            out,
            clip=clip,
            img_size=model.config.image_sides,
            overlap=overlap,
            config=FeatureConfig.from_mapping({"pooling": pooling}),
            channels=model.config.in_chans,
            decoder=choose_decoder(settings.data.decoder),
            progress=tick,
        )
    for problem in written.problems:
        messages().print(f"left out {problem.path}: {problem.reason}", markup=False)
    return written.path
