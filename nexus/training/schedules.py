r"""Learning rate and weight decay as pure functions of the step.

cosine    |    /‾‾\            constant  |    /‾‾‾‾‾‾‾‾\        steps count optimizer steps from 0;
          |   /    \                     |   /          \       `steps` is the length of the run
start     |  /      \                    |  /            \
final     |          ‾‾\_      final     |                \
          +--|----------|                +--|--------|----|
          warmup      steps              warmup     cooldown

Warm-up: linear from `start`, whose first step already moves; its last step has the peak rate.
Cosine: half a cosine, that would reach `final` at step `steps`. Constant (V-JEPA 2): the peak rate,
then, over the last `cooldown_steps`, linear to `final`, which the last step has.
"""

import math
from typing import Literal

Schedule = Literal["cosine", "constant"]


def learning_rate(
    step: int,
    *,
    steps: int,
    peak: float,
    warmup_steps: int,
    final: float,
    start: float = 0.0,
    schedule: Schedule = "cosine",
    cooldown_steps: int = 0,
) -> float:
    """The learning rate of a step in [0, steps): linear warm-up to `peak`, then as scheduled."""
    if step < warmup_steps:
        return start + (peak - start) * (step + 1) / warmup_steps
    if schedule == "cosine":
        return cosine(peak, final, (step - warmup_steps) / max(1, steps - warmup_steps))
    cooled = max(0, step + 1 - (steps - cooldown_steps))
    return peak + (final - peak) * cooled / max(1, cooldown_steps)


def weight_decay(step: int, *, steps: int, start: float, end: float) -> float:
    """The weight decay of a step in [0, steps): half a cosine from `start` to `end`."""
    return cosine(start, end, step / max(1, steps))


def cosine(start: float, end: float, progress: float) -> float:
    """Half a cosine from `start` (progress 0) to `end` (progress 1)."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
