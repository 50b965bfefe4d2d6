"""`make_motion`: a benchmark of real motion from anybody's videos."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nexus.data.catalog.catalog import scan
from nexus.data.catalog.index import user_index_dir
from nexus.jobs.console import messages, progress, say_each
from nexus.motion.benchmark import Benchmark, check_out, write_benchmark
from nexus.motion.config import MotionConfig


def make_motion(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    config: MotionConfig | None = None,
    *,
    seed: int = 0,
    chosen: Mapping[str, str] | None = None,
    force: bool = False,
    workers: int | None = None,
) -> Benchmark:
    """Cut windows that pan, zoom and stand still from real videos, with labels and splits.

    The folder `out` holds `labels.csv`, a list as every command takes it, with the columns motion
    (pan, zoom, still), direction (of pans; eight), speed (slow, medium, fast), zoom (in, out),
    arrow (of still windows: forward, backward) and source. Whole source files are held out. A
    source that cannot be used is named and left out.

    Args:
        sources: video files and folders of them, at least three videos.
        out: a folder that is not there yet, or empty.
        config: size, length and number of the clips; None: the defaults.
        seed: of what is shown where; the same seed gives the same files.
        chosen: the split (train, validation, test) of sources, by their names as `nexus check`
            gives them; the others are dealt by their lengths, see `nexus.motion.plan.deal_sources`.
        force: replace a benchmark that is in `out`.
        workers: processes; None: one a core, at most 8.

    Raises:
        ConfigError: a name in `chosen` that is no source, or a negative seed.
        DataError: no videos, fewer than three usable ones, or something else is in `out`.
        OutputError: `out` cannot be written, or the disk is full.
    """
    check_out(Path(out), force=force)
    with progress("reading videos") as report:
        catalog = scan(sources, index_dir=user_index_dir(), progress=report)
    catalog.check_usable()
    unusable = [problem for problem in catalog.problems if problem.fatal]
    say_each(unusable)
    with progress("cutting clips") as report:
        made = write_benchmark(
            catalog,
            out,
            config or MotionConfig(),
            seed=seed,
            chosen=chosen,
            force=force,
            workers=workers,
            progress=report,
        )
    say_each(made.problems)
    left_out = len({problem.path for problem in (*unusable, *made.problems)})
    if left_out:
        messages().print(f"{left_out} source{'s' * (left_out != 1)} left out")
    return made
