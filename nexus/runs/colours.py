"""Colours of patch features beside the frames that they belong to: `results/pca.npz`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from nexus.atomic import atomic_path


@dataclass(frozen=True)
class PatchColours:
    """Frames `(clips, T, H, W, 3)` and their patches' colours `(clips, T', h, w, 3)`, uint8.

    `explained` is the share of the features' variance behind red, green and blue.
    """

    frames: UInt8[ndarray, "clips time rows cols 3"]
    colours: UInt8[ndarray, "clips steps height width 3"]
    explained: tuple[float, ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The file's arrays.

        Raises:
            OSError, ValueError, KeyError, EOFError, BadZipFile: the file is damaged.
        """
        with np.load(path, allow_pickle=False) as file:
            frames, colours = file["frames"], file["pca"]
            explained = tuple(float(v) for v in file["explained"]) if "explained" in file else ()
            names = tuple(str(v) for v in file["names"]) if "names" in file else ()
        for name, array in (("frames", frames), ("pca", colours)):
            if array.ndim != 5 or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
                raise ValueError(
                    f"{name} is {array.dtype} {array.shape}; expected uint8 (clips, time, h, w, 3)"
                )
        if len(frames) != len(colours):
            raise ValueError(f"{len(frames)} clips of frames but {len(colours)} of colours")
        return cls(frames, colours, explained, names)

    def save(self, path: str | Path) -> None:
        """Write `frames`, `pca`, `explained` and `names` to a .npz file, atomically."""
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            np.savez_compressed(
                handle,
                frames=self.frames,
                pca=self.colours,
                explained=np.array(self.explained),
                names=np.array(self.names, dtype=np.str_),
            )
