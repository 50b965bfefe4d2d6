"""Decoded windows of a catalog's videos, a few at a time, and what could not be decoded."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from nexus.data.catalog.catalog import Problem
from nexus.data.loading.augment import to_gray
from nexus.data.loading.batch import Batch
from nexus.data.loading.clip_source import ClipSource
from nexus.data.loading.dataset import problem_of
from nexus.data.loading.loader import LoadedBatch, one_ahead
from nexus.data.loading.video_reader import VideoReader
from nexus.data.views import CenterView
from nexus.errors import DataError
from nexus.features.encoding import Progress
from nexus.features.windows import Windows, slide

CHUNK_BYTES = 128_000_000
"""Pictures of the windows' size that one reading thread decodes at a time."""


@dataclass(frozen=True)
class Window:
    """One window's pictures, when each is due and when the last one leaves the screen (seconds);
    `record` numbers the catalog's records."""

    record: int
    times: Float[ndarray, " time"]
    end: float
    video: UInt8[Tensor, "channels time height width"]


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
    """How many windows a record has."""
    missing: dict[int, list[tuple[float, float, str]]] = field(default_factory=dict)
    """Start, end and reason of those that cannot be decoded, by record."""
    unusable: list[Problem] = field(default_factory=list)

    def batches(self, size: int, progress: Progress | None = None) -> Iterator[LoadedBatch]:
        """`windows`, `size` at a time; `progress` is called with (videos begun, videos in all)."""
        windows = self.windows()
        while some := list(islice(windows, size)):
            records = [window.record for window in some]
            if progress is not None:
                progress(records[-1] + 1, len(self.source.catalog.records))
            times = torch.from_numpy(np.stack([window.times for window in some]))
            yield LoadedBatch(
                batch=Batch(torch.stack([window.video for window in some]), times),
                record_index=torch.tensor(records),
                ends=torch.tensor([window.end for window in some], dtype=torch.float64),
            )

    def windows(self) -> Iterator[Window]:
        """All windows that can be decoded, in the order of the catalog and of time.

        The next few are decoded in a thread while the last ones are used.
        """
        for windows in one_ahead(self._chunks()):
            yield from windows

    @property
    def videos(self) -> int:
        """Records of which a window could be decoded so far."""
        return sum(len(self.missing[record]) < count for record, count in self.planned.items())

    def problems(self) -> tuple[Problem, ...]:
        """What failed so far, one problem a file."""
        lost = [self._summary(record) for record, some in self.missing.items() if some]
        return (*self.unusable, *lost)

    def _summary(self, record: int) -> Problem:
        lost, planned = self.missing[record], self.planned[record]
        start, end, reason = min(lost)
        return Problem(
            path=str(self.source.catalog.records[record].path),
            kind="decode_failed",
            reason=f"{len(lost)} of {planned} windows left out, the first from {start:.3f} "
            f"to {end:.3f} s: {reason}",
            fatal=len(lost) == planned,
        )

    def _chunks(self) -> Iterator[list[Window]]:
        reader, spec = self.source.reader(), self.source.spec
        step = max(1, self.chunk_bytes // (spec.size[0] * spec.size[1] * 3 * spec.num_frames))
        for index, record in enumerate(self.source.catalog.records):
            try:
                times = reader.times(index)
                windows = slide(times, spec, self.overlap, start=record.start, end=record.end)
            except (DataError, OSError) as error:
                self.unusable.append(problem_of(record, error))
                continue
            if self.still:
                windows = Windows(windows.indices, windows.times, windows.starts)
            self.planned[index], self.missing[index] = len(windows), []
            for first in range(0, len(windows), step):
                yield self._read(reader, index, windows.part(first, first + step))

    def _read(self, reader: VideoReader, index: int, part: Windows) -> list[Window]:
        spec = self.source.spec
        try:
            needed, place = np.unique(part.indices, return_inverse=True)
            frames = reader.frames(index, needed, CenterView(spec.size, spec.resize))
        except (DataError, OSError) as error:
            if len(part) == 1:
                self.missing[index].append((part.starts[0], part.ends[0], str(error)))
                return []
            # One damaged frame must not take its neighbours along: try the windows one by one.
            singles = (part.part(at, at + 1) for at in range(len(part)))
            return [window for one in singles for window in self._read(reader, index, one)]
        pictures = torch.from_numpy(frames).permute(3, 0, 1, 2)
        pictures = to_gray(pictures) if spec.channels == 1 else pictures
        rows = torch.from_numpy(place.reshape(part.indices.shape))
        return [
            Window(index, times, float(end), pictures[:, row])
            for times, end, row in zip(part.times, part.ends, rows, strict=True)
        ]
