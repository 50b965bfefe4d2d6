"""Which clip of which epoch comes when: pure arithmetic."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

_ORDER = 2  # the kind of random stream; a sample's own draws are another one (see dataset.py)


@dataclass(frozen=True)
class Order:
    """The clips of each batch of a stream of epochs.

    Epochs follow one another without a gap: a batch that an epoch does not fill goes on with the
    next one. Each rank takes its own stretch of the `batch_size * world_size` clips of a batch
    number.

    Args:
        size: clips an epoch.
        batch_size: clips a batch and rank.
        seed, shuffle: each epoch has its own order, drawn from the seed; or the plain one.
        epochs: where the stream ends; None: never.
        rank, world_size: this process among those that share the stream.
    """

    size: int
    batch_size: int
    seed: int
    shuffle: bool = True
    epochs: int | None = None
    rank: int = 0
    world_size: int = 1

    @property
    def batches(self) -> int | None:
        """Number of batches, the same on every rank; None if the stream has no end."""
        if self.epochs is None:
            return None
        return -(-self.epochs * self.size // (self.batch_size * self.world_size))

    def clips(self, number: int) -> list[tuple[int, int]]:
        """(epoch, clip number) of each clip of a batch."""
        first = (number * self.world_size + self.rank) * self.batch_size
        last = first + self.batch_size
        if self.epochs is not None:
            last = min(last, self.epochs * self.size)
        places = [divmod(position, self.size) for position in range(first, last)]
        if not self.shuffle:
            return places
        return [
            (epoch, int(_permutation(self.seed, epoch, self.size)[place]))
            for epoch, place in places
        ]

    def epoch(self, number: int) -> int:
        """The epoch of a batch's first clip."""
        return (number * self.world_size + self.rank) * self.batch_size // self.size


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, size: int) -> Int64[np.ndarray, " size"]:
    key = np.random.SeedSequence(seed, spawn_key=(_ORDER, epoch))
    return np.random.Generator(np.random.PCG64(key)).permutation(size)
