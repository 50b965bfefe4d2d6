"""The optional torchcodec decoder: the same frames as PyAV's, decoded by torchcodec.

Which frame is on screen at a time is always decided by nexus' own timeline, and every frame that
comes back is checked against it. Files where that cannot work (turned or damaged ones, or formats
without usable timestamps) are read with PyAV. Pixels can differ from PyAV's by rounding, as far as
the two FFmpeg builds convert colours differently.
"""

from pathlib import Path

import numpy as np

from nexus.data.protocol import StreamInfo
from nexus.data.pyav import PyAVDecoder
from nexus.errors import DataError


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

    def frames(self, path: str | Path, times: np.ndarray) -> np.ndarray:
        """The frames on screen at the given times; see `PyAVDecoder.frames`."""
        times = np.asarray(times, dtype=np.float64)
        timeline = self._pyav.timeline(path)
        if times.size == 0 or timeline.by_order or timeline.damaged.size:
            return self._pyav.frames(path, times)
        index, place = np.unique(timeline.index_at(times), return_inverse=True)
        expected = timeline.pts[index] * float(timeline.tick)
        try:
            decoder = self._open(str(path), dimension_order="NHWC", num_ffmpeg_threads=self.threads)
            if decoder.metadata.rotation:
                return self._pyav.frames(path, times)
            # A quarter tick late, so that rounding cannot pick the frame before.
            batch = decoder.get_frames_played_at((expected + float(timeline.tick) / 4).tolist())
        except (RuntimeError, ValueError, IndexError):
            return self._pyav.frames(path, times)  # PyAV reads it or says what is wrong with it
        shown = batch.pts_seconds.numpy()
        if not np.all(np.abs(shown - expected) <= float(timeline.tick) / 2):
            return self._pyav.frames(path, times)
        return batch.data.numpy()[place]
