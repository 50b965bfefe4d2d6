"""Decoded frames kept for later epochs, in shared memory or on disk.

At small sizes, decoding an mp4 costs more than a training step on it. What fits the budget is
decided once, by arithmetic, from the catalog; the rest is decoded each time. Cached or not, warm or
cold, a sample has the same bits.
"""

import errno
import logging
import mmap
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic
import torch
from jaxtyping import UInt8

from nexus.atomic import atomic_path, check_writable
from nexus.config import Config
from nexus.data.stills.files import files_of
from nexus.digest import digest
from nexus.errors import DataError

Frames = UInt8[np.ndarray, "frames height width 3"]

_log = logging.getLogger(__name__)
_OPEN_MAPS = 4096  # files of the disk cache that a process keeps mapped
_FOR_ALL_FILES = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""System errors that the next file would meet too."""


class CacheConfig(Config):
    """Where decoded frames are kept.

    - `kind`: "none"; "memory" (shared by all workers of a machine, gone with the run); "disk" (one
      uncompressed .npy file per video, reused by later runs).
    - `max_gigabytes`: the budget, in 10^9 bytes. Smaller videos are taken first; what does not fit
      is decoded each time.
    - `folder`: where the files of "disk" go. Stale files are never read; delete it at will. If it
      cannot be written, one warning says so and nothing new is kept.
    """

    kind: Literal["none", "memory", "disk"] = "none"
    max_gigabytes: float = pydantic.Field(default=4.0, gt=0)
    folder: Path | None = None

    @pydantic.model_validator(mode="after")
    def _placed(self) -> "CacheConfig":
        if self.kind == "disk" and self.folder is None:
            raise ValueError("kind 'disk' needs a folder to keep the frames in; got none")
        return self


@dataclass(frozen=True)
class CacheEntry:
    """What keeping one video takes: frames `first` to `last`, at the size they are kept in."""

    path: Path
    first: int
    last: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(frames, height, width, 3)."""
        return (self.last - self.first + 1, self.height, self.width, 3)

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""
        return self.shape[0] * self.height * self.width * 3


def plan(entries: Sequence[CacheEntry], budget: int) -> list[int]:
    """Which entries are kept within `budget` bytes: smallest first, so that most files fit."""
    kept: list[int] = []
    for index in sorted(range(len(entries)), key=lambda i: (entries[i].nbytes, i)):
        budget -= entries[index].nbytes
        if budget < 0:
            break
        kept.append(index)
    return kept


class FrameCache:
    """Decoded frames by entry number, in a memory or a disk store.

    Attributes:
        entries: all of them, in the order of their numbers.
        planned: how many of the entries are kept; the others are decoded each time.
    """

    def __init__(self, config: CacheConfig, entries: Sequence[CacheEntry], salt: str = "") -> None:
        kept = plan(entries, int(config.max_gigabytes * 1e9))
        self.planned, self.entries = len(kept), tuple(entries)
        self._kind = config.kind
        self._bytes = sum(entries[index].nbytes for index in kept)
        self._wanted, self._writable = set(kept), True
        if config.kind == "memory":
            self._store: _Memory | _Disk = _Memory({i: entries[i] for i in kept})
        else:
            assert config.folder is not None
            self._store = _Disk(config.folder, {i: entries[i] for i in kept}, salt)
            try:
                check_writable(config.folder, remedy="choose another folder")
            except OSError as error:
                self._keep_no_more(error)
        if self.planned < len(entries):
            _log.warning(self.describe())

    def describe(self) -> str:
        """One line for the log: what is kept, and what is decoded each time."""
        left = len(self.entries) - self.planned
        text = f"{self._kind} cache: {self.planned} videos ({self._bytes / 1e9:.2f} GB decoded)"
        return text + (f"; {left} do not fit and are decoded each time" if left else "")

    def frames(self, index: int, decode: Callable[[], Iterable[Frames]]) -> Frames | None:
        """The kept frames of an entry; at first use they are decoded and stored.

        Args:
            index: the entry.
            decode: gives all of the entry's frames, in chunks.

        Returns:
            Its frames, or None if it is not kept: no room, or not all of it can be decoded (the
            caller decodes what it needs; an intact part stays usable).
        """
        if index not in self._wanted:
            return None
        stored = self._store.load(index)
        if stored is not None or not self._writable:
            return stored
        try:
            self._store.save(index, decode())
        except (DataError, OSError) as error:
            self._wanted.discard(index)
            if isinstance(error, OSError) and error.errno in _FOR_ALL_FILES:
                self._keep_no_more(error)
            else:
                _log.warning("not caching %s: %s", self.entries[index].path, error)
            return None
        return self._store.load(index)

    def _keep_no_more(self, error: OSError) -> None:
        self._writable = False
        _log.warning("decoded frames are not kept (any more): %s", error)


