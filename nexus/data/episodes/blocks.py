"""Frame skip: how many control steps make one step of a model. It is defined here alone.

    control steps     0  1  2  3  4  5  6  7  8          9 steps, blocks of 4
    frames, states    *           *           (*)        seen where a block starts
    actions           [0  1  2  3][4  5  6  7] 8         side by side; step 8 is left out

Frame 8 is where the second block leads to: there is a frame, though no whole block starts there.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64
from pydantic import Field

from nexus.config import Config
from nexus.data.episodes.episodes import Episodes
from nexus.data.episodes.schema import Schema
from nexus.data.episodes.statistics import Statistics


class Blocks(Config):
    """`size` control steps make one step of a model; 1: every step by itself."""

    size: int = Field(default=1, ge=1)

    def count(self, steps: int) -> int:
        """Whole blocks in an episode of so many steps."""
        return steps // self.size

    def starts(self, steps: int) -> Int64[np.ndarray, " blocks"]:
        """The control steps that blocks start at."""
        return np.arange(self.count(steps), dtype=np.int64) * self.size

    def joined(
        self, actions: Float32[np.ndarray, "steps dims"]
    ) -> Float32[np.ndarray, "blocks joined"]:
        """The actions of each block side by side, the first step's first."""
        blocks, dims = self.count(len(actions)), actions.shape[1]
        return actions[: blocks * self.size].reshape(blocks, self.size * dims)

    def schema(self, action: Schema) -> Schema:
        """Of joined actions: bounds and units are those of the steps, names say which step."""
        names = block_names(action.names, self.size)
        steps = action.dimensions * self.size
        return action.with_changes(
            dimensions=tuple(
                one.with_changes(name=name) for one, name in zip(steps, names, strict=True)
            ),
            rate=action.rate / self.size,
        )

    def statistics(self, action: Statistics) -> Statistics:
        """Of joined actions: those of the steps, once a step."""
        keys = set(Statistics.model_fields) - {"names", "count"}
        repeated = {key: getattr(action, key) * self.size for key in keys}
        return action.with_changes(names=block_names(action.names, self.size), **repeated)


@dataclass(frozen=True, eq=False)
class BlockedEpisode:
    """An episode in blocks; all arrays have one entry a block.

    `numbers`: the frame that each block starts at; `end`: the frame that the last block leads to,
    None if it was not recorded; `left_out`: control steps at the end that fill no block.
    """

    numbers: Int64[np.ndarray, " blocks"]
    times: Float64[np.ndarray, " blocks"]
    actions: Float32[np.ndarray, "blocks joined"]
    states: Float32[np.ndarray, "blocks state"] | None
    end: int | None
    left_out: int

    def __len__(self) -> int:
        return len(self.numbers)


def blocked(episodes: Episodes, index: int, blocks: Blocks) -> BlockedEpisode:
    """An episode in blocks.

    Raises:
        DataError: it cannot be read.
    """
    actions, states = episodes.actions(index), episodes.states(index)
    starts = blocks.starts(len(actions))
    used = len(starts) * blocks.size
    return BlockedEpisode(
        numbers=starts,
        times=episodes.times(index)[starts],
        actions=blocks.joined(actions),
        states=None if states is None else states[starts],
        end=used if 0 < used < len(actions) else None,
        left_out=len(actions) - used,
    )


def block_names(names: tuple[str, ...], size: int) -> tuple[str, ...]:
    """Of the dimensions of `size` steps side by side: `x+0`, `y+0`, `x+1`, ...; one step: `x`."""
    if size == 1:
        return names
    return tuple(f"{name}+{step}" for step in range(size) for name in names)
