"""Videos to samples: one clip decoded and augmented, a pure function of (seed, epoch, number)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from nexus.data.catalog.catalog import Catalog, Problem, VideoRecord
from nexus.data.clip_spec import ClipSpec
from nexus.data.clips import ClipTooShortError, choose_clip
from nexus.data.loading.augment import AugmentConfig, to_gray
from nexus.data.loading.cache import CacheConfig
from nexus.data.loading.video_reader import VideoReader
from nexus.data.protocol import Decoder
from nexus.data.stills.files import is_there
from nexus.data.views import CenterView, DrawnView
from nexus.digest import digest
from nexus.errors import DataError

_SAMPLES = 1  # the kind of random stream; the order of an epoch is another one (see order.py)


@dataclass(frozen=True)
class Sample:
    """One clip, when each of its frames comes on screen, and where it lies in which video.

    `key` and `record_index` say which record it is of; `start` and `end` are seconds of its video:
    when the first of its frames comes on screen, and when the last one leaves it.
    """

    video: UInt8[Tensor, "channels time height width"]
    times: Float64[np.ndarray, " time"]
    record_index: int
    key: str
    start: float
    end: float


class ClipDataset:
    """Clips of a catalog's videos.

    Clip n belongs to record `n // clips_per_video`. Nothing is drawn from a shared random stream:
    the same (seed, epoch, n) gives the same bits in any process, in any order, cached or not.

    Args:
        spec: how clips are cut and shown.
        catalog: what the scan found usable.
        augment: random changes; None shows each picture resized, its middle cropped.
        decoder: how video files are read; None: with PyAV.
        cache: where decoded frames are kept.

    Raises:
        DataError: the catalog is empty.
    """

    def __init__(
        self,
        spec: ClipSpec,
        catalog: Catalog,
        augment: AugmentConfig | None = None,
        decoder: Decoder | None = None,
        cache: CacheConfig | None = None,
    ) -> None:
        catalog.check_usable()
        self.spec, self.catalog, self.augment = spec, catalog, augment
        self.reader = VideoReader(catalog, spec.short_side, decoder, cache)

    def __len__(self) -> int:
        """Clips in one epoch."""
        return len(self.catalog.records) * self.spec.clips_per_video

    @property
    def fingerprint(self) -> str:
        """Identifies the clips of an epoch: the videos, in order, and the clips of each."""
        names = "\n".join(record.key for record in self.catalog.records)
        return digest(f"{self.spec.clips_per_video}\n{names}")[:16]

    def sample(
        self,
        number: int,
        *,
        seed: int,
        epoch: int,
        spec: ClipSpec | None = None,
        into: UInt8[Tensor, "time height width channels"] | None = None,
    ) -> Sample | Problem:
        """Clip `number` of an epoch, or what is wrong with its file.

        Args:
            spec: the dataset's with other frames or another size, as a curriculum has it; None
                takes the dataset's own.
            into: memory for the pixels; whatever happens, it is overwritten. None takes new memory.

        Raises:
            ValueError: a `spec` of another short side.
        """
        spec = spec or self.spec
        if spec.short_side != self.spec.short_side:
            raise ValueError(f"short_side: got {spec.short_side}; expected {self.spec.short_side}")
        index, part = divmod(number, self.spec.clips_per_video)
        record = self.catalog.records[index]
        key = np.random.SeedSequence(seed, spawn_key=(_SAMPLES, epoch, index, part))
        rng = np.random.Generator(np.random.PCG64(key))
        try:
            times = self.reader.times(index)
            bounds = {"start": record.start, "end": record.end}
            clip = choose_clip(times, spec, rng, number=part, **bounds)
            seed = int(rng.integers(2**63))
            room = None if into is None or spec.channels != 3 else into.numpy()
            if self.augment is None:
                view = CenterView(spec.size, spec.resize, room)
            else:
                view = DrawnView(self.augment, spec.size, seed, room)
            frames = self.reader.frames(index, clip.indices, view)
        except (DataError, OSError) as error:
            return problem_of(record, error)
        video = view.finish(torch.from_numpy(frames))
        video = to_gray(video) if spec.channels == 1 else video
        if into is not None:
            place = into.permute(3, 0, 1, 2)
            video = video if video.data_ptr() == place.data_ptr() else place.copy_(video)
        return Sample(video, clip.times, index, record.key, *times.bounds_of(clip.indices))


def problem_of(record: VideoRecord, error: DataError | OSError) -> Problem:
    """What is wrong with a file, by the error of reading it."""
    kind = "decode_failed" if is_there(record.path) else "missing"
    kind = "too_short" if isinstance(error, ClipTooShortError) else kind
    return Problem(path=str(record.path), kind=kind, reason=str(error), fatal=True)
