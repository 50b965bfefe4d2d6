"""What a policy draws: one stream of random numbers an environment, apart from starts and goals."""

from collections.abc import Sequence

import numpy as np

_DRAWS = (2,)


def streams(seeds: Sequence[int]) -> list[np.random.Generator]:
    """A generator a seed; the same for the same seed."""
    return [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=_DRAWS)) for seed in seeds]
