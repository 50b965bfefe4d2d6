"""Prediction error by distance, against a loop over single tokens."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nexus.data.loading.batch import normalise
from nexus.errors import DataError
from nexus.features.horizon import horizon_errors
from nexus.models.ssl.v_jepa import VJEPAModel

TINY = {
    "img_size": 16,
    "patch_size": 8,
    "num_frames": 12,
    "tubelet_size": 2,
    "encoder_dim": 16,
    "num_heads": 2,
    "predictor_dim": 16,
    "predictor_heads": 2,
    "num_spatial_layers": 1,
    "num_temporal_layers": 1,
    "num_predictor_layers": 1,
}


def clips(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 12, 16, 16), generator=generator, dtype=torch.uint8)


def test_equals_a_loop_over_single_tokens() -> None:
    torch.manual_seed(0)
    model = VJEPAModel(TINY)
    batches = [clips(3, 0), clips(0, 1), clips(2, 2)]
    rows = horizon_errors(model, batches, seconds_per_step=0.25).rows

    tokens = []
    model.eval()
    with torch.no_grad():
        for video in torch.cat(batches):
            out = model.predict(normalise(video[None]))
            full = model.target_encoder(normalise(video[None]))[0]
            last = out.mask.last_context_step
            for place, number in enumerate(out.mask.target[0].tolist()):
                step, where = divmod(number, out.mask.grid.places)
                copied = full[last * out.mask.grid.places + where]
                tokens.append((step - last, out.predicted[0, place], full[number], copied))
    mean = sum(target for _, _, target, _ in tokens) / len(tokens)
    assert [row.steps_ahead for row in rows] == [1, 2, 3]
    for row in rows:
        here = [(p, t, c) for ahead, p, t, c in tokens if ahead == row.steps_ahead]
        assert row.seconds_ahead == row.steps_ahead * 0.25
        for got, expected in [
            (row.error, [(p - t).square().mean() for p, t, _ in here]),
            (row.copy_error, [(c - t).square().mean() for _, t, c in here]),
            (row.mean_error, [(mean - t).square().mean() for _, t, _ in here]),
        ]:
            assert got == pytest.approx(float(sum(expected)) / len(here), rel=1e-4)


@dataclass(frozen=True)
class Told:
    predicted: Tensor
    target: Tensor
    copied: Tensor | None
    steps_ahead: Tensor


class Teller(nn.Module):
    """Hands out a prediction that was written down beforehand."""

    def __init__(self, told: Told) -> None:
        super().__init__()
        self.told, self.weight = told, nn.Parameter(torch.zeros(1))
        self.dropout = nn.Dropout()

    def predict(self, video: Tensor) -> Told:
        assert not self.dropout.training and not torch.is_grad_enabled()
        return self.told


TOLD = Told(
    predicted=torch.tensor([[[1.0, 0.0], [0.0, 0.0], [3.0, 1.0]]]),
    target=torch.tensor([[[0.0, 0.0], [2.0, 0.0], [4.0, 3.0]]]),
    copied=None,
    steps_ahead=torch.tensor([[-2, 0, 1]]),
)


def test_hidden_places_of_the_context_are_distance_zero_and_no_copy_is_no_copy() -> None:
    model = Teller(TOLD)
    model.train()
    rows = horizon_errors(model, [clips(1, 0)], seconds_per_step=1.0).rows  # pyright: ignore
    assert [(row.steps_ahead, row.error, row.copy_error) for row in rows] == [
        (0, (1 + 4) / 4, None),
        (1, (1 + 4) / 2, None),
    ]
    # the mean target is (2, 1): squared distances 5, 1 and 8
    assert [row.mean_error for row in rows] == pytest.approx([6 / 4, 8 / 2])
    assert model.training and model.dropout.training


def test_far_away_features_do_not_drown_the_mean_error() -> None:
    """A large common offset: the sums of squares nearly cancel, and must not go below zero."""
    shifted = replace(TOLD, target=TOLD.target + 1e4, predicted=TOLD.predicted + 1e4)
    rows = horizon_errors(Teller(shifted), [clips(1, 0)], seconds_per_step=1.0).rows  # pyright: ignore
    assert [row.mean_error for row in rows] == pytest.approx([6 / 4, 8 / 2], rel=1e-4)


def test_no_clip_is_an_error() -> None:
    with pytest.raises(DataError, match="no clip could be read"):
        horizon_errors(Teller(TOLD), [clips(0, 0)], seconds_per_step=1.0)  # pyright: ignore


def test_the_file_holds_the_rows_and_their_unit(tmp_path: Path) -> None:
    errors = horizon_errors(Teller(TOLD), [clips(1, 0)], seconds_per_step=0.5)  # pyright: ignore
    errors.save(tmp_path / "results/horizon.json")
    held = json.loads((tmp_path / "results/horizon.json").read_text())
    assert held["rows"][1] == {
        "steps_ahead": 1,
        "seconds_ahead": 0.5,
        "error": 2.5,
        "copy_error": None,
        "mean_error": pytest.approx(4.0),
    }
    assert "mean squared error" in held["unit"]
