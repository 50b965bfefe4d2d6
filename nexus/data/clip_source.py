"""The clips that an encoder is measured on: fixed, unaugmented, the same at every call."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nexus.data.cache import CacheConfig, file_identity
from nexus.data.catalog import Catalog
from nexus.data.clips import ClipConfig
from nexus.data.dataset import ClipDataset
from nexus.data.decode import Decoder
from nexus.data.loader import Batch, ClipLoader
from nexus.digest import digest

KEEP_BYTES = 1_000_000_000
"""Clips of a source that take less than this are decoded once and kept for further passes."""


@dataclass(frozen=True)
class ClipSource:
    """Which clips of which videos, and how they are read.

    Each video gives its centre clip or, with `clips_per_video` above 1, clips spread evenly from
    the first to the last possible start. Pictures are resized to cover `img_size` and cropped in
    the middle; nothing is drawn at random, whatever `clip` says about training.

    `clip` and `img_size` are usually those of the training recipe; `decoder`, `frame_cache` and
    `num_workers` change how fast clips arrive, never what is in them.
    """

    catalog: Catalog
    clip: ClipConfig
    img_size: int | tuple[int, int]
    clips_per_video: int = 1
    channels: int = 3
    decoder: Decoder | None = None
    frame_cache: CacheConfig | None = None
    num_workers: int = 0
    _kept: list[Batch] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def clip_count(self) -> int:
        """Clips in all, if every file can be read."""
        return len(self.catalog.records) * self.clips_per_video

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All clips once, in the order of the catalog; a file that fails is named in `failures`.

        Small sources are decoded at the first pass only: every arm of a comparison reads them. A
        later pass may bring smaller batches than it asks for.

        Raises:
            DataError: the catalog is empty.
        """
        if self._kept:
            for batch in self._kept:
                yield from _split(batch, batch_size)
            return
        read: list[Batch] = []
        for batch in self._decoded(batch_size):
            if self.nbytes <= KEEP_BYTES:
                read.append(batch)
            yield batch
        if not self._kept:  # nothing else went through meanwhile
            self._kept.extend(read)

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        size = self.img_size
        return (size, size) if isinstance(size, int) else size

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels of all clips."""
        height, width = self.sides
        return self.clip_count * self.channels * self.clip.num_frames * height * width

    def dataset(self) -> ClipDataset:
        """The clips one by one: clip n belongs to record `n // clips_per_video`.

        Raises:
            DataError: the catalog is empty.
        """
        return ClipDataset(
            self.catalog,
            self.clip.for_evaluation(self.clips_per_video),
            None,
            self.img_size,
            self.decoder,
            self.frame_cache,
            self.channels,
        )

    def _decoded(self, batch_size: int) -> Iterator[Batch]:
        with ClipLoader(
            self.dataset(),
            batch_size=batch_size,
            seed=0,
            num_workers=self.num_workers,
            shuffle=False,
            epochs=1,
        ) as loader:
            yield from loader

    def identity(self) -> str:
        """Changes when a file, the choice of clips or their size changes; labels do not count."""
        records = [
            [record.key, record.start, record.end, record.fps, *_file(record.path)]
            for record in self.catalog.records
        ]
        clip = self.clip.for_evaluation(self.clips_per_video).to_mapping()
        size = [self.img_size] if isinstance(self.img_size, int) else list(self.img_size)
        short_side = self.frame_cache.short_side if self.frame_cache else None
        return digest([records, clip, size, self.channels, short_side])


def _split(batch: Batch, size: int) -> Iterator[Batch]:
    """A batch in parts of at most this many clips; the failures come with the first."""
    for start in range(0, max(1, len(batch.video)), size):
        part = slice(start, start + size)
        yield replace(
            batch,
            video=batch.video[part],
            record_index=batch.record_index[part],
            times=batch.times[part],
            failures=() if start else batch.failures,
        )


def _file(path) -> list[str | int]:
    try:
        return file_identity(path)
    except OSError:
        return [str(path), "missing"]
