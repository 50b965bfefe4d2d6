"""What a step and a clip cost on this machine: both are tried, not estimated.

A step is a real one (forward, backward, optimizer, EMA) on noise, of the very parts that a run is
made of. Clips are the very ones of the run, decoded, then kept and read again.
"""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import psutil
import torch

from nexus.data.catalog.catalog import Catalog, VideoRecord
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.augment import AugmentConfig
from nexus.data.loading.cache import CacheConfig
from nexus.data.loading.clip_source import ClipSource
from nexus.data.loading.dataset import ClipDataset, Sample
from nexus.data.views import reduced
from nexus.fitting.movement import spread
from nexus.training.assembly import assemble
from nexus.training.cpu import calibrate, thread_counts, usable_cores
from nexus.training.environment import choose_device, kept_settings
from nexus.training.feed import random_batch
from nexus.training.recipe import Recipe

STEPS = 3
"""Steps whose median time counts, after those that settle the number of threads."""
STEP_SECONDS = 1.5
"""After so long no further step is timed."""
HOPELESS = 2.0
"""See `rehearse_step`."""
CLIPS = 8
"""Videos of which a clip is decoded."""
LOAD_SECONDS = 3.0
"""After so long no further clip is decoded, once there are `FEWEST_CLIPS`."""
FEWEST_CLIPS = 2


@dataclass(frozen=True)
class StepCost:
    """One optimizer step without loading: seconds, and the CPU threads that it keeps busy."""

    seconds: float
    threads: int = 1


@dataclass(frozen=True)
class LoadCost:
    """What clips cost to load, seconds in one process.

    Args:
        clip: decoding a clip.
        kept_clip: reading it from frames that are kept.
        frame: decoding a frame of a whole video, to be kept.
        frames: of all videos.
        kept_bytes: of all frames, at the size that they would be kept in.
    """

    clip: float
    kept_clip: float = 0.0
    frame: float = 0.0
    frames: int = 0
    kept_bytes: int = 0


@dataclass(frozen=True)
class Machine:
    """What may be used: processors, kind of device, bytes of memory that are free."""

    cores: int
    device: str
    memory: int
    has_bf16: bool = False

    @classmethod
    def here(cls, device: str = "auto") -> "Machine":
        """This one.

        Raises:
            ConfigError: a GPU is asked for and there is none.
        """
        kind = choose_device(device).type
        bf16 = kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return cls(usable_cores(), kind, free_memory(), bf16)


def free_memory(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that are free for this process: the machine's, or its container's."""
    free = psutil.virtual_memory().available
    try:
        limit = int((group / "memory.max").read_text())
        free = min(free, max(0, limit - int((group / "memory.current").read_text())))
    except (OSError, ValueError):
        pass  # no container, or one without a limit
    return free


def rehearse_step(recipe: Recipe, limit: float = float("inf")) -> StepCost | None:
    """Take some steps of a recipe on noise, with as many threads as are fastest.

    Random generators and the number of threads are put back.

    Args:
        limit: seconds that a step may take to be of use; one that takes `HOPELESS` times as long is
            not tried again.

    Returns:
        None if the step does not fit into the memory of the GPU.
    """
    settings = recipe.training
    with kept_settings():
        try:
            parts = assemble(recipe)
            batch = random_batch(recipe)

            def run() -> None:
                batches = (batch for _ in range(settings.accumulation))
                parts.take_step(batches, 0, planned=len(batch) * settings.accumulation)
                if parts.device.type == "cuda":
                    torch.cuda.synchronize()
                elif parts.device.type == "mps":
                    torch.mps.synchronize()

            counts = [torch.get_num_threads()]
            if settings.threads != "auto":
                counts = [settings.threads]
            elif parts.device.type == "cpu":
                counts = thread_counts(counts[0])
            # With all threads first; where others use the cores too, one alone may be far faster.
            tried: list[float] = []
            for threads in dict.fromkeys((counts[-1], counts[0])):
                torch.set_num_threads(threads)
                tried.append(_seconds_of(run))
                if tried[-1] <= HOPELESS * limit:
                    break
            else:
                return StepCost(min(tried))
            threads = calibrate(run, counts, repeats=2, budget=1.0).threads
            seconds: list[float] = []
            while len(seconds) < STEPS and sum(seconds) < STEP_SECONDS:
                seconds.append(_seconds_of(run))
        except torch.OutOfMemoryError:
            return None
    return StepCost(median(seconds), threads)


def rehearse_loading(
    clip: ClipSpec, catalog: Catalog, augment: AugmentConfig | None = None
) -> LoadCost:
    """Decode clips of a sample of videos, then keep short parts of them and read these again.

    Files that do not decode are passed over: training names them and counts them.
    """
    numbers = spread(len(catalog.records), CLIPS)
    sample = replace(catalog, records=tuple(catalog.records[number] for number in numbers))
    clip = clip.with_changes(clips_per_video=1)
    decoding = ClipSource(clip, sample).training(augment)
    decoded = _samples_of(decoding, range(len(decoding)))
    parts = replace(sample, records=tuple(_part(record, clip) for record in sample.records))
    cache = CacheConfig(kind="memory", max_gigabytes=1.0)
    keeping = ClipSource(clip, parts, cache=cache).training(augment)
    assert keeping.reader.cache is not None
    filled = _samples_of(keeping, range(len(keeping)))
    again = _samples_of(keeping, filled)
    entries = keeping.reader.cache.entries
    used = [max(1, round(record.duration * record.fps)) for record in catalog.records]
    sizes = [reduced(r.height, r.width, clip.short_side) for r in catalog.records]
    seconds = _mean(decoded.values())
    return LoadCost(
        clip=seconds,
        kept_clip=min(seconds, _mean(again.values())),
        frame=sum(filled.values()) / max(1, sum(entries[n].shape[0] for n in filled)),
        frames=sum(used),
        kept_bytes=sum(3 * h * w * count for (h, w), count in zip(sizes, used, strict=True)),
    )


def _part(record: VideoRecord, clip: ClipSpec) -> VideoRecord:
    """A record cut to little more than a clip, so that keeping it takes no longer than that."""
    seconds = clip.seconds(record.fps) + 1.0
    if record.duration <= seconds:
        return record
    start = (record.start or 0.0) + (record.duration - seconds) / 2
    return replace(record, start=start, end=start + seconds, duration=seconds)


def _samples_of(dataset: ClipDataset, numbers: Iterable[int]) -> dict[int, float]:
    """Seconds for each of some samples, while there is time; none for files that do not decode."""
    taken: dict[int, float] = {}
    begin = time.perf_counter()
    for number in numbers:
        if time.perf_counter() - begin > LOAD_SECONDS and len(taken) >= FEWEST_CLIPS:
            break
        start = time.perf_counter()
        if isinstance(dataset.sample(number, seed=0, epoch=0), Sample):
            taken[number] = time.perf_counter() - start
    return taken


def _mean(seconds: Collection[float]) -> float:
    return sum(seconds) / max(1, len(seconds))


def _seconds_of(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
