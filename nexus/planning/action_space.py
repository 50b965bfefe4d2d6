"""Actions in an environment's units, and in the planner's: where noise of size one makes sense.

    planner's units   u = (action - mean) / std      statistics of the training episodes
    binary            u = 0 or 1                     a gripper: one of its two bounds

Bounds are given in the environment's units and hold there to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nexus.errors import PlanningError

Numbers = Sequence[float] | np.ndarray | Tensor


@dataclass(frozen=True, eq=False)
class ActionSpace:
    """Bounds of each action dimension, and the size that its noise has.

    Make one with `within` or `with_statistics`.
    """

    low: Float[Tensor, " action"]
    high: Float[Tensor, " action"]
    mean: Float[Tensor, " action"]
    std: Float[Tensor, " action"]
    binary: Bool[Tensor, " action"]

    @classmethod
    def within(cls, low: Numbers, high: Numbers, *, binary: Sequence[int] = ()) -> Self:
        """A space of which nothing is known but its bounds: noise as wide as a uniform draw.

        Args:
            low, high: (action,), finite.
            binary: dimensions that are either at their lower or at their upper bound.

        Raises:
            PlanningError: bounds that are no bounds.
        """
        low, high = _array("low", low), _array("high", high)
        if low.shape == high.shape and not np.isfinite([low, high]).all():
            raise PlanningError(
                "an action without finite bounds needs statistics: ActionSpace.with_statistics"
            )
        return cls.with_statistics(
            (low + high) / 2, (high - low) / np.sqrt(12), low, high, binary=binary
        )

    @classmethod
    def with_statistics(
        cls,
        mean: Numbers,
        std: Numbers,
        low: Numbers | None = None,
        high: Numbers | None = None,
        *,
        binary: Sequence[int] = (),
    ) -> Self:
        """A space whose actions have been seen.

        Args:
            mean, std: (action,), of the actions in the training episodes.
            low, high: (action,), bounds; None or infinite: there are none.
            binary: dimensions that are either at their lower or at their upper bound.

        Raises:
            PlanningError: lengths differ, a bound is not below its counterpart, a deviation is not
                positive, or a binary dimension has no bounds.
        """
        mean, std = _array("mean", mean), _array("std", std)
        low = np.full_like(mean, -np.inf) if low is None else _array("low", low)
        high = np.full_like(mean, np.inf) if high is None else _array("high", high)
        columns = {"mean": mean, "std": std, "low": low, "high": high}
        if len({len(column) for column in columns.values()}) != 1:
            told = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
            raise PlanningError(f"one number a dimension of the action is needed, got {told}")
        _check("std must be positive and finite", (std > 0) & np.isfinite(std), std)
        _check("mean must be finite", np.isfinite(mean), mean)
        _check("low must lie below high", low < high, np.stack([low, high], axis=1))
        two = np.zeros(len(mean), dtype=bool)
        if unknown := [place for place in binary if not 0 <= place < len(mean)]:
            raise PlanningError(f"binary dimensions {unknown}: the action has {len(mean)}")
        two[list(binary)] = True
        _check("binary dimensions need bounds", ~two | np.isfinite(low) & np.isfinite(high), low)
        return cls(
            low=_inward(low, upwards=True),
            high=_inward(high, upwards=False),
            mean=torch.from_numpy(mean).float(),
            std=torch.from_numpy(std).float(),
            binary=torch.from_numpy(two),
        )

    def __len__(self) -> int:
        return len(self.low)

    def to(self, device: torch.device | str) -> "ActionSpace":
        """The same space, its tensors on a device."""
        return ActionSpace(*(value.to(device) for value in vars(self).values()))

    @property
    def unit_low(self) -> Float[Tensor, " action"]:
        """Lower bounds in the planner's units."""
        return torch.where(self.binary, 0.0, (self.low - self.mean) / self.std)

    @property
    def unit_high(self) -> Float[Tensor, " action"]:
        """Upper bounds in the planner's units."""
        return torch.where(self.binary, 1.0, (self.high - self.mean) / self.std)

    @property
    def unit_mean(self) -> Float[Tensor, " action"]:
        """Where a search begins of which nothing is known: the mean action, or either of two."""
        zero = torch.zeros_like(self.low).clamp(self.unit_low, self.unit_high)
        return torch.where(self.binary, 0.5, zero)

    def per_dimension(
        self, name: str, sizes: float | tuple[float, ...]
    ) -> Float[Tensor, " action"]:
        """One number for each dimension of the action, from a setting of this name.

        Raises:
            PlanningError: there are as many as of another action.
        """
        given = torch.as_tensor(sizes, dtype=self.low.dtype, device=self.low.device)
        if given.ndim and len(given) != len(self):
            raise PlanningError(
                f"{name} has {len(given)} numbers, the action {len(self)} dimensions; give one a "
                "dimension, or one for all"
            )
        return given.expand(len(self))

    def actions(self, units: Float[Tensor, "*batch action"]) -> Float[Tensor, "*batch action"]:
        """From the planner's units to the environment's, within its bounds."""
        scaled = torch.minimum(torch.maximum(units * self.std + self.mean, self.low), self.high)
        return torch.where(self.binary, torch.where(units > 0.5, self.high, self.low), scaled)

    def units(self, actions: Float[Tensor, "*batch action"]) -> Float[Tensor, "*batch action"]:
        """From the environment's units to the planner's; what is out of bounds is brought back."""
        actions = torch.minimum(torch.maximum(actions, self.low), self.high)
        upper = (actions - self.low > self.high - actions).to(actions.dtype)
        return torch.where(self.binary, upper, (actions - self.mean) / self.std)


def _array(name: str, numbers: Numbers) -> np.ndarray:
    array = np.array(numbers, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise PlanningError(f"{name}: expected one number a dimension, got shape {array.shape}")
    return array


def _check(rule: str, holds: np.ndarray, values: np.ndarray) -> None:
    if not holds.all():
        place = int(np.flatnonzero(~holds)[0])
        raise PlanningError(f"{rule}; dimension {place} has {values[place].tolist()}")


def _inward(bound: np.ndarray, *, upwards: bool) -> Tensor:
    """The nearest single-precision number that does not pass the bound."""
    single = bound.astype(np.float32)
    passes = single < bound if upwards else single > bound
    towards = np.float32(np.inf if upwards else -np.inf)
    return torch.from_numpy(np.where(passes, np.nextafter(single, towards), single))
