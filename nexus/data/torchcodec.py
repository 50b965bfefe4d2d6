"""The optional torchcodec decoder: the same frames as PyAV's, decoded by torchcodec.

Which frame is on screen at a time is always decided by nexus' own timeline, and every frame that
comes back is checked against it. Files where that cannot work (turned or damaged ones, or formats
without usable timestamps) are read with PyAV. Pixels can differ from PyAV's by rounding, as far as
the two FFmpeg builds convert colours differently.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nexus.data.container import naming
from nexus.data.pictures import PictureView, collect
from nexus.data.protocol import StreamInfo
from nexus.data.pyav import PyAVDecoder
from nexus.data.timeline import Timeline
from nexus.errors import DataError


class _UnusableError(Exception):
    """torchcodec does not give the frames of the timeline: PyAV reads them or says why not."""


class TorchCodecDecoder:
    """Decodes video files with torchcodec.

    Args:
        threads: FFmpeg threads for one file.

    Raises:
        DataError: torchcodec is not installed or does not load.
    """

    name = "torchcodec"

    def __init__(self, threads: int = 1):
        try:
            from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportMissingImports]
        except (ImportError, OSError, RuntimeError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise DataError(
                f"the torchcodec decoder does not load ({first_line}); install it with "
                "`pip install nexus-vjepa[torchcodec]` and FFmpeg's shared libraries, or use the "
                "default decoder: pyav"
            ) from error
        self.threads = threads
        self._open = VideoDecoder
        self._pyav = PyAVDecoder(threads)

    def __reduce__(self):
        return TorchCodecDecoder, (self.threads,)

    def probe(self, path: str | Path) -> StreamInfo:
        """What the file holds; see `PyAVDecoder.probe`."""
        return self._pyav.probe(path)

    def timestamps(self, path: str | Path) -> np.ndarray:
        """When each frame is shown; see `PyAVDecoder.timestamps`."""
        return self._pyav.timestamps(path)

    def frames(
        self, path: str | Path, times: np.ndarray, view: PictureView | None = None
    ) -> np.ndarray:
        """The frames on screen at the given times; see `PyAVDecoder.frames`."""
        times = np.asarray(times, dtype=np.float64)
        timeline = self._pyav.timeline(path)
        if times.size == 0 or timeline.by_order or timeline.damaged.size:
            return self._pyav.frames(path, times, view)
        with naming(path):
            wanted, place = np.unique(timeline.index_at(times), return_inverse=True)
        try:
            return collect(self._pictures(path, timeline, wanted), place, view)
        except _UnusableError:
            return self._pyav.frames(path, times, view)

    def _pictures(
        self, path: str | Path, timeline: Timeline, wanted: np.ndarray
    ) -> Iterator[np.ndarray]:
        tick = float(timeline.tick)
        try:
            decoder = self._open(str(path), dimension_order="NHWC", num_ffmpeg_threads=self.threads)
            if decoder.metadata.rotation:
                raise _UnusableError
            # One by one costs no more than all at once, and only one is held at its full size.
            for expected in (timeline.pts[wanted] * tick).tolist():
                # A quarter tick late, so that rounding cannot pick the frame before.
                batch = decoder.get_frames_played_at([expected + tick / 4])
                if not abs(float(batch.pts_seconds[0]) - expected) <= tick / 2:
                    raise _UnusableError
                yield batch.data[0].numpy()
        except (RuntimeError, ValueError, IndexError) as error:
            raise _UnusableError from error
