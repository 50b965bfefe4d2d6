"""How many CPU threads a training step is fastest with, found by trying.

PyTorch takes every core. On a machine that something else shares, or with a small model, a step
with two threads can take several times as long as with one, so a run measures before it starts.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

TIE = 1.10
"""More threads must be faster by this factor to be taken: ties go to the smaller number."""


@dataclass(frozen=True)
class Calibration:
    """The thread count to use and the seconds a step took with each one tried."""

    threads: int
    seconds: dict[int, float]

    def __str__(self) -> str:
        timings = ", ".join(f"{n}: {1e3 * s:.0f} ms" for n, s in sorted(self.seconds.items()))
        tried = f" (a step with {timings})" if timings else ""
        return f"{self.threads} CPU thread{'s' * (self.threads != 1)}{tried}"


def candidates(most: int) -> list[int]:
    """1, 2, 4, ... up to `most`, and `most` itself."""
    powers = [2**i for i in range(most.bit_length()) if 2**i <= most]
    return sorted({*powers, most})


def choose(seconds: dict[int, float]) -> int:
    """The smallest thread count that no larger one beats by more than `TIE`."""
    best = min(seconds)
    for threads in sorted(seconds):
        if seconds[threads] * TIE < seconds[best]:
            best = threads
    return best


def calibrate(
    run_step: Callable[[], object],
    counts: Sequence[int],
    *,
    repeats: int = 4,
    budget: float = 5.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Calibration:
    """Time `run_step` with each thread count and keep the best; leaves that count set.

    Args:
        run_step: does the work of one step without changing anything.
        counts: the thread counts to try, the fewest first.
        repeats: runs a count; the fastest one counts.
        budget: seconds a count after which it is not repeated again.
        clock: a monotonic clock in seconds.
    """
    seconds: dict[int, float] = {}
    for threads in counts if len(counts) > 1 else ():
        torch.set_num_threads(threads)
        hopeless = 2 * min(seconds.values(), default=float("inf"))
        runs: list[float] = []
        while len(runs) < repeats and sum(runs) < budget and max(runs, default=0) < hopeless:
            start = clock()
            run_step()
            runs.append(clock() - start)
        seconds[threads] = min(runs)
    best = choose(seconds) if seconds else counts[0]
    torch.set_num_threads(best)
    return Calibration(best, seconds)
