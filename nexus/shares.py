"""Shares of a whole: checked once, and dealt out in whole numbers."""

import math
from collections.abc import Mapping
from typing import Annotated, TypeVar

import numpy as np
from pydantic import AfterValidator

_Name = TypeVar("_Name", bound=str)


def _checked(shares: dict[_Name, float]) -> dict[_Name, float]:
    values = shares.values()
    if not all(math.isfinite(share) and share >= 0 for share in values) or sum(values) <= 0:
        raise ValueError(f"got {shares}; expected shares >= 0 with a sum above 0")
    return shares


Shares = Annotated[dict[_Name, float], AfterValidator(_checked)]
"""Relative shares by name, as a setting: none below 0, their sum above 0."""


def apportion(shares: Mapping[_Name, float], total: int) -> dict[_Name, int]:
    """So many of a total for each share, by largest remainder (of equal ones, the first)."""
    exact = np.array(list(shares.values()), dtype=float)
    exact *= total / exact.sum()
    counts = np.floor(exact).astype(int)
    by_remainder = np.argsort(counts - exact, kind="stable")
    counts[by_remainder[: total - counts.sum()]] += 1
    return dict(zip(shares, counts.tolist(), strict=True))
