"""Prediction error by how far ahead it lies, beside two predictors that have learned nothing.

For every target token the model's prediction, a copy of the same place at the last context step,
and the mean target feature are compared with the target by the mean squared error a feature
dimension, whatever the training loss was.
"""

import math
from collections.abc import Iterable

import torch
from jaxtyping import UInt8
from torch import Tensor

from nexus.data.loading.batch import normalise
from nexus.errors import DataError
from nexus.features.encoding import device_of, frozen
from nexus.models.contract import Prediction, PredictsFeatures
from nexus.runs.schema import Horizon, HorizonRow

UNIT = "mean squared error per feature dimension, targets normalised as in the training loss"


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
    sums: dict[int, Tensor] = {}
    device = device_of(model)
    with frozen(model):
        for video in videos:
            if len(video):
                _accumulate(model.predict(normalise(video.to(device))), sums)
    if not sums:
        raise DataError("no clip could be read to measure the prediction error on")
    every = torch.stack(list(sums.values())).sum(dim=0)
    mean = every[4:] / every[0]
    rows = []
    for steps, total in sorted(sums.items()):
        tokens, error, copy_error, squares = total[:4].tolist()
        around = squares - 2 * float(mean @ total[4:]) + tokens * float(mean @ mean)
        values = tokens * len(mean)
        rows.append(
            HorizonRow(
                steps_ahead=steps,
                seconds_ahead=steps * seconds_per_step,
                error=error / values,
                copy_error=None if math.isnan(copy_error) else copy_error / values,
                mean_error=max(0.0, around) / values,
            )
        )
    return Horizon(rows=tuple(rows), unit=UNIT)


def _accumulate(out: Prediction, sums: dict[int, Tensor]) -> None:
    """Add up over the target tokens of each distance, float64: 1, the squared errors of the
    prediction and of the copy (NaN without one), the squared target, and the target itself."""
    target = out.target.double().cpu()
    others = (
        out.predicted,
        torch.full_like(target, torch.nan) if out.copied is None else out.copied,
    )
    squares = [(other.double().cpu() - target).square().sum(dim=-1) for other in others]
    squares.append(target.square().sum(dim=-1))
    columns = torch.cat(
        [torch.stack([torch.ones_like(squares[0]), *squares], dim=-1), target], dim=-1
    )
    steps = out.steps_ahead.cpu().clamp(min=0)
    for ahead in steps.unique().tolist():
        total = columns[steps == ahead].sum(dim=0)
        sums[ahead] = sums[ahead] + total if ahead in sums else total
