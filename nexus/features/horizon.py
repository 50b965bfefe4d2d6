"""Prediction error by how far ahead it lies, beside two predictors that have learned nothing.

For every target token the model's prediction, a copy of the same place at the last context step,
and the mean target feature are compared with the target by the mean squared error a feature
dimension, whatever the training loss was.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from nexus.data.batch import normalise
from nexus.errors import DataError
from nexus.features.encoding import device_of, frozen
from nexus.models.contract import Prediction, PredictsFeatures
from nexus.runs.schema import Horizon, HorizonRow

UNIT = "mean squared error per feature dimension, targets normalised as in the training loss"


class _Sums:
    """Running float64 sums over the target tokens of one distance."""

    def __init__(self, dim: int) -> None:
        self.tokens = 0
        self.error = 0.0
        self.copy_error: float | None = None
        self.squares = 0.0
        self.total = np.zeros(dim)

    def add(self, predicted: Tensor, target: Tensor, copied: Tensor | None) -> None:
        """Add tokens `(n, dim)`, float64."""
        self.tokens += len(target)
        self.error += float((predicted - target).square().sum())
        self.squares += float(target.square().sum())
        self.total += target.sum(dim=0).numpy()
        if copied is not None:
            error = float((copied - target).square().sum())
            self.copy_error = error + (self.copy_error or 0.0)

    def row(self, steps: int, seconds_per_step: float, mean: np.ndarray) -> HorizonRow:
        """The averages; `mean` is the feature that the mean predictor always predicts."""
        values = self.tokens * len(self.total)
        around = self.squares - 2 * float(mean @ self.total) + self.tokens * float(mean @ mean)
        return HorizonRow(
            steps_ahead=steps,
            seconds_ahead=steps * seconds_per_step,
            error=self.error / values,
            copy_error=None if self.copy_error is None else self.copy_error / values,
            mean_error=max(0.0, around) / values,
        )


def horizon_errors(
    model: PredictsFeatures,
    videos: Iterable[UInt8[Tensor, "batch channels time rows cols"]],
    *,
    seconds_per_step: float,
) -> Horizon:
    """Average the errors over clips, by distance; nearest first.

    Args:
        model: stays on its device; in eval mode meanwhile. What it is asked to predict is what
            `model.predict` predicts; places hidden within the context's own steps (distances of
            0 and below) are summed up as distance 0.
        videos: batches of uint8 clips; empty ones are passed over.
        seconds_per_step: duration of a token time step: tubelet frames / frames per second.

    The mean feature is the mean of all these targets, at all distances.

    Raises:
        DataError: there was no clip at all.
    """
    sums: dict[int, _Sums] = {}
    device = device_of(model)
    with frozen(model):
        for video in videos:
            if len(video):
                _accumulate(model.predict(normalise(video.to(device))), sums)
    if not sums:
        raise DataError("no clip could be read to measure the prediction error on")
    dim = len(next(iter(sums.values())).total)
    tokens = sum(found.tokens for found in sums.values())
    mean = sum((found.total for found in sums.values()), np.zeros(dim)) / tokens
    rows = (found.row(steps, seconds_per_step, mean) for steps, found in sorted(sums.items()))
    return Horizon(rows=tuple(rows), unit=UNIT)


def _accumulate(out: Prediction, sums: dict[int, _Sums]) -> None:
    predicted, target = out.predicted.double().cpu(), out.target.double().cpu()
    copied = None if out.copied is None else out.copied.double().cpu()
    steps = out.steps_ahead.cpu().clamp(min=0)
    for ahead in steps.unique().tolist():
        at = steps == ahead
        found = sums.setdefault(ahead, _Sums(target.shape[-1]))
        found.add(predicted[at], target[at], None if copied is None else copied[at])
