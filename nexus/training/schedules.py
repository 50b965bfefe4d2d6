r"""Learning rate and weight decay as pure functions of the step.

lr     |   /‾‾\             steps count optimizer steps from 0; `steps` is the length of the run
       |  /     \           warm-up: linear, the first step already moves
final  | /         ‾‾\_     then half a cosine, reaching the final value at `steps`
       +--|------------|
          warmup     steps
"""

import math


def learning_rate(step: int, *, steps: int, peak: float, warmup_steps: int, final: float) -> float:
    """The learning rate of a step in [0, steps): linear warm-up to `peak`, cosine to `final`."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return cosine(peak, final, (step - warmup_steps) / max(1, steps - warmup_steps))


def weight_decay(step: int, *, steps: int, start: float, end: float) -> float:
    """The weight decay of a step in [0, steps): half a cosine from `start` to `end`."""
    return cosine(start, end, step / max(1, steps))


def cosine(start: float, end: float, progress: float) -> float:
    """Half a cosine from `start` (progress 0) to `end` (progress 1)."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
