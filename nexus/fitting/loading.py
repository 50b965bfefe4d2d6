"""How clips are loaded: decoded each time or kept in memory, in the training process or beside it.

one process      step | load | step | load        a step lasts both
workers          step | step | step               a step lasts the longer of the two
                 load | load | load
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexus.fitting.cost import LoadCost, Machine, StepCost
from nexus.fitting.facts import given_value

MEMORY_SHARE = 0.5
"""Share of the free memory that kept frames may take."""
MOST_WORKERS = 8
GIGABYTE = 1e9
ROOM = 1.05
"""Kept frames get so many times what was counted."""
WORTH = 1.03
"""Workers must make a run faster by this factor, and so must decoding each time."""


@dataclass(frozen=True)
class Loading:
    """A way to load clips: what it costs a run once, and a step with its loading, seconds."""

    cache: str
    workers: int
    once: float
    step: float
    gigabytes: float | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """As settings of `data`."""
        cache: dict[str, Any] = {"kind": self.cache}
        if self.gigabytes is not None:
            cache["max_gigabytes"] = self.gigabytes
        return {"data": {"cache": cache, "num_workers": self.workers}}

    def steps_in(self, seconds: float) -> int:
        """Steps that fit."""
        return max(0, int((seconds - self.once) / self.step))


def choose_loading(
    step: StepCost,
    load: LoadCost,
    machine: Machine,
    given: Mapping[str, Any],
    *,
    clips: int,
    seconds: float,
) -> Loading:
    """The way of loading with which most steps fit, around what is given.

    Args:
        clips: of a step.
        seconds: that training may take.
    """
    kind, workers = given_value(given, "data.cache.kind"), given_value(given, "data.num_workers")
    room = machine.memory * MEMORY_SHARE
    gigabytes = max(0.1, round(load.kept_bytes * ROOM / GIGABYTE + 0.05, 1))
    kinds = (kind,) if kind else ("none", "memory")
    if not kind and gigabytes * GIGABYTE > room:
        kinds = ("none",)
    busy = step.threads if machine.device == "cpu" else 1
    beside = min(MOST_WORKERS, max(0, machine.cores - busy))
    if workers == "auto":
        numbers: tuple[int, ...] = (min(MOST_WORKERS, machine.cores),)
    else:
        numbers = tuple(dict.fromkeys((0, beside))) if workers is None else (workers,)
    ways = []
    for cache in kinds:
        size = given_value(given, "data.cache.max_gigabytes") or gigabytes
        for number in numbers:
            kept = cache != "none"
            clip = load.kept_clip if kept else load.clip
            once = load.frame * load.frames / max(1, number) if kept else 0.0
            taken = clips * clip / max(1, number)
            whole = step.seconds + taken if number == 0 else max(step.seconds, taken)
            ways.append(Loading(cache, number, once, whole, size if cache == "memory" else None))

    def gain(way: Loading) -> tuple[float, int]:
        steps = (seconds - way.once) / way.step
        handicaps = (way.workers > 0) + (way.cache == "none")
        return steps / WORTH**handicaps, -way.workers

    return max(ways, key=gain)
