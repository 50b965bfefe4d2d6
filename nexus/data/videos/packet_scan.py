"""What demuxing tells of a video stream, packet by packet, before anything is decoded."""

from dataclasses import dataclass

import numpy as np

MISSING = np.iinfo(np.int64).min
"""Stands for "the container gives no timestamp" in the integer arrays below."""


@dataclass(frozen=True, eq=False)
class PacketScan:
    """The packets of one video stream in file order; all arrays have one entry a packet.

    `pts`, `dts` and `duration` are in ticks (`MISSING` where the container gives none); `mark`
    tells keyframes apart (0 for other packets). `discard` are packets that an edit list hides,
    `hidden` those that never make a picture, `sets_up` those that bring a palette or a new header,
    which decoders keep for later packets, `turns` those that may say how pictures are to be turned.
    """

    pts: np.ndarray
    dts: np.ndarray
    duration: np.ndarray
    mark: np.ndarray
    keyframe: np.ndarray
    discard: np.ndarray
    corrupt: np.ndarray
    hidden: np.ndarray
    sets_up: np.ndarray
    turns: np.ndarray
    error: str | None = None

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def sets_up_once(self) -> bool:
        """Whether keyframes need what only an earlier packet brings."""
        return bool(np.any(self.sets_up) and not np.all(self.sets_up[self.keyframe]))

    def decodable(self) -> np.ndarray:
        """Which packets a decoder can use: from a keyframe on, until damage, from the next one on.

        After a (re)start at a keyframe, frames shown before it lack their references.
        """
        if len(self) == 0:
            return np.zeros(0, dtype=bool)
        order = np.arange(len(self))
        event = np.maximum.accumulate(np.where(self.corrupt | self.keyframe, order, -1))
        good = (event >= 0) & ~self.corrupt[event]
        restart = good & ~np.concatenate([[False], good[:-1]])
        entry = np.maximum.accumulate(np.where(restart, order, 0))
        return good & ((self.pts >= self.pts[entry]) | (self.pts == MISSING))
