"""What a frozen encoder says of a recording's frames, worked out once and kept, mostly on disk.

On disk, a file an episode, in a folder that is named after all that they depend on: the encoder's
weights, how frames are sampled and shown, and the recording. Half precision: 1/2000 of a value.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float16, UInt8

from nexus.atomic import atomic_path
from nexus.data.episodes.stretches import Stretches
from nexus.digest import digest
from nexus.errors import OutputError

Encode = Callable[
    [UInt8[np.ndarray, "cameras frames height width 3"]], Float16[np.ndarray, "frames tokens dim"]
]
"""From the frames of an episode to their tokens."""


class KeptLatents:
    """The latents of one recording's episodes.

    Args:
        recording: whose frames.
        encode: works them out.
        weights: identifies the encoder.
        root: where they are kept; a place that cannot be written costs a warning, and memory.
        memory: bytes of them that are kept in memory instead, those that are asked for first.
    """

    def __init__(
        self,
        recording: Stretches,
        encode: Encode,
        weights: str,
        root: Path,
        *,
        memory: int = 0,
    ) -> None:
        self._recording, self._encode, self._room = recording, encode, memory
        source, cameras = str(recording.episodes.source), recording.robot.cameras
        told = [weights, source, cameras, recording.sampling]
        self.folder = root / "latents" / digest(told)[:24]
        self._changed = _changed(recording.episodes.source)
        self._in_memory: dict[int, np.ndarray] = {}

    def of(self, index: int) -> Float16[np.ndarray, "frames tokens dim"]:
        """An episode's, from disk if they are there.

        Raises:
            DataError: its frames cannot be decoded.
        """
        if index in self._in_memory:
            return self._in_memory[index]
        numbers = self._recording.numbers(index)
        place = self.folder / f"{index}-{len(numbers)}-{self._changed}.npy"
        try:
            return np.load(place, mmap_mode="r")
        except (OSError, ValueError):  # not there, or cut off: worked out anew
            pass
        latents = self._encode(self._recording.frames(index, 0, len(numbers)))
        self._recording.release(index)
        if latents.nbytes <= self._room:
            self._room -= latents.nbytes
            self._in_memory[index] = latents
            return latents
        try:
            with atomic_path(place) as partial, partial.open("wb") as file:
                np.save(file, latents)
        except (OSError, OutputError) as error:
            self._in_memory[index] = latents
            warnings.warn(
                f"latents are kept in memory, since {self.folder} cannot be written ({error})",
                UserWarning,
                stacklevel=2,
            )
            return latents
        return np.load(place, mmap_mode="r")


def _changed(source: Path) -> int:
    """When a recording was last changed, as far as its own account of itself tells."""
    info = source / "meta" / "info.json"
    try:
        return (info if info.exists() else source).stat().st_mtime_ns
    except OSError:
        return 0
