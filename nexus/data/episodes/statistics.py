"""How the values of actions and states spread: computed over training episodes, kept, held against.

A model learns values as these statistics scale them. Data in another unit then gives confident
nonsense, so what is read later is held against what was seen in training.
"""

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
from jaxtyping import Float
from pydantic import Field, model_validator

from nexus.config import Config
from nexus.errors import DataError

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
MIS_SCALED = 100.0
"""An episode that lies, or spreads, this many times the spread away is in another unit."""
ROUNDING = 1e-6
"""A spread below this share of the values themselves is what rounding leaves of a constant."""


class Statistics(Config):
    """One number a dimension of each: float64, of all steps of all episodes together.

    `std` divides by the count. Quantiles are exact, between two values by proportion.
    """

    names: tuple[str, ...] = Field(min_length=1)
    count: int = Field(ge=1)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]
    q01: tuple[float, ...]
    q10: tuple[float, ...]
    q50: tuple[float, ...]
    q90: tuple[float, ...]
    q99: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in ("mean", "std", "min", "max", *QUANTILES):
            if len(getattr(self, key)) != len(self.names):
                raise ValueError(
                    f"`{key}` has {len(getattr(self, key))} numbers for {len(self.names)} "
                    "dimensions; expected one each"
                )
        if any(value < 0 for value in self.std):
            raise ValueError("`std` holds a number below 0")
        return self

    @classmethod
    def of(cls, names: Sequence[str], parts: Iterable[np.ndarray]) -> Self:
        """Of the values of several episodes, each read once; all are in memory at the end.

        Args:
            names: of the dimensions.
            parts: float (steps, dims) an episode.

        Raises:
            DataError: there is no step, or a value is not finite.
        """
        kept = list(parts)
        steps = sum(len(part) for part in kept)
        if steps == 0:
            raise DataError("statistics need at least one step; there is none")
        columns = []
        for dimension, name in enumerate(names):
            column = np.concatenate([part[:, dimension] for part in kept]).astype(np.float64)
            if not np.isfinite(column).all():
                raise DataError(
                    f"dimension {name!r} holds values that are not finite; `nexus check` names them"
                )
            columns.append(summary(column))
        return cls.from_mapping(
            {
                "names": tuple(names),
                "count": steps,
                **{key: tuple(float(column[key]) for column in columns) for key in columns[0]},
            }
        )

    def constant(self) -> tuple[str, ...]:
        """The names of the dimensions that never change."""
        bounds = zip(self.names, self.min, self.max, strict=True)
        return tuple(name for name, low, high in bounds if low == high)

    def faults(self, values: np.ndarray, what: str = "the statistics") -> list[str]:
        """What says that the values of an episode are in other units, a sentence a dimension.

        Args:
            values: float (steps, dims), finite.
            what: as sentences call these statistics.
        """
        if values.shape[1] != len(self.names):
            return [f"has {values.shape[1]} dimensions; {what} have {len(self.names)}"]
        if len(values) == 0:
            return []
        values = values.astype(np.float64)
        offset, spread = values.mean(axis=0) - np.array(self.mean), values.std(axis=0)
        sentences = []
        size = np.maximum(np.abs(self.min), np.abs(self.max))
        reach = np.abs(values).max(axis=0)
        columns = zip(self.names, self.std, size, offset, spread, reach, strict=True)
        for name, std, size, away, wide, reach in columns:
            if std <= ROUNDING * size:
                continue  # constant then: told by `constant`, and nothing to divide by
            ratio = max(abs(away), wide) / std
            if ratio >= MIS_SCALED:
                sentences.append(
                    f"dimension {name!r} lies {ratio:.0f} times the spread of {what} away "
                    f"(its values reach {reach:g}, the "
                    f"spread is {std:g}); another unit?"
                )
        return sentences


class EpisodeStatistics(Config):
    """Of the actions and the states of the same episodes; what is kept with a model."""

    action: Statistics
    state: Statistics | None = None


def summary(values: Float[np.ndarray, "steps *dims"]) -> dict[str, np.ndarray]:
    """Mean, spread, extremes and quantiles over the steps, by name; there is one step at least."""
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    return {
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }
