"""Stretches of episodes that a world model is trained on: pure index arithmetic.

episode 4     frames  0  1  2  3  4  5        a frame a model step
windows of 3         [0  1  2]
                        [1  2  3]  ...        one starts at each frame from which it fits
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Int64


@dataclass(frozen=True, eq=False)
class Windows:
    """Where windows start: the number of the episode, and the frame in model steps."""

    episode: Int64[np.ndarray, " windows"]
    start: Int64[np.ndarray, " windows"]
    too_short: tuple[int, ...] = ()
    """Episodes that have fewer frames than a window."""

    @classmethod
    def of(cls, frames: Mapping[int, int], length: int) -> Self:
        """All windows of some episodes.

        Args:
            frames: by the episode's number, its frames in model steps.
            length: frames of a window.
        """
        counts = {index: max(0, count - length + 1) for index, count in frames.items()}
        pieces = [np.full(count, index, np.int64) for index, count in counts.items()]
        starts = [np.arange(count, dtype=np.int64) for count in counts.values()]
        empty = [np.zeros(0, np.int64)]
        return cls(
            np.concatenate(pieces or empty),
            np.concatenate(starts or empty),
            tuple(index for index, count in counts.items() if not count),
        )

    def __len__(self) -> int:
        return len(self.episode)
