"""From what was measured to a choice: how large a run can be, how long, and its schedules.

Pure: costs and a budget come in, settings go out.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nexus.config import merge
from nexus.fitting.loading import Loading
from nexus.training.recipe import Recipe

FEWER = 0.6
"""A recipe keeps its own size with so many times its own steps; with fewer, a smaller one learns
more. Larger than that it only becomes where all of its own steps fit."""
LOGGED, SAVED = 100, 10
"""Rows that the journal should have at most, and checkpoints beside those by the clock."""
MOMENTA = (0.9, 0.998), (0.9, 0.99999)
"""Between these the EMA's momenta are kept, at the start and at the end of a run."""


@dataclass(frozen=True)
class Candidate:
    """A size that was tried: its settings, how its clips are loaded, how many of its steps fit.

    `wanted` are the steps that have to.
    """

    settings: Mapping[str, Any]
    recipe: Recipe
    loading: Loading
    steps: int
    wanted: int

    @property
    def fits(self) -> bool:
        """Whether enough steps fit."""
        return self.steps >= self.wanted


def climb(
    count: int, start: int, attempt: Callable[[int], Candidate | None]
) -> dict[int, Candidate]:
    """Try rungs of a ladder: upwards from `start` while they fit, else downwards until one does.

    Args:
        count: rungs.
        attempt: tries one; None: it needs more memory than there is.

    Returns:
        What was tried, by rung.
    """
    tried: dict[int, Candidate] = {}

    def fits(rung: int) -> bool:
        candidate = attempt(rung)
        if candidate is not None:
            tried[rung] = candidate
        return candidate is not None and candidate.fits

    rung = start
    if fits(rung):
        while rung + 1 < count and fits(rung + 1):
            rung += 1
    else:
        while rung > 0 and not fits(rung - 1):
            rung -= 1
    return tried


def pick(tried: Mapping[int, Candidate]) -> Candidate | None:
    """The largest that fits; where there is none, that of which most steps do."""
    fitting = [rung for rung, candidate in tried.items() if candidate.fits]
    if fitting:
        return tried[max(fitting)]
    return max(tried.values(), key=lambda candidate: candidate.steps, default=None)


def length_settings(base: Recipe, steps: int) -> dict[str, Any]:
    """How a run of so many steps is logged, saved and warmed up; the base's warm-up is scaled."""
    share = steps / max(1, base.training.steps)
    warmup = min(steps, max(1, round(base.optim.warmup_steps * share)))
    return {
        "training": {
            "steps": steps,
            "log_every": _rounded_up(steps / LOGGED),
            "checkpoint_every": _rounded_up(steps / SAVED),
        },
        "optim": {
            "warmup_steps": warmup if base.optim.warmup_steps else 0,
            "cooldown_steps": min(steps - warmup, round(base.optim.cooldown_steps * share)),
        },
    }


def schedule_settings(base: Recipe, chosen: Recipe, steps: int) -> dict[str, Any]:
    """Learning rates and EMA of a run, scaled from those of a base of another size and length.

    The learning rates go with one over the width and the root of the batch, the EMA's horizons
    1 / (1 - momentum) with the number of steps.
    """
    own, new = base.model.to_mapping(), chosen.model.to_mapping()
    factor = own["encoder_dim"] / new["encoder_dim"] * (clips_of(chosen) / clips_of(base)) ** 0.5
    rates = {"lr": base.optim.lr, "final_lr": base.optim.final_lr}
    settings: dict[str, Any] = {
        "optim": {key: significant(rate * factor) for key, rate in rates.items()}
    }
    share = steps / max(1, base.training.steps)
    for key, (low, high) in zip(("ema_momentum", "ema_momentum_end"), MOMENTA, strict=True):
        if own[key] is not None and own[key] < 1:
            horizon = max(1.0, share / (1.0 - own[key]))
            momentum = round(min(high, max(low, 1.0 - 1.0 / horizon)), 6)
            settings = merge(settings, {"model": {key: momentum}})
    return settings


def clips_of(recipe: Recipe) -> int:
    """Clips of a step."""
    return recipe.training.batch_size * recipe.training.accumulation


def significant(value: float, digits: int = 2) -> float:
    """So many significant digits: what a person can read back and type."""
    return float(f"{value:.{digits}g}")


def _rounded_up(value: float) -> int:
    value = max(1.0, value)
    unit = 10 ** int(math.log10(value))
    return math.ceil(value / unit - 1e-9) * unit
