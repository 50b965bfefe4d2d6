"""Frozen features of a catalog's videos, kept on disk; and the raw-pixel baseline beside them."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional as F

from nexus.data.catalog import Problem
from nexus.data.clip_source import ClipSource
from nexus.digest import digest
from nexus.errors import DataError
from nexus.features.encoding import FeatureConfig, encode, encoder_digest, frozen
from nexus.features.table import (
    FeatureTable,
    Pooling,
    clip_rows,
    concatenate,
    nothing_read,
)
from nexus.features.table_files import load_table, write_tables
from nexus.models.contract import Encoder

Progress = Callable[[int, int], None]
"""Called with (clips done, clips in all)."""

PIXEL_NUMBERS = 2**26
"""Pixel features of all clips together; more are averaged over time. Probes work on copies in
float64, of 0.5 GB each then (measured at this bound: 3.2 GB in all)."""

Grid3 = tuple[int, int, int]
Featurise = Callable[[Tensor], tuple[ndarray, Grid3]]

_log = logging.getLogger(__name__)


def extract(
    encoder: Encoder,
    source: ClipSource,
    config: FeatureConfig | None = None,
    *,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> FeatureTable:
    """Features of every clip of a source, in eval mode and without gradients.

    Args:
        encoder: stays on its device and is left in the mode that it is in.
        cache_dir: features are written here as they come and kept, under the identity of the
            weights, of the video files and of the settings; labels and splits always come from the
            catalog at hand.

    Returns:
        One row a clip, in the order of the catalog. A file that fails has no row: it stands in
        `problems`, and nothing takes its place.

    Raises:
        DataError: not a single clip could be read.
        NexusError: the features are not finite.
    """
    config = config or FeatureConfig()

    def featurise(video: Tensor) -> tuple[ndarray, Grid3]:
        features, grid = encode(encoder, video, config)
        return features, (grid.time, grid.height, grid.width)

    def make(problems: dict[tuple[str, str], Problem]) -> Iterator[FeatureTable]:
        return _tables(
            source,
            config.pooling,
            config.batch_size,
            featurise,
            progress,
            problems,
            config.layers,
        )

    what = "" if cache_dir is None else identity_of(encoder, config)
    with frozen(encoder):
        return _kept(cache_dir, what, source, make)


def pixel_features(
    source: ClipSource,
    *,
    size: int = 16,
    batch_size: int = 32,
    numbers: int = PIXEL_NUMBERS,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> FeatureTable:
    """The baseline without any encoder: the pixels of the clip, 0 to 1, flattened.

    Every frame counts; its pictures are averaged down to `size` x `size` (if they are larger), so
    a clip gives channels * frames * size * size features. Where all clips would give more than
    `numbers`, neighbouring frames are averaged too: down to `pixel_steps`.

    Raises:
        DataError: not a single clip could be read.
    """

    steps = pixel_steps(source, size, numbers)

    def make(problems: dict[tuple[str, str], Problem]) -> Iterator[FeatureTable]:
        return _tables(
            source,
            "pixels",
            batch_size,
            lambda video: shrink_pixels(video, size, steps),
            progress,
            problems,
        )

    return _kept(cache_dir, f"pixels {size} {steps}", source, make)


def pixel_steps(source: ClipSource, size: int, numbers: int) -> int:
    """Time steps that the pixel features of a source have: its frames, or as many as keep all
    clips within `numbers` (one at the least)."""
    height, width = (min(size, side) for side in source.spec.size)
    step = max(1, source.clip_count) * source.spec.channels * height * width
    return max(1, min(source.spec.num_frames, numbers // step))


def shrink_pixels(
    video: UInt8[Tensor, "batch channels time height width"], size: int, steps: int
) -> tuple[Float[ndarray, "batch features"], Grid3]:
    """Pixels 0 to 1, averaged down to at most `size` x `size` and `steps` of time, flattened."""
    _, _, frames, height, width = video.shape
    grid = (min(steps, frames), min(size, height), min(size, width))
    # One clip at a time: a batch of long clips takes gigabytes as floats.
    small = [F.adaptive_avg_pool3d(clip.float() / 255, grid) for clip in video]
    return torch.stack(small).reshape(len(video), -1).numpy(), grid


def _tables(
    source: ClipSource,
    pooling: Pooling,
    batch_size: int,
    featurise: Featurise,
    progress: Progress | None,
    problems: dict[tuple[str, str], Problem],
    layers: tuple[int, ...] = (-1,),
) -> Iterator[FeatureTable]:
    """A table a batch; what fails is put into `problems`."""
    records, total, seen, found_any = source.catalog.records, source.clip_count, 0, False
    known = clip_rows(records)
    for loaded in source.batches(batch_size):
        seen += len(loaded.batch) + len(loaded.failures)
        for problem in loaded.failures:
            problems.setdefault((problem.path, problem.kind), problem)
        if progress is not None:
            progress(seen, total)
        if not len(loaded.batch):
            continue
        found_any = True
        features, grid = featurise(loaded.batch.clips)
        rows = known.iloc[loaded.record_index.tolist()]
        yield FeatureTable(
            features=features,
            rows=rows.assign(start=loaded.starts.numpy(), end=loaded.ends.numpy()),
            pooling=pooling,
            grid=grid,
            layers=layers,
        )
    if not found_any:
        raise nothing_read(f"no clip of {source.catalog.source} could be read", problems.values())


def _kept(
    folder: str | Path | None,
    what: str,
    source: ClipSource,
    make: Callable[[dict[tuple[str, str], Problem]], Iterator[FeatureTable]],
) -> FeatureTable:
    """The table from the cache, with today's labels and splits, or made and put there.

    Without a folder it is collected in memory.
    """
    problems: dict[tuple[str, str], Problem] = {}
    if folder is None:
        table = concatenate(list(make(problems)))
        return replace(table, problems=tuple(problems.values()))
    path = cache_file(folder, what, source)
    if path.exists():
        try:
            return _relabelled(load_table(path), source)
        except DataError as error:
            _log.warning("%s; the features are computed again", error)
    known = clip_rows(source.catalog.records)
    tables = (_numbered(table) for table in make(problems))
    write_tables(path, tables, lambda: tuple(problems.values()), known)
    return _relabelled(load_table(path), source)


def cache_file(folder: str | Path, what: str, source: ClipSource) -> Path:
    """Where the features of a source are kept; `what` says which features."""
    name = digest(f"3 {what} {source.identity()}")[:32]
    return Path(folder) / f"{name}.arrow"


def identity_of(encoder: Encoder, config: FeatureConfig) -> str:
    """What the features depend on beside the clips."""
    layers = ",".join(map(str, config.layers))
    return f"{encoder_digest(encoder)} {config.pooling} {config.precision} {layers}"


def _numbered(table: FeatureTable) -> FeatureTable:
    """Keys become the numbers of the records: a name that is not UTF-8 would not come back."""
    return replace(table, rows=table.rows.assign(key=table.rows.index.map(str)))


def _relabelled(table: FeatureTable, source: ClipSource) -> FeatureTable:
    """The same features with what the source at hand, which has the same records, knows of them."""
    known = clip_rows(source.catalog.records).iloc[table.rows["key"].astype(int)]
    times = {name: table.rows[name].to_numpy() for name in ("start", "end")}
    return replace(table, rows=known.assign(**times).reset_index(drop=True))
