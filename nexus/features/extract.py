"""Frozen features of clips, kept on disk, or of sliding windows; and pixels as features."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional as F

from nexus.data.catalog.catalog import Problem
from nexus.data.loading.clip_source import ClipSource
from nexus.data.loading.loader import LoadedBatch
from nexus.digest import digest
from nexus.errors import DataError
from nexus.features.encoding import FeatureConfig, Progress, encode, encoder_digest, frozen
from nexus.features.table import (
    FeatureTable,
    Pooling,
    clip_rows,
    concatenate,
    nothing_read,
)
from nexus.features.table_files import check_ending, load_table, write_tables
from nexus.features.window_reader import WindowReader
from nexus.models.contract import Encoder
from nexus.models.heads import AttentiveHead
from nexus.nn.grid import Grid

PIXEL_NUMBERS = 2**26
"""Pixel features of all clips together; more are averaged over time. Probes work on copies in
float64, of 0.5 GB each then (measured at this bound: 3.2 GB in all)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedded:
    """What was written: rows, videos that have some, and what could not be read.

    A file that fails has no rows; where only some windows cannot be decoded those are missing.
    """

    rows: int
    videos: int
    problems: tuple[Problem, ...]


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
    work = _Extraction(
        source, lambda clips: encode(encoder, clips, config), config.pooling, config.layers
    )
    what = "" if cache_dir is None else identity_of(encoder, config)
    with frozen(encoder):
        return work.table(cache_dir, what, config.batch_size, progress)


