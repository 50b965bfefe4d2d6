"""Continued training: learning rate and EMA of a reference run, scaled to this run's length.

    learning rate   the reference's peak times the root of the clips that this run sees, as a share
                    of those that the reference saw; never above the reference's
    EMA             the horizon 1 / (1 - momentum), over which the target averages, is the same
                    share of the run; the momentum is never above the reference's (a longer run
                    needs no slower target) and never below 0.9 (ten steps)
    schedule        warm-up over a small share of the run (the optimizer is fresh), then linear down

The reference of recipe `adapt` is the published cooldown: 12 000 steps of 3072 clips, from 5.25e-4
to 1e-6, with momentum 0.99925 (arXiv 2506.09985), that is, a horizon of a ninth of the run. These
are starting points, not laws: no paper gives them for short runs. `nexus adapt` tries some.
"""

import math

import pydantic

from nexus.config import Config
from nexus.training.optim import OptimConfig

MIN_MOMENTUM = 0.9
GRID_FACTOR = 4.0
"""How far apart the values of a default grid lie: rates, and horizons of the EMA."""


class ReferenceRun(Config):
    """The run whose learning rate and EMA are scaled; what the recipe gives itself stands."""

    steps: pydantic.PositiveInt
    clips: pydantic.PositiveInt
    """Clips a step."""
    lr: float = pydantic.Field(gt=0)
    final_lr: float = pydantic.Field(ge=0)
    ema_momentum: float = pydantic.Field(ge=0, lt=1)
    warmup_share: float = pydantic.Field(default=0.05, ge=0, le=1)
    """Share of this run's steps over which the learning rate rises."""

    def lr_for(self, *, steps: int, clips: int) -> float:
        """The peak learning rate of a run of so many steps of so many clips."""
        return self.lr * math.sqrt(min(1.0, steps * clips / (self.steps * self.clips)))

    def momentum_for(self, *, steps: int) -> float:
        """The EMA momentum of a run of so many steps."""
        horizon = steps / (self.steps * (1.0 - self.ema_momentum))
        momentum = 1.0 - 1.0 / horizon if horizon > 0 else 0.0
        return min(max(momentum, MIN_MOMENTUM), self.ema_momentum)

    def settings_for(self, optim: OptimConfig, *, steps: int, clips: int) -> dict[str, dict]:
        """What such a run takes from here of `optim` and `model`; what `optim` was given stands."""
        steps = max(1, steps)
        given = optim.model_fields_set
        lr = optim.lr if "lr" in given else _rounded(self.lr_for(steps=steps, clips=clips))
        warmup = optim.warmup_steps if "warmup_steps" in given else round(steps * self.warmup_share)
        scaled = {"lr": lr, "final_lr": lr * self.final_lr / self.lr, "warmup_steps": warmup}
        if optim.schedule == "constant":
            scaled["cooldown_steps"] = max(0, steps - warmup)
        return {
            "optim": {key: value for key, value in scaled.items() if key not in given},
            "model": {"ema_momentum": _rounded(self.momentum_for(steps=steps), 6)},
        }


def grid(lr: float, momentum: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Learning rates and momenta to try: a scaled pair, and what lies on its gentler side."""
    slower = 1.0 - (1.0 - momentum) / GRID_FACTOR
    return (lr, _rounded(lr / GRID_FACTOR)), (momentum, _rounded(slower, 6))


def _rounded(value: float, digits: int = 4) -> float:
    """So many significant digits: what a person can read back and type."""
    return float(f"{value:.{digits}g}")
