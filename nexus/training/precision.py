"""What numbers of half the size cost on this machine: not every processor has units for them."""

import time
from collections.abc import Callable

import torch

from nexus.training.step import DTYPES, Precision

WORTH_SAYING = 1.5
"""From this many times the time of fp32 on, a user should know."""


def relative_cost(
    precision: Precision,
    *,
    side: int = 384,
    repeats: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Time of a matrix product on the CPU in this precision, as a multiple of that in fp32.

    Args:
        precision: what to compare with fp32.
        side: of the square matrices.
        repeats: products of each; the fastest one counts, after one that does not.
        clock: a monotonic clock in seconds.
    """
    seconds = []
    for dtype in (DTYPES["fp32"], DTYPES[precision]):
        factor = torch.ones(side, side, dtype=dtype)
        torch.mm(factor, factor)
        taken = []
        for _ in range(repeats):
            start = clock()
            torch.mm(factor, factor)
            taken.append(clock() - start)
        seconds.append(min(taken))
    return seconds[1] / max(seconds[0], 1e-9)


def warning(precision: Precision, device: torch.device) -> str | None:
    """What to say before a run in this precision, if it is slow here; measured, on the CPU only."""
    if precision == "fp32" or device.type != "cpu":
        return None
    cost = relative_cost(precision)
    if cost < WORTH_SAYING:
        return None
    return (
        f"training.precision={precision}: this processor takes {cost:.1f} times as long for a "
        "matrix product as in fp32, since it has no units for such numbers; "
        "training.precision=fp32 will be faster"
    )
