"""Memory that workers and the training process share, used again for batch after batch.

Fresh shared memory for each batch (what torch does on its own) costs more than copying the pixels:
the system has to clear every page and to hand it over, twice. It also needs a large /dev/shm, which
containers rarely have; these pages do not lie there.
"""

import math
import mmap
import weakref

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor


class SharedSlots:
    """A few equal pieces of shared memory, made before the workers fork.

    The training process takes a free slot and names it to a worker; the worker writes into it;
    the training process lends the pixels out as a tensor. When the last tensor that looks at the
    slot is gone, the slot is free again. Pages that are never used are never allocated.
    """

    def __init__(self, count: int, nbytes: int) -> None:
        self.nbytes = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(-1, count * self.nbytes)
        self._free = list(range(count))

    def take(self, nbytes: int) -> int | None:
        """A free slot, if there is one and it is large enough."""
        return self._free.pop() if self._free and nbytes <= self.nbytes else None

    def pixels(self, slot: int, shape: tuple[int, ...]) -> UInt8[Tensor, "..."]:
        """The slot's memory, for a worker to write to."""
        return torch.from_numpy(self._array(slot, shape))

    def lend(self, slot: int, shape: tuple[int, ...]) -> UInt8[Tensor, "..."]:
        """The slot's memory, to be free again when the tensor and all its views are gone."""
        array = self._array(slot, shape)
        # A tensor made from an array, and each view of it, keeps that very array alive.
        weakref.finalize(array, self._free.append, slot).atexit = False
        return torch.from_numpy(array)

    def _array(self, slot: int, shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
        start = slot * self.nbytes
        return np.frombuffer(self._memory, np.uint8, math.prod(shape), start).reshape(shape)
