"""Features of whole videos in sliding windows, with timestamps, written to Parquet or npz."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from nexus.data.augment import center_view, to_gray
from nexus.data.catalog import Catalog, Problem, VideoRecord
from nexus.data.clips import ClipConfig, ClipTooShortError, FrameTimes
from nexus.data.decode import Decoder, choose_decoder, decoder_for
from nexus.errors import DataError
from nexus.evaluation.features import Progress
from nexus.evaluation.frozen import FeatureConfig, encode, frozen
from nexus.evaluation.table import FeatureTable
from nexus.evaluation.table_files import check_ending, write_tables
from nexus.evaluation.windows import Windows, slide
from nexus.models.encoder import VideoEncoder
from nexus.models.heads import AttentiveHead

CHUNK_BYTES = 128_000_000
"""Decoded full-size pictures that one reading thread holds at a time."""

T = TypeVar("T")


@dataclass(frozen=True)
class Embedded:
    """What was written: `windows` rows from `files` videos, and what could not be."""

    path: Path
    windows: int
    files: int
    problems: tuple[Problem, ...]


def embed(
    encoder: VideoEncoder,
    catalog: Catalog,
    out: str | Path,
    *,
    clip: ClipConfig,
    img_size: int | tuple[int, int],
    overlap: float = 0.0,
    config: FeatureConfig | None = None,
    channels: int = 3,
    decoder: Decoder | None = None,
    num_workers: int = 1,
    head: AttentiveHead | None = None,
    progress: Progress | None = None,
) -> Embedded:
    """Write one row a window: key, path, split, start, end (seconds), labels, features.

    Args:
        out: a `.parquet` or (the only one for `tokens` pooling) `.npz` file, written as it goes,
            for any amount of video. `load_table` reads both.
        clip: frames a window and their rate or stride.
        overlap: share of a window that the next one covers again.
        num_workers: threads that decode while the encoder works; 0 decodes in between.
        head: the probe that pools, under `attentive` pooling; on the encoder's device.
        progress: called with (videos begun, videos in all).

    A file that fails has no rows; where only some windows cannot be decoded those are missing.
    Both are named in `problems`.

    Raises:
        DataError: another file ending, or not a single window could be read.
        NexusError: the features are not finite.
        ValueError: an overlap outside 0 to below 1.
    """
    out, config = Path(out), config or FeatureConfig()
    check_ending(out, config.pooling)
    reader = _Reader(
        catalog=catalog,
        clip=clip,
        overlap=overlap,
        size=(img_size, img_size) if isinstance(img_size, int) else img_size,
        channels=channels,
        decoder=decoder or choose_decoder("auto"),
    )
    files: set[int] = set()

    def tables() -> Iterator[FeatureTable]:
        for batch in batched(reader.windows(num_workers), config.batch_size):
            video = torch.stack([item.video for item in batch])
            features, grid = encode(encoder, video, config, head)
            files.update(item.record for item in batch)
            if progress is not None:
                progress(batch[-1].record + 1, len(catalog.records))
            chosen = [catalog.records[item.record] for item in batch]
            yield FeatureTable(
                features=features,
                keys=tuple(record.key for record in chosen),
                paths=tuple(str(record.path) for record in chosen),
                labels=tuple(dict(record.labels) for record in chosen),
                splits=tuple(record.split or "" for record in chosen),
                starts=np.array([item.start for item in batch]),
                ends=np.array([item.end for item in batch]),
                pooling=config.pooling,
                grid=(grid.time, grid.height, grid.width),
                layers=config.layers,
            )
        if not files:
            listed = "; ".join(f"{item.path}: {item.reason}" for item in reader.problems())
            raise DataError(f"no window of {catalog.source} could be read ({listed[:600]})")

    columns = sorted({name for record in catalog.records for name in record.labels})
    with frozen(encoder):
        count = write_tables(out, tables(), reader.problems, columns)
    return Embedded(out, count, len(files), reader.problems())


@dataclass(frozen=True)
class _Window:
    record: int
    start: float
    end: float
    video: UInt8[Tensor, "channels time height width"]


@dataclass(frozen=True)
class _Missing:
    record: int
    start: float
    end: float
    reason: str


@dataclass
class _Reader:
    """Decodes the windows of a catalog's videos and remembers what failed."""

    catalog: Catalog
    clip: ClipConfig
    overlap: float
    size: tuple[int, int]
    channels: int
    decoder: Decoder
    planned: dict[int, int] = field(default_factory=dict)
    missing: list[_Missing] = field(default_factory=list)
    unusable: list[Problem] = field(default_factory=list)

    def windows(self, workers: int) -> Iterator[_Window]:
        """All windows that can be decoded, in the order of the catalog and of time."""
        for found in ahead(self._jobs(), workers):
            for window in found:
                if isinstance(window, _Window):
                    yield window
                else:
                    self.missing.append(window)

    def problems(self) -> tuple[Problem, ...]:
        """What failed so far, one problem a file."""
        by_record: dict[int, list[_Missing]] = {}
        for window in self.missing:
            by_record.setdefault(window.record, []).append(window)
        return (*self.unusable, *(self._summary(*item) for item in sorted(by_record.items())))

    def _summary(self, index: int, lost: list[_Missing]) -> Problem:
        first, planned = lost[0], self.planned[index]
        return Problem(
            path=str(self.catalog.records[index].path),
            kind="decode_failed",
            reason=f"{len(lost)} of {planned} windows left out, the first from {first.start:.3f} "
            f"to {first.end:.3f} s: {first.reason}",
            fatal=len(lost) == planned,
        )

    def _jobs(self) -> Iterator[Callable[[], list[_Window | _Missing]]]:
        for index, record in enumerate(self.catalog.records):
            try:
                stamps = decoder_for(record, self.decoder).timestamps(record.path)
                times = FrameTimes.from_timestamps(stamps)
                found = slide(times, self.clip, self.overlap, start=record.start, end=record.end)
            except (DataError, OSError) as error:
                kind = "decode_failed" if record.path.exists() else "missing"
                kind = "too_short" if isinstance(error, ClipTooShortError) else kind
                self.unusable.append(Problem(str(record.path), kind, str(error), True))
                continue
            self.planned[index] = len(found.starts)
            frame_bytes = max(1, record.height * record.width * 3)
            step = max(1, CHUNK_BYTES // (frame_bytes * self.clip.num_frames))
            for first in range(0, len(found.starts), step):
                part = found.part(first, first + step)
                yield partial(self._read, index, record, times, part)

    def _read(
        self, index: int, record: VideoRecord, times: FrameTimes, part: Windows
    ) -> list[_Window | _Missing]:
        try:
            needed, place = np.unique(part.indices, return_inverse=True)
            asked = times.asking_for(needed)
            frames = decoder_for(record, self.decoder).frames(record.path, asked)
            pictures = center_view(torch.from_numpy(frames), self.size)
        except (DataError, OSError) as error:
            if len(part.starts) == 1:
                bounds = float(part.starts[0]), float(part.ends[0])
                return [_Missing(index, *bounds, str(error))]
            # One damaged frame must not take its neighbours along: try the windows one by one.
            singles = (part.part(at, at + 1) for at in range(len(part.starts)))
            return [window for one in singles for window in self._read(index, record, times, one)]
        pictures = to_gray(pictures) if self.channels == 1 else pictures
        rows = torch.from_numpy(place.reshape(part.indices.shape))
        return [
            _Window(index, float(start), float(end), pictures[:, row])
            for start, end, row in zip(part.starts, part.ends, rows, strict=True)
        ]


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; the last one may be shorter."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def ahead(jobs: Iterable[Callable[[], T]], workers: int) -> Iterator[T]:
    """Results in the order of the jobs, which run in threads, at most `workers` + 1 ahead."""
    if workers < 1:
        for job in jobs:
            yield job()
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(job))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
