"""Clips of some videos, from one value for training, probes, features and labels."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nexus.data.catalog.catalog import Catalog
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.augment import AugmentConfig
from nexus.data.loading.cache import CacheConfig, file_identity
from nexus.data.loading.dataset import ClipDataset
from nexus.data.loading.loader import ClipLoader, LoadedBatch
from nexus.data.loading.video_reader import VideoReader
from nexus.data.protocol import Decoder
from nexus.data.videos.pyav import PyAVDecoder
from nexus.digest import digest

KEEP_BYTES = 1_000_000_000
"""Clips of a source that take less than this are decoded once and kept for further passes."""


@dataclass(frozen=True)
class ClipSource:
    """Which clips (`spec`) of which videos (`catalog`), and how they are read.

    `training` gives them as they are trained on. All else is about the clips that an encoder is
    measured on, the same at every call: of each video the centre clip or, with `clips_per_video`
    above 1, clips spread evenly from the first to the last possible start; nothing is drawn at
    random, whatever `spec` says about training.

    `decoder`, `cache`, `workers` and `keep_bytes` change how fast clips arrive, never what is in
    them.
    """

    spec: ClipSpec
    catalog: Catalog = field(default_factory=lambda: Catalog("", (), ()))
    decoder: Decoder = field(default_factory=PyAVDecoder)
    cache: CacheConfig = field(default_factory=CacheConfig)
    workers: int = 0
    keep_bytes: int = KEEP_BYTES
    _kept: list[LoadedBatch] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def clip_count(self) -> int:
        """Clips in all, if every file can be read."""
        return len(self.catalog.records) * self.spec.clips_per_video

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels of all clips."""
        height, width = self.spec.size
        return self.clip_count * self.spec.channels * self.spec.num_frames * height * width

    def batches(self, batch_size: int) -> Iterator[LoadedBatch]:
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
        read: list[LoadedBatch] = []
        for batch in self._decoded(batch_size):
            if self.nbytes <= self.keep_bytes:
                read.append(batch)
            yield batch
        if not self._kept:  # nothing else went through meanwhile
            self._kept.extend(read)

    def dataset(self) -> ClipDataset:
        """The clips one by one: clip n belongs to record `n // clips_per_video`.

        Raises:
            DataError: the catalog is empty.
        """
        still = self.spec.for_evaluation(self.spec.clips_per_video)
        return ClipDataset(still, self.catalog, None, self.decoder, self.cache)

    def training(self, augment: AugmentConfig | None) -> ClipDataset:
        """The clips that an epoch of training draws, and how each is changed (None: not at all).

        Raises:
            DataError: the catalog is empty.
        """
        return ClipDataset(self.spec, self.catalog, augment, self.decoder, self.cache)

    def reader(self) -> VideoReader:
        """The frames that clips are made of, without a cache: for passes that see each once."""
        return VideoReader(self.catalog, self.spec.short_side, self.decoder)

    def _decoded(self, batch_size: int) -> Iterator[LoadedBatch]:
        with ClipLoader(
            self.dataset(),
            batch_size=batch_size,
            seed=0,
            num_workers=self.workers,
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
        still = self.spec.for_evaluation(self.spec.clips_per_video).with_changes(join=False)
        return digest([records, still.to_mapping()])


def _split(loaded: LoadedBatch, size: int) -> Iterator[LoadedBatch]:
    """A batch in parts of at most this many clips; the failures come with the first."""
    for start in range(0, max(1, len(loaded.batch)), size):
        part = slice(start, start + size)
        yield replace(
            loaded,
            batch=loaded.batch.part(part),
            record_index=loaded.record_index[part],
            ends=loaded.ends[part],
            failures=() if start else loaded.failures,
        )


def _file(path) -> list[str | int]:
    try:
        return file_identity(path)
    except OSError:
        return [str(path), "missing"]
