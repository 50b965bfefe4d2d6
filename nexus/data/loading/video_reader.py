"""Frames of a catalog's videos by number: decoded, reduced, and kept where there is a cache."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64, UInt8

from nexus.data.catalog.catalog import Catalog, VideoRecord
from nexus.data.clips import FrameTimes
from nexus.data.decoders import decoder_for
from nexus.data.failures import WatchedView, decoding
from nexus.data.loading.cache import CacheConfig, CacheEntry, FrameCache
from nexus.data.pictures import PictureView, collect
from nexus.data.protocol import Decoder
from nexus.data.stills.deep import remember
from nexus.data.videos.pyav import PyAVDecoder
from nexus.data.views import ReducedView, reduced
from nexus.errors import DataError

CHUNK_BYTES = 128_000_000  # a long video is decoded for the cache in pieces of this size
_KNOWN_TIMES = 16384  # videos whose timestamps are remembered


class VideoReader:
    """Reads the records of a catalog, by their numbers; the cache changes no pixel.

    Args:
        short_side: pictures are brought down to it, see `ClipSpec`.
        decoder: how video files are read; None: with PyAV.
        cache: where frames are kept; None: nowhere.
    """

    def __init__(
        self,
        catalog: Catalog,
        short_side: int | None = None,
        decoder: Decoder | None = None,
        cache: CacheConfig | None = None,
    ) -> None:
        self.catalog = catalog
        self.decoder = decoder or PyAVDecoder()
        self._short_side = short_side
        self._known_times: dict[int, FrameTimes] = {}
        for record in catalog.records:
            if record.levels is not None:
                remember(record.path, record.levels)
        self.cache: FrameCache | None = None
        if cache is not None and cache.kind != "none":
            entries = [self._cache_entry(index) for index in range(len(catalog.records))]
            self.cache = FrameCache(cache, entries, f"{self.decoder.name} {short_side}")

    def decoder_of(self, record: VideoRecord) -> Decoder:
        """What reads a record: the decoder for a video file, others for pictures."""
        return decoder_for(record.kind, record.fps, self.decoder)

    def times(self, index: int) -> FrameTimes:
        """When the frames of a record's video come on screen.

        Raises:
            DataError: the file cannot be read, or holds other frames than when it was checked.
        """
        if index in self._known_times:
            return self._known_times[index]
        record = self.catalog.records[index]
        with decoding(record.path):
            stamps = self.decoder_of(record).timestamps(record.path)
        whole = record.start is None and record.end is None
        if whole and len(stamps) != record.num_frames:
            raise DataError(
                f"{record.path}: {len(stamps)} frames, but {record.num_frames} when it was "
                "checked; has the file changed? Run `nexus check` again"
            )
        if len(self._known_times) >= _KNOWN_TIMES:
            self._known_times.clear()
        return self._known_times.setdefault(index, FrameTimes.from_timestamps(stamps, record.fps))

    def frames(
        self, index: int, numbers: Int64[np.ndarray, " n"], view: PictureView | None = None
    ) -> UInt8[np.ndarray, "n out_height out_width 3"]:
        """Frames of a record's video, by their numbers in the file, as `view` shows them.

        Raises:
            DataError: naming the file and what is wrong with it.
        """
        if self.cache is not None:
            entry = self.cache.entries[index]
            kept = self.cache.frames(index, lambda: self._decode_all(index))
            if kept is not None:
                needed, place = np.unique(numbers - entry.first, return_inverse=True)
                return collect((kept[number] for number in needed), place, view)
        return self._decode(index, numbers, view)

    def _decode(
        self, index: int, numbers: Int64[np.ndarray, " n"], view: PictureView | None = None
    ) -> UInt8[np.ndarray, "n out_height out_width 3"]:
        record = self.catalog.records[index]
        if self._short_side is not None:
            view = ReducedView(self._short_side, view)
        watched = None if view is None else WatchedView(view)
        with decoding(record.path, watched):
            return self.decoder_of(record).frames(record.path, numbers, watched)

    def _decode_all(
        self, index: int, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[UInt8[np.ndarray, "n height width 3"]]:
        record = self.catalog.records[index]
        first, last = self.times(index).span(record.start, record.end)
        height, width = reduced(record.height, record.width, self._short_side)
        step = max(16, chunk_bytes // (height * width * 3))
        for start in range(first, last + 1, step):
            yield self._decode(index, np.arange(start, min(start + step, last + 1)))

    def _cache_entry(self, index: int) -> CacheEntry:
        record = self.catalog.records[index]
        height, width = reduced(record.height, record.width, self._short_side)
        first, last = 0, record.num_frames - 1
        if record.start is not None or record.end is not None:
            try:
                first, last = self.times(index).span(record.start, record.end)
            except DataError:
                first, last = 0, -1  # takes no room; the sample names the problem
        return CacheEntry(record.path, first, last, height, width)
