"""A cost asked of some candidates at a time: what they lead to stays in the processor's cache.

    800 candidates -> 50 pieces of 16 -> as many threads as there are, each with a piece at a time

The threads work on whole pieces and wait for one another at the end only. Inside a product they
would have to wait after every layer, and where something else keeps a core busy, wait long.
"""

from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float
from torch import Tensor

from nexus.control.threads import one_thread
from nexus.planning import Cost

PIECE = 2**20
"""Bytes of a piece's tokens in one layer: about what a core's own cache holds."""


def candidates_at_once(tokens: int, width: int) -> int:
    """Candidates of a piece, if each is so many tokens of this width."""
    return max(1, PIECE // (4 * tokens * width))


class InPieces:
    """The same cost, in pieces and on several threads.

    Where a gradient is asked for, or on a GPU, all candidates are judged at once.

    Args:
        cost: safe to be asked by several threads at once.
        candidates: of a piece, all environments together.
        threads: pieces judged at the same time, each on one thread of torch's.
    """

    def __init__(self, cost: Cost, candidates: int, threads: int = 1) -> None:
        self._cost, self._candidates, self._threads = cost, candidates, threads

    def __call__(
        self, actions: Float[Tensor, "batch candidates horizon action"]
    ) -> Float[Tensor, "batch candidates"]:
        """See `nexus.planning.cost.Cost`."""
        size = max(1, self._candidates // len(actions))
        if actions.requires_grad or actions.device.type != "cpu" or size >= actions.shape[1]:
            return self._cost(actions)
        pieces = actions.split(size, dim=1)
        threads = min(self._threads, len(pieces))
        if threads == 1:
            return torch.cat([self._cost(piece) for piece in pieces], dim=1)
        # Threads that start now take over the number of torch's threads, and nothing else.
        with one_thread(), ThreadPoolExecutor(threads) as pool:
            return torch.cat(list(pool.map(self._judged, pieces)), dim=1)

    @torch.no_grad()
    def _judged(self, piece: Tensor) -> Tensor:
        return self._cost(piece)
