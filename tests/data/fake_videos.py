"""Videos that exist only in memory, behind the decoder protocol: known pixels, counted frames."""

import os
import signal
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nexus.data.catalog.catalog import Catalog, VideoRecord
from nexus.data.pictures import PictureView, collect
from nexus.errors import DataError

FPS = 10.0


def fake_record(
    path: Path, num_frames: int = 20, size: tuple[int, int] = (32, 32), **changes
) -> VideoRecord:
    settings = {
        "path": path,
        "key": path.name,
        "kind": "video",
        "num_frames": num_frames,
        "fps": FPS,
        "duration": num_frames / FPS,
        "height": size[0],
        "width": size[1],
        "codec": "fake",
        "variable_frame_rate": False,
        "labels": {},
        "split": None,
        "start": None,
        "end": None,
    }
    return VideoRecord(**{**settings, **changes})


def fake_catalog(records: Sequence[VideoRecord]) -> Catalog:
    return Catalog(source="fake", records=tuple(records), problems=())


def fake_pixels(record: VideoRecord, num_frames: int | None = None) -> np.ndarray:
    """Noise that belongs to this path alone; of the whole file, if the record is a segment."""
    rng = np.random.default_rng(zlib.crc32(str(record.path).encode()))
    shape = (num_frames or record.num_frames, record.height, record.width, 3)
    return rng.integers(0, 256, shape, dtype=np.uint8)


class FakeDecoder:
    """Decodes fake records.

    Each decoded frame appends a byte to `log` (a file, so that worker processes can be counted
    together). `broken` paths do not decode at all; `broken_from` breaks a path from a frame on;
    `deadly` maps a path to a file: while that file exists, decoding removes it and kills the
    process. `stamps` gives a path its timestamps, and so its number of frames.
    """

    name = "fake"

    def __init__(self, records: Sequence[VideoRecord], log: Path | None = None) -> None:
        self.records = {str(record.path): record for record in records}
        self.log = log
        self.broken: set[str] = set()
        self.broken_from: dict[str, int] = {}
        self.deadly: dict[str, Path] = {}
        self.stamps: dict[str, np.ndarray] = {}

    def timestamps(self, path) -> np.ndarray:
        record = self.records[str(path)]
        return self.stamps.get(str(path), np.arange(record.num_frames) / record.fps)

    def frames(self, path, indices: np.ndarray, view: PictureView | None = None) -> np.ndarray:
        record = self.records[str(path)]
        stamps = self.timestamps(path)
        marker = self.deadly.get(str(path))
        if marker is not None and marker.exists():
            marker.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if str(path) in self.broken or indices.max() >= self.broken_from.get(str(path), 10**9):
            raise DataError(f"{path}: the data is damaged")
        if self.log is not None:
            with self.log.open("ab") as handle:
                handle.write(b"." * len(indices))
        pictures = fake_pixels(record, len(stamps))[indices]
        return collect(pictures, np.arange(len(pictures)), view)

    def decoded(self) -> int:
        """Frames decoded so far, by all processes."""
        assert self.log is not None
        return self.log.stat().st_size if self.log.exists() else 0