def _fill(target: np.ndarray, chunks: Iterable[Frames]) -> None:
    """Write chunks one after the other; they have to fill the target exactly."""
    done = 0
    for chunk in chunks:
        if chunk.shape[1:] != target.shape[1:] or done + len(chunk) > len(target):
            raise DataError(
                f"decoded frames of {chunk.shape[2]}x{chunk.shape[1]} px (frame {done} on); "
                f"expected {len(target)} frames of {target.shape[2]}x{target.shape[1]} px"
            )
        target[done : done + len(chunk)] = chunk
        done += len(chunk)
    if done != len(target):
        raise DataError(f"decoded {done} frames; expected {len(target)}")


class _Memory:
    """Anonymous shared pages: forked workers all see what one of them decoded.

    Two workers may decode the same video at the same time; they then write the same bytes. The
    flag is raised after the pixels are in place, and no lock is held that a dying worker could
    take along.
    """

    def __init__(self, entries: dict[int, CacheEntry]) -> None:
        self._entries, self._offsets, used = entries, {}, 0
        for slot, (index, entry) in enumerate(entries.items()):
            self._offsets[index] = (slot, used)
            used += entry.nbytes
        self._pixels = np.frombuffer(mmap.mmap(-1, max(used, 1)), np.uint8)
        self._ready = np.frombuffer(mmap.mmap(-1, max(len(entries), 1)), np.uint8)

    def _view(self, index: int) -> np.ndarray:
        entry, start = self._entries[index], self._offsets[index][1]
        return self._pixels[start : start + entry.nbytes].reshape(entry.shape)

    def load(self, index: int) -> np.ndarray | None:
        return self._view(index) if self._ready[self._offsets[index][0]] else None

    def save(self, index: int, chunks: Iterable[Frames]) -> None:
        _fill(self._view(index), chunks)
        self._ready[self._offsets[index][0]] = 1


class _Disk:
    """One .npy file per entry, named by its video's identity and all that shapes its pixels."""

    def __init__(self, folder: Path, entries: dict[int, CacheEntry], salt: str) -> None:
        self._folder, self._entries, self._salt = folder, entries, salt
        self._open: OrderedDict[int, np.ndarray] = OrderedDict()
        self._files: dict[int, Path] = {}

    def _file(self, index: int) -> Path:
        if index in self._files:
            return self._files[index]
        entry = self._entries[index]
        name = digest([1, self._salt, file_identity(entry.path), entry.first, *entry.shape])
        return self._files.setdefault(index, self._folder / name[:2] / f"{name[2:40]}.npy")

    def load(self, index: int) -> np.ndarray | None:
        if index in self._open:
            self._open.move_to_end(index)
            return self._open[index]
        try:
            frames = _map_array(self._file(index), self._entries[index].shape)
        except (OSError, ValueError):
            return None  # not there, or not written by us: it is (re)written
        self._open[index] = frames
        if len(self._open) > _OPEN_MAPS:
            self._open.popitem(last=False)
        return frames

    def save(self, index: int, chunks: Iterable[Frames]) -> None:
        with atomic_path(self._file(index)) as temporary:
            shape = self._entries[index].shape
            frames = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
            _fill(frames, chunks)
            frames.flush()


def _map_array(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Map a .npy file of uint8. Unlike numpy's map, torch's holds no file descriptor.

    Raises:
        OSError: there is no such file.
        ValueError: it is not an array of this shape.
    """
    with file.open("rb") as handle:
        version = np.lib.format.read_magic(handle)
        if version != (1, 0):
            raise ValueError(f"{file}: .npy version {version}")
        header = np.lib.format.read_array_header_1_0(handle)
        start, size = handle.tell(), os.fstat(handle.fileno()).st_size
    if header != (shape, False, np.uint8):
        raise ValueError(f"{file}: {header}; expected {shape}")
    mapped = torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8)
    return mapped.numpy()[start:].reshape(shape)


def file_identity(path: Path) -> list[str | int]:
    """Changes when the file is replaced (of a folder any file in it, of a series any picture).

    Raises:
        OSError: there is nothing at `path`.
    """
    parts: list[str | int] = [os.fspath(path.resolve())]
    try:
        files = sorted(path.iterdir()) if path.is_dir() else files_of(path)
    except DataError as error:
        raise FileNotFoundError(str(error)) from error
    for item in files:
        status = item.stat()
        parts += [item.name, status.st_size, status.st_mtime_ns]
    return parts
