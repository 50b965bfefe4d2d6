"""Videos to samples: one clip decoded and augmented, a pure function of (seed, epoch, number)."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

from nexus.data.augment import AugmentConfig, to_gray
from nexus.data.cache import CacheConfig, CacheEntry, FrameCache
from nexus.data.catalog import Catalog, Problem, VideoRecord
from nexus.data.clips import ClipConfig, ClipTooShortError, FrameTimes, choose_clip
from nexus.data.decode import choose_decoder, decoder_for
from nexus.data.pictures import PictureView, collect
from nexus.data.protocol import Decoder
from nexus.data.shape import ClipShape
from nexus.data.views import CenterView, DrawnView, ReducedView, reduced
from nexus.digest import digest
from nexus.errors import DataError

_CHUNK_BYTES = 128_000_000  # a long video is decoded for the cache in pieces of this size
_KNOWN_TIMES = 16384  # videos whose timestamps are remembered
_SAMPLES = 1  # the kind of random stream; the order of an epoch is another one (see order.py)


@dataclass(frozen=True)
class Sample:
    """One clip, and when each of its frames comes on screen (seconds)."""

    video: UInt8[Tensor, "channels time height width"]
    times: Float64[np.ndarray, " time"]
    record_index: int


class ClipDataset:
    """Clips of a catalog's videos.

    Clip n belongs to record `n // clips_per_video`. Nothing is drawn from a shared random stream:
    the same (seed, epoch, n) gives the same bits in any process, in any order, cached or not.

    Args:
        catalog: what the scan found usable.
        clip: how clips are cut.
        augment: random changes; None gives the evaluation view (resized, middle cropped).
        img_size: height and width of the pictures, pixels.
        decoder: how video files are read; None chooses.
        cache: where decoded frames are kept.
        channels: 3 for RGB, 1 for luma.

    Raises:
        DataError: the catalog is empty, or the cache's folder cannot be used.
    """

    def __init__(
        self,
        catalog: Catalog,
        clip: ClipConfig,
        augment: AugmentConfig | None,
        img_size: int | tuple[int, int],
        decoder: Decoder | None = None,
        cache: CacheConfig | None = None,
        channels: int = 3,
    ) -> None:
        if not catalog.records:
            raise DataError(f"{catalog.source}: no usable video; `nexus check` lists the reasons")
        if channels not in (1, 3):
            raise ValueError(f"channels: got {channels}; expected 3 (RGB) or 1 (luma)")
        self.catalog, self.clip, self.augment, self.channels = catalog, clip, augment, channels
        self.size = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.decoder = decoder or choose_decoder("auto")
        self._known_times: dict[int, FrameTimes] = {}
        cache = cache or CacheConfig()
        self._short_side = cache.short_side
        self.cache: FrameCache | None = None
        if cache.kind != "none":
            entries = [self._cache_entry(index) for index in range(len(catalog.records))]
            salt = f"{self.decoder.name} {self._short_side}"
            self.cache = FrameCache(cache, entries, salt)

    def __len__(self) -> int:
        """Clips in one epoch."""
        return len(self.catalog.records) * self.clip.clips_per_video

    @property
    def fingerprint(self) -> str:
        """Identifies the clips of an epoch: the videos, in order, and the clips of each."""
        names = "\n".join(record.key for record in self.catalog.records)
        return digest(f"{self.clip.clips_per_video}\n{names}")[:16]

    @property
    def shape(self) -> ClipShape:
        """What clips measure unless another shape is asked for."""
        return ClipShape(self.clip.num_frames, self.size)

    def sample(
        self,
        number: int,
        *,
        seed: int,
        epoch: int,
        shape: ClipShape | None = None,
        into: UInt8[Tensor, "time height width channels"] | None = None,
    ) -> Sample | Problem:
        """Clip `number` of an epoch, or what is wrong with its file.

        Args:
            shape: frames and picture size; None takes the dataset's own.
            into: memory for the pixels; whatever happens, it is overwritten. None takes new memory.
        """
        shape = shape or self.shape
        index, part = divmod(number, self.clip.clips_per_video)
        record = self.catalog.records[index]
        key = np.random.SeedSequence(seed, spawn_key=(_SAMPLES, epoch, index, part))
        rng = np.random.Generator(np.random.PCG64(key))
        try:
            clip = choose_clip(
                self._times(index),
                self.clip,
                rng,
                num_frames=shape.num_frames,
                number=part,
                start=record.start,
                end=record.end,
            )
            seed = int(rng.integers(2**63))
            room = None if into is None or self.channels != 3 else into.numpy()
            if self.augment is None:
                view = CenterView(shape.size, room)
            else:
                view = DrawnView(self.augment, shape.size, seed, room)
            frames = self._frames(index, clip.indices, view)
        except ClipTooShortError as error:
            return _problem(record, "too_short", error)
        except (DataError, OSError) as error:
            kind = "decode_failed" if record.path.exists() else "missing"
            return _problem(record, kind, error)
        video = view.finish(torch.from_numpy(frames))
        video = to_gray(video) if self.channels == 1 else video
        if into is not None:
            place = into.permute(3, 0, 1, 2)
            video = video if video.data_ptr() == place.data_ptr() else place.copy_(video)
        return Sample(video, clip.times, index)

    def _frames(
        self, index: int, indices: Int64[np.ndarray, " time"], view: PictureView
    ) -> UInt8[np.ndarray, "time out_height out_width 3"]:
        if self.cache is not None:
            entry = self.cache.entries[index]
            kept = self.cache.frames(index, lambda: self._decode_all(index))
            if kept is not None:
                wanted, place = np.unique(indices - entry.first, return_inverse=True)
                return collect((kept[number] for number in wanted), place, view)
        return self._decode(index, indices, view)

    def _decode(
        self, index: int, indices: Int64[np.ndarray, " n"], view: PictureView | None = None
    ) -> UInt8[np.ndarray, "n out_height out_width 3"]:
        record = self.catalog.records[index]
        times = self._times(index).asking_for(indices)
        if self._short_side is not None:
            view = ReducedView(self._short_side, view)
        return decoder_for(record, self.decoder).frames(record.path, times, view)

    def _decode_all(self, index: int) -> Iterator[UInt8[np.ndarray, "n height width 3"]]:
        record = self.catalog.records[index]
        first, last = self._times(index).span(record.start, record.end)
        height, width = reduced(record.height, record.width, self._short_side)
        step = max(16, _CHUNK_BYTES // (height * width * 3))
        for start in range(first, last + 1, step):
            yield self._decode(index, np.arange(start, min(start + step, last + 1)))

    def _times(self, index: int) -> FrameTimes:
        if index in self._known_times:
            return self._known_times[index]
        record = self.catalog.records[index]
        stamps = decoder_for(record, self.decoder).timestamps(record.path)
        whole = record.start is None and record.end is None
        if whole and len(stamps) != record.num_frames:
            raise DataError(
                f"{record.path}: {len(stamps)} frames, but {record.num_frames} when it was "
                "checked; has the file changed? Run `nexus check` again"
            )
        if len(self._known_times) >= _KNOWN_TIMES:
            self._known_times.clear()
        return self._known_times.setdefault(index, FrameTimes.from_timestamps(stamps))

    def _cache_entry(self, index: int) -> CacheEntry:
        record = self.catalog.records[index]
        height, width = reduced(record.height, record.width, self._short_side)
        first, last = 0, record.num_frames - 1
        if record.start is not None or record.end is not None:
            try:
                first, last = self._times(index).span(record.start, record.end)
            except (DataError, OSError):
                first, last = 0, -1  # takes no room; the sample names the problem
        return CacheEntry(record.path, first, last, height, width)


def exclude_too_short(
    catalog: Catalog, clip: ClipConfig, decoder: Decoder | None = None
) -> Catalog:
    """Move the records that cannot fill one clip of `clip.num_frames` to the problems.

    For a run whose clips grow, pass the longest clip: then no file fails half-way through.
    """
    decoder = decoder or choose_decoder("auto")
    still = clip.for_evaluation()
    records: list[VideoRecord] = []
    problems: list[Problem] = []
    for record in catalog.records:
        try:
            stamps = decoder_for(record, decoder).timestamps(record.path)
            times = FrameTimes.from_timestamps(stamps)
            choose_clip(times, still, np.random.default_rng(0), start=record.start, end=record.end)
        except ClipTooShortError as error:
            problems.append(_problem(record, "too_short", error))
        except (DataError, OSError) as error:
            problems.append(_problem(record, "decode_failed", error))
        else:
            records.append(record)
    return dataclasses.replace(
        catalog, records=tuple(records), problems=(*catalog.problems, *problems)
    )


def _problem(record: VideoRecord, kind: str, error: Exception) -> Problem:
    return Problem(path=str(record.path), kind=kind, reason=str(error), fatal=True)
