"""What the numbers of a robot mean: name, unit and bounds of each one of an action or a state.

A recording seldom says it all, and a wrong unit looks like any other number. So the meaning is
declared once, kept beside the numbers, and held against them wherever they are read.
"""

from typing import Literal, Self

import numpy as np
from jaxtyping import Float64
from pydantic import Field, model_validator

from nexus.config import Config


class Dimension(Config):
    """One number of an action or a state.

    `unit`: m, rad, m/s, ..., as text; None: not known, or none. `kind`: the value itself, or its
    change since the step before. `frame`: what it is measured in (`base`, `end effector`, ...).
    `gripper`: whether it opens and closes a gripper, and how. `low`, `high`: bounds that are never
    left; None: none are known.
    """

    name: str = Field(min_length=1)
    unit: str | None = None
    kind: Literal["absolute", "delta"] = "absolute"
    frame: str | None = None
    gripper: Literal["binary", "continuous"] | None = None
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(
                f"dimension {self.name!r} has bounds from {self.low:g} to {self.high:g}; "
                "expected low < high"
            )
        if self.gripper == "binary" and (self.low is None or self.high is None):
            raise ValueError(
                f"dimension {self.name!r} is a binary gripper; say its two values with low and high"
            )
        return self


class Schema(Config):
    """The dimensions of an action or a state, in order, and how many a second there are.

    Raises:
        ConfigError: no dimension, two of one name, or a rate that is not positive.
    """

    dimensions: tuple[Dimension, ...] = Field(min_length=1)
    rate: float = Field(gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [dimension.name for dimension in self.dimensions]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"dimensions of one name: {', '.join(twice)}")
        return self

    @classmethod
    def plain(cls, names: list[str], rate: float) -> Self:
        """One of which only the names are known."""
        dimensions = [{"name": name} for name in names]
        return cls.from_mapping({"dimensions": dimensions, "rate": rate})

    @property
    def names(self) -> tuple[str, ...]:
        """Of the dimensions."""
        return tuple(dimension.name for dimension in self.dimensions)

    @property
    def width(self) -> int:
        """How many dimensions there are."""
        return len(self.dimensions)

    @property
    def low(self) -> Float64[np.ndarray, " dims"]:
        """Lower bounds; -inf where none is known."""
        return np.array([-np.inf if d.low is None else d.low for d in self.dimensions])

    @property
    def high(self) -> Float64[np.ndarray, " dims"]:
        """Upper bounds; inf where none is known."""
        return np.array([np.inf if d.high is None else d.high for d in self.dimensions])

    @property
    def grippers(self) -> tuple[int, ...]:
        """The numbers of the dimensions that are grippers."""
        return tuple(i for i, d in enumerate(self.dimensions) if d.gripper is not None)

    def faults(self, values: np.ndarray) -> list[str]:
        """What is wrong with the values of an episode in themselves, a sentence a dimension.

        Args:
            values: float (steps, dims).
        """
        if values.ndim != 2 or values.shape[1] != self.width:
            return [
                f"has the shape {values.shape}; expected (steps, {self.width}): "
                f"{', '.join(self.names)}"
            ]
        sentences = []
        for dimension, column in zip(self.dimensions, values.T, strict=True):
            bad = np.flatnonzero(~np.isfinite(column))
            if bad.size:
                sentences.append(
                    f"dimension {dimension.name!r} is {column[bad[0]]} at step {bad[0]} "
                    f"({bad.size} of {column.size} values are not finite)"
                )
        return sentences

    def out_of_bounds(self, values: np.ndarray) -> list[str]:
        """Which bounds the values leave by more than float32 rounds, a sentence each.

        Args:
            values: float (steps, dims), finite.
        """
        columns = zip(self.dimensions, values.T, strict=True)
        return [text for dimension, column in columns for text in _left_bounds(dimension, column)]


def _left_bounds(dimension: Dimension, column: np.ndarray) -> list[str]:
    sentences = []
    for bound, over in ((dimension.low, -1), (dimension.high, 1)):
        if bound is None:
            continue
        excess = (column.astype(np.float64) - bound) * over
        worst = int(excess.argmax()) if excess.size else 0
        if excess.size and excess[worst] > 1e-6 * max(1.0, abs(bound)):
            side = "below its lower" if over < 0 else "above its upper"
            sentences.append(
                f"dimension {dimension.name!r} is {column[worst]:g} at step {worst}, {side} "
                f"bound {bound:g}"
            )
    return sentences
