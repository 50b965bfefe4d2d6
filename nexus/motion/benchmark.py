"""From videos to the folder of a benchmark: looked at, dealt, cut, written."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus.atomic import atomic_folder, check_writable, write_json, write_text
from nexus.data.catalog.catalog import Catalog, Problem
from nexus.errors import ConfigError, DataError
from nexus.motion.config import SPLITS, MotionConfig
from nexus.motion.footage import Footage
from nexus.motion.plan import MotionClip, deal_sources, plan_split
from nexus.motion.work import Cutter, Looked, Looker, each_made, usual_workers

LISTING = "labels.csv"
DESCRIPTION = "motion.json"
LABELS = ("motion", "direction", "speed", "zoom", "arrow", "source")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that was written: its list, its clips, the split of each source (by its key),
    and the problems of sources that were left out.
    """

    listing: Path
    clips: tuple[MotionClip, ...]
    splits: dict[str, str]
    problems: tuple[Problem, ...]


def write_benchmark(
    catalog: Catalog,
    out: str | Path,
    config: MotionConfig,
    *,
    seed: int,
    chosen: Mapping[str, str] | None = None,
    force: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Benchmark:
    """Cut a benchmark of real motion from videos and write it as a folder.

    `out/SPLIT/NUMBER.mp4`, `out/labels.csv` (columns path, split, motion, direction, speed, zoom,
    arrow, source) and `out/motion.json`, which says what it was made of. The folder gets its name
    once it is complete. The files do not depend on `workers`.

    Args:
        catalog: the sources. Those that cannot be used become problems of the result.
        out: a folder that is not there yet, or empty.
        config: the clips.
        seed: of places and order.
        chosen: the split of sources, by their keys; the others are dealt, see `deal_sources`.
        force: replace a benchmark that is in `out`.
        workers: processes; 0: this one does it all; None: one a core, at most 8.
        progress: called with (clips written, clips to write).

    Raises:
        ConfigError: a key that is no source, a split that there is not, or a negative seed.
        DataError: fewer usable sources than splits, or something else is in `out`.
    """
    out, chosen = Path(out), chosen or {}
    check_out(out, force=force)
    _check_request(catalog, seed, chosen)
    count = usual_workers() if workers is None else workers
    requests = range(len(catalog.records))
    looked = list(each_made(Looker(catalog, config), requests, count))
    sources, problems = _distinct(catalog, looked)
    splits = _deal(catalog, sources, config, chosen, problems)
    clips: list[MotionClip] = []
    for split in SPLITS:
        own = [one for key, one in sources.items() if splits[key] == split]
        clips += plan_split(
            split, [one.footage for one in own], [one.digest for one in own], config, seed
        )
    with atomic_folder(out) as folder:
        for split in SPLITS:
            (folder / split).mkdir()
        cutter = Cutter(catalog, [one.footage for one in sources.values()], config, folder)
        done = 0
        for written in each_made(cutter, cutter.requests(clips), count):
            done += written
            if progress:
                progress(done, len(clips))
        write_text(folder / LISTING, _listing(clips, catalog))
        write_json(
            folder / DESCRIPTION,
            {
                "seed": seed,
                "config": config.to_mapping(),
                "sources": _described(catalog, sources, splits, clips),
                "left_out": [problem.to_mapping() for problem in problems],
            },
        )
    return Benchmark(out / LISTING, tuple(clips), splits, tuple(problems))


def check_out(out: Path, *, force: bool) -> None:
    """Check, before any video is read, that a benchmark can be written to a folder.

    Raises:
        DataError: something else is there, or a benchmark without `force`.
        OutputError: it cannot be written.
    """
    check_writable(out)
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / DESCRIPTION).is_file():
        raise DataError(f"{out}: there is something else; give a folder that is new or empty")
    if not force:
        raise DataError(f"{out}: holds a benchmark already; --force (force=True) replaces it")


def _check_request(catalog: Catalog, seed: int, chosen: Mapping[str, str]) -> None:
    if seed < 0:
        raise ConfigError(f"seed {seed}: expected a whole number of 0 or more")
    keys = [record.key for record in catalog.records]
    for key, split in chosen.items():
        if split not in SPLITS:
            raise ConfigError(f"split {split!r} of {key}: expected one of {', '.join(SPLITS)}")
        if key not in keys:
            known = ", ".join(keys) or "none"
            raise ConfigError(f"{key!r} is no usable source; there are: {known}")


def _distinct(
    catalog: Catalog, looked: Sequence[Looked | Problem]
) -> tuple[dict[str, Looked], list[Problem]]:
    """Usable sources by their keys, each content once, and what is wrong with the others."""
    sources: dict[str, Looked] = {}
    problems: list[Problem] = []
    known: dict[str, str] = {}
    for record, one in zip(catalog.records, looked, strict=True):
        if isinstance(one, Problem):
            problems.append(one)
        elif one.digest in known:
            reason = f"the same as {known[one.digest]}; a source counts once"
            problems.append(Problem(str(record.path), "odd", reason, True))
        else:
            known[one.digest] = record.key
            sources[record.key] = one
    return sources, problems


def _deal(
    catalog: Catalog,
    sources: Mapping[str, Looked],
    config: MotionConfig,
    chosen: Mapping[str, str],
    problems: Sequence[Problem],
) -> dict[str, str]:
    wanted = [split for split in SPLITS if config.clips[split]]
    if len(sources) < len(wanted):
        left_out = "".join(f"\n  {one.path}: {one.reason}" for one in problems)
        raise DataError(
            f"{catalog.source}: {len(sources)} usable source{'s' * (len(sources) != 1)}; whole "
            f"files are held out, so {', '.join(wanted)} need at least one each: "
            f"{len(wanted)}{left_out}"
        )
    lengths = {key: one.footage.seconds for key, one in sources.items()}
    placed = {key: split for key, split in chosen.items() if key in sources}
    splits = deal_sources(lengths, placed, wanted)
    for split in wanted:
        if split not in splits.values():
            raise DataError(
                f"{catalog.source}: no source is left for {split}; choose fewer of the "
                f"{len(sources)} for other splits"
            )
    return splits


def _listing(clips: Sequence[MotionClip], catalog: Catalog) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "split", *LABELS])
    for clip in clips:
        shown = clip.motion
        classes = (shown.task, shown.direction, shown.speed, shown.zoom, shown.arrow)
        source = catalog.records[clip.source].key
        writer.writerow([clip.path, clip.split, *(name or "" for name in classes), source])
    return text.getvalue()


def _described(
    catalog: Catalog,
    sources: Mapping[str, Looked],
    splits: Mapping[str, str],
    clips: Sequence[MotionClip],
) -> list[dict[str, Any]]:
    counts = Counter(clip.source for clip in clips)
    described = []
    for key, one in sources.items():
        footage: Footage = one.footage
        record = catalog.records[footage.number]
        described.append(
            {
                "source": key,
                "sha256": one.digest,
                "split": splits[key],
                "clips": counts[footage.number],
                "width": record.width,
                "height": record.height,
                "seconds": round(record.duration, 3),
                "usable_seconds": round(footage.seconds, 3),
                "shots": len(footage.shots),
            }
        )
    return described