def embed(
    encoder: Encoder,
    source: ClipSource,
    out: str | Path,
    *,
    overlap: float = 0.0,
    config: FeatureConfig | None = None,
    still: bool = False,
    head: AttentiveHead | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Embedded:
    """Write the features of every window of every video, a row each; see `FeatureTable`.

    Args:
        source: the videos, and how windows are cut from them and shown.
        out: an `.arrow` file, which `load_table` maps, or a `.parquet` one for other tools; written
            as it goes, for any amount of video.
        overlap: share of a window that the next one covers again.
        still: the records are pictures, each shown as often as a window has frames.
        head: the probe that pools, under `attentive` pooling; on the encoder's device.
        about: JSON-ready facts for the file's metadata: which weights, which clips.
        progress: called with (videos begun, videos in all).

    Raises:
        DataError: another file ending, or not a single window could be read.
        NexusError: the features are not finite.
        ValueError: an overlap outside 0 to below 1.
    """
    config = config or FeatureConfig()
    check_ending(Path(out))
    work = _Extraction(
        source,
        lambda clips: encode(encoder, clips, config, head),
        config.pooling,
        config.layers,
        about or {},
    )
    reader = WindowReader(source, overlap, still)
    windows = reader.batches(config.batch_size, progress)
    with frozen(encoder):
        rows = write_tables(
            out, work.tables(windows, "window", reader.problems), reader.problems, work.known
        )
    return Embedded(rows, reader.videos, reader.problems())


def pixel_features(
    source: ClipSource,
    *,
    size: int = 16,
    numbers: int = PIXEL_NUMBERS,
    cache_dir: str | Path | None = None,
) -> FeatureTable:
    """The baseline without any encoder: the pixels of the clip, 0 to 1, flattened.

    Every frame counts; its pictures are averaged down to `size` x `size` (if they are larger), so
    a clip gives channels * frames * size * size features. Where all clips would give more than
    `numbers`, neighbouring frames are averaged too: down to `pixel_steps`.

    Raises:
        DataError: not a single clip could be read.
    """
    steps = pixel_steps(source, size, numbers)
    work = _Extraction(source, lambda clips: shrink_pixels(clips, size, steps), "pixels")
    return work.table(cache_dir, f"pixels {size} {steps}")


def pixel_steps(source: ClipSource, size: int, numbers: int) -> int:
    """Time steps that the pixel features of a source have: its frames, or as many as keep all
    clips within `numbers` (one at the least)."""
    height, width = (min(size, side) for side in source.spec.size)
    step = max(1, source.clip_count) * source.spec.channels * height * width
    return max(1, min(source.spec.num_frames, numbers // step))


def shrink_pixels(
    video: UInt8[Tensor, "batch channels time height width"], size: int, steps: int
) -> tuple[Float[ndarray, "batch features"], Grid]:
    """Pixels 0 to 1, averaged down to at most `size` x `size` and `steps` of time, flattened."""
    _, _, frames, height, width = video.shape
    grid = (min(steps, frames), min(size, height), min(size, width))
    # One clip at a time: a batch of long clips takes gigabytes as floats.
    small = [F.adaptive_avg_pool3d(clip.float() / 255, grid) for clip in video]
    return torch.stack(small).reshape(len(video), -1).numpy(), Grid(*grid)


def frame_differences(pixels: FeatureTable) -> FeatureTable:
    """Each time step of pixel features less the one before: signed, -1 to 1, flattened.

    A clip gives channels * (time - 1) * height * width features.

    Raises:
        DataError: there is one time step alone.
    """
    grid = pixels.grid
    if grid.time < 2:
        raise DataError("differences need two time steps of each clip or more, there is one")
    video = np.asarray(pixels.features[:]).reshape(len(pixels), -1, grid.time, grid.places)
    changes = np.diff(video, axis=2).reshape(len(pixels), -1)
    return replace(pixels, features=changes, grid=replace(grid, time=grid.time - 1))


@dataclass
class _Extraction:
    """One pass over the clips of a source, and what failed in it."""

    source: ClipSource
    featurise: Callable[[Tensor], tuple[ndarray, Grid]]
    pooling: Pooling
    layers: tuple[int, ...] = (-1,)
    about: Mapping[str, Any] = field(default_factory=dict)
    failed: dict[tuple[str, str], Problem] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known = clip_rows(self.source.catalog.records)

    def table(
        self,
        folder: str | Path | None,
        what: str,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> FeatureTable:
        """The table from a cache, with today's labels and splits, or made and put there.

        Without a folder it is collected in memory.
        """
        tables = self.tables(self._clips(batch_size, progress), "clip", self.problems)
        if folder is None:
            return replace(concatenate(list(tables)), problems=self.problems())
        path = cache_file(folder, what, self.source)
        if path.exists():
            try:
                return self._relabelled(load_table(path))
            except DataError as error:
                _log.warning("%s; the features are computed again", error)
        # Keys become the numbers of the records: a name that is not UTF-8 would not come back.
        numbered = (
            replace(table, rows=table.rows.assign(key=table.rows.index.map(str)))
            for table in tables
        )
        write_tables(path, numbered, self.problems, self.known)
        return self._relabelled(load_table(path))

    def tables(
        self,
        batches: Iterable[LoadedBatch],
        kind: str,
        problems: Callable[[], tuple[Problem, ...]],
    ) -> Iterator[FeatureTable]:
        """A table a batch."""
        nothing = True
        for loaded in batches:
            nothing = False
            features, grid = self.featurise(loaded.batch.clips)
            rows = self.known.iloc[loaded.record_index.tolist()]
            rows = rows.assign(start=loaded.starts.numpy(), end=loaded.ends.numpy())
            yield FeatureTable(
                features, rows, self.pooling, grid, layers=self.layers, about=self.about
            )
        if nothing:
            raise nothing_read(
                f"no {kind} of {self.source.catalog.source} could be read", problems()
            )

    def problems(self) -> tuple[Problem, ...]:
        """What failed so far, each kind of problem of a file once."""
        return tuple(self.failed.values())

    def _clips(self, batch_size: int, progress: Progress | None) -> Iterator[LoadedBatch]:
        """The clips that can be read; nothing is left out unsaid."""
        seen = 0
        for loaded in self.source.batches(batch_size):
            seen += len(loaded.batch) + len(loaded.failures)
            for problem in loaded.failures:
                self.failed.setdefault((problem.path, problem.kind), problem)
            if progress is not None:
                progress(seen, self.source.clip_count)
            if len(loaded.batch):
                yield loaded

    def _relabelled(self, table: FeatureTable) -> FeatureTable:
        """The same features with what the source at hand, with the same records, knows of them."""
        known = self.known.iloc[table.rows["key"].astype(int)]
        times = {name: table.rows[name].to_numpy() for name in ("start", "end")}
        return replace(table, rows=known.assign(**times).reset_index(drop=True))


def cache_file(folder: str | Path, what: str, source: ClipSource) -> Path:
    """Where the features of a source are kept; `what` says which features."""
    name = digest(f"3 {what} {source.identity()}")[:32]
    return Path(folder) / f"{name}.arrow"


def identity_of(encoder: Encoder, config: FeatureConfig) -> str:
    """What the features depend on beside the clips."""
    layers = ",".join(map(str, config.layers))
    return f"{encoder_digest(encoder)} {config.pooling} {config.precision} {layers}"
