"""Decoded windows of a catalog's videos, a few at a time, and what could not be decoded."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from nexus.data.augment import to_gray
from nexus.data.catalog import Problem
from nexus.data.clip_source import ClipSource
from nexus.data.clips import ClipTooShortError
from nexus.data.video_reader import VideoReader
from nexus.data.views import CenterView
from nexus.errors import DataError
from nexus.features.windows import Windows, slide

CHUNK_BYTES = 128_000_000
"""Pictures of the windows' size that one reading thread decodes at a time."""

T = TypeVar("T")


@dataclass(frozen=True)
class Window:
    """One window's pictures, and its bounds in seconds; `record` numbers the catalog's records."""

    record: int
    start: float
    end: float
    video: UInt8[Tensor, "channels time height width"]


@dataclass(frozen=True)
class Missing:
    """A window that could not be decoded."""

    record: int
    start: float
    end: float
    reason: str


@dataclass
class WindowReader:
    """Decodes the windows of a source's videos and remembers what failed.

    A window is cut and shown as `source.spec` says, but for where it lies; consecutive ones share
    `overlap` of their length.
    """

    source: ClipSource
    overlap: float = 0.0
    still: bool = False
    """Pictures rather than videos: a window ends when it starts."""
    chunk_bytes: int = CHUNK_BYTES
    planned: dict[int, int] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    unusable: list[Problem] = field(default_factory=list)

    def windows(self, workers: int) -> Iterator[Window]:
        """All windows that can be decoded, in the order of the catalog and of time."""
        for found in ahead(self._jobs(), workers):
            for window in found:
                if isinstance(window, Window):
                    yield window
                else:
                    self.missing.append(window)

    def problems(self) -> tuple[Problem, ...]:
        """What failed so far, one problem a file."""
        by_record: dict[int, list[Missing]] = {}
        for window in self.missing:
            by_record.setdefault(window.record, []).append(window)
        return (*self.unusable, *(self._summary(*item) for item in sorted(by_record.items())))

    def _summary(self, index: int, lost: list[Missing]) -> Problem:
        first, planned = lost[0], self.planned[index]
        return Problem(
            path=str(self.source.catalog.records[index].path),
            kind="decode_failed",
            reason=f"{len(lost)} of {planned} windows left out, the first from {first.start:.3f} "
            f"to {first.end:.3f} s: {first.reason}",
            fatal=len(lost) == planned,
        )

    def _jobs(self) -> Iterator[Callable[[], list[Window | Missing]]]:
        reader, spec = self.source.reader(), self.source.spec
        for index, record in enumerate(self.source.catalog.records):
            try:
                times = reader.times(index)
                found = slide(times, spec, self.overlap, start=record.start, end=record.end)
            except (DataError, OSError) as error:
                kind = "decode_failed" if record.path.exists() else "missing"
                kind = "too_short" if isinstance(error, ClipTooShortError) else kind
                self.unusable.append(Problem(str(record.path), kind, str(error), True))
                continue
            if self.still:
                found = Windows(found.indices, found.starts, found.starts)
            self.planned[index] = len(found.starts)
            frame_bytes = spec.size[0] * spec.size[1] * 3
            step = max(1, self.chunk_bytes // (frame_bytes * spec.num_frames))
            for first in range(0, len(found.starts), step):
                part = found.part(first, first + step)
                yield partial(self._read, reader, index, part)

    def _read(self, reader: VideoReader, index: int, part: Windows) -> list[Window | Missing]:
        spec = self.source.spec
        try:
            needed, place = np.unique(part.indices, return_inverse=True)
            frames = reader.frames(index, needed, CenterView(spec.size))
        except (DataError, OSError) as error:
            if len(part.starts) == 1:
                bounds = float(part.starts[0]), float(part.ends[0])
                return [Missing(index, *bounds, str(error))]
            # One damaged frame must not take its neighbours along: try the windows one by one.
            singles = (part.part(at, at + 1) for at in range(len(part.starts)))
            return [window for one in singles for window in self._read(reader, index, one)]
        pictures = torch.from_numpy(frames).permute(3, 0, 1, 2)
        pictures = to_gray(pictures) if spec.channels == 1 else pictures
        rows = torch.from_numpy(place.reshape(part.indices.shape))
        return [
            Window(index, float(start), float(end), pictures[:, row])
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
