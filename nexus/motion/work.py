"""The work on a benchmark that is shared out over processes: looking at sources, cutting clips."""

import hashlib
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from nexus.data.catalog.catalog import Catalog, Problem, VideoRecord
from nexus.data.loading.video_reader import VideoReader
from nexus.data.processes import CAN_FORK, leave_signals_to_parent
from nexus.data.stills.files import files_of
from nexus.errors import DataError
from nexus.motion.config import MotionConfig
from nexus.motion.footage import MOST_DETAIL, Footage, details, look_at
from nexus.motion.plan import MotionClip
from nexus.motion.resample import cut_windows
from nexus.motion.windows import window_path
from nexus.mp4 import encode_mp4

MOST_WORKERS = 8
STRETCH_BYTES = 64_000_000
"""Pictures from the first to the last of a stretch take no more, if one clip does not."""
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Looked:
    """A usable source: what is known of it, and the SHA-256 of its file."""

    footage: Footage
    digest: str


@dataclass(frozen=True)
class Stretch:
    """Clips of a source that lie close together: their pictures are decoded once."""

    source: int
    clips: tuple[MotionClip, ...]


def usual_workers() -> int:
    """One process a core, at most `MOST_WORKERS`."""
    return min(MOST_WORKERS, os.cpu_count() or 1)


def each_made(make: Callable[[Any], Any], requests: Iterable[Any], workers: int) -> Iterator[Any]:
    """What `make` gives for each request, in order; 0 workers: made in this process.

    Raises:
        DataError: a process died.
    """
    if not workers:
        yield from map(make, requests)
        return
    context = multiprocessing.get_context("fork") if CAN_FORK else None
    waiting: deque[Future[Any]] = deque()
    with ProcessPoolExecutor(workers, context, _begin, (make,)) as pool:
        try:
            for request in requests:
                waiting.append(pool.submit(_make, request))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process died while videos were read or cut; too little memory? Try fewer "
                "--workers"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(make: Callable[[Any], Any]) -> None:
    """The start of a process: what it makes things with is handed over once."""
    global _made_with
    leave_signals_to_parent()
    torch.set_num_threads(1)
    _made_with = make


def _make(request: Any) -> Any:
    return _made_with(request)


class Looker:
    """Looks at the sources of a catalog, each by its number."""

    def __init__(self, catalog: Catalog, config: MotionConfig) -> None:
        self.catalog, self.config = catalog, config

    def __call__(self, number: int) -> Looked | Problem:
        """What is known of a source, or what is wrong with it."""
        record = self.catalog.records[number]
        try:
            return Looked(look_at(self.catalog, number, self.config), _content(record))
        except (DataError, OSError) as error:
            return Problem(str(record.path), "odd", str(error), True)


class Cutter:
    """Cuts the clips of stretches and writes them into a folder."""

    def __init__(
        self, catalog: Catalog, footage: Sequence[Footage], config: MotionConfig, folder: Path
    ) -> None:
        self.config, self.folder = config, folder
        self.reader = VideoReader(catalog, MOST_DETAIL * config.size)
        # Their small pictures have served: processes that are not forked get a copy of this.
        none = np.zeros((0, 1, 1), np.uint8)
        self.footage = {one.number: replace(one, small=none) for one in footage}

    def requests(self, clips: Iterable[MotionClip]) -> list[Stretch]:
        """The clips by the stretches that they are cut from, source by source."""
        stretches: list[Stretch] = []
        for clip in sorted(clips, key=lambda clip: (clip.source, clip.place.start)):
            footage = self.footage[clip.source]
            most = STRETCH_BYTES // (footage.height * footage.width * 3)
            last = stretches[-1] if stretches else None
            end = clip.place.start + self.config.num_frames
            if last and last.source == clip.source and end - last.clips[0].place.start <= most:
                stretches[-1] = Stretch(clip.source, (*last.clips, clip))
            else:
                stretches.append(Stretch(clip.source, (clip,)))
        return stretches

    def __call__(self, stretch: Stretch) -> int:
        """Write the clips of a stretch; how many there are.

        Raises:
            DataError: the source cannot be read any more.
        """
        config = self.config
        planes, place = self._pictures(stretch)
        for clip in stretch.clips:
            own = place[clip.place.start - stretch.clips[0].place.start :][: config.num_frames]
            video = cut_clip(planes[own], clip, config)
            mp4 = encode_mp4(
                video, config.fps, crf=config.crf, keyframe_every=config.keyframe_every
            )
            (self.folder / clip.path).write_bytes(mp4)
        return len(stretch.clips)

    def _pictures(
        self, stretch: Stretch
    ) -> tuple[UInt8[np.ndarray, "pictures 3 height width"], Int64[np.ndarray, " moments"]]:
        """The pictures of a stretch, each once, and which of them is seen at each moment."""
        record = self.reader.catalog.records[stretch.source]
        known = self.reader.times(stretch.source)
        first, last = known.span(record.start, record.end)
        begin = stretch.clips[0].place.start
        end = stretch.clips[-1].place.start + self.config.num_frames
        times = self.footage[stretch.source].times[begin:end]
        numbers, place = np.unique(np.clip(known.shown_at(times), first, last), return_inverse=True)
        pictures = self.reader.frames(stretch.source, numbers)
        return np.ascontiguousarray(np.moveaxis(pictures, 3, 1)), place


def cut_clip(
    planes: UInt8[np.ndarray, "frames 3 height width"], clip: MotionClip, config: MotionConfig
) -> UInt8[np.ndarray, "frames size size 3"]:
    """A clip, cut from the pictures of its stretch as they follow each other in the source."""
    place = clip.place
    path = window_path(
        clip.motion,
        place.x,
        place.y,
        place.side,
        num_frames=config.num_frames,
        fps=config.fps,
    )
    if clip.motion.arrow == "backward":
        planes = planes[::-1]
    return cut_windows(planes, path, size=config.size, details=details(place.side, config))


def _content(record: VideoRecord) -> str:
    """SHA-256 of a file, or of the pictures of a folder one after the other."""
    content = hashlib.sha256()
    for path in files_of(record.path):
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                content.update(block)
    return content.hexdigest()
