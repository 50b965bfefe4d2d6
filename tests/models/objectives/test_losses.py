"""Losses and anti-collapse terms against loops and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import losses as slow

from nexus.models.objectives.anti_collapse import clip_regularizer, sigreg, variance_covariance
from nexus.models.objectives.losses import (
    normalise_predictions,
    normalise_targets,
    token_errors,
)


def features(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_the_error_is_the_formula(loss) -> None:
    predicted, target = features(2, 3, 5, seed=1), features(2, 3, 5, seed=2)
    errors = token_errors(predicted, target, loss)
    assert errors.shape == (2, 3)
    for clip in range(2):
        for token in range(3):
            expected = slow.prediction_error(
                predicted[clip, token].numpy(), target[clip, token].numpy(), loss
            )
            assert errors[clip, token].item() == pytest.approx(expected, rel=1e-5)
    everything = slow.prediction_error(predicted.numpy(), target.numpy(), loss)
    assert errors.mean().item() == pytest.approx(everything, rel=1e-5)


def test_errors_are_taken_in_single_precision() -> None:
    """Under autocast the features are bfloat16: their small differences must not be rounded."""
    predicted = torch.full((1, 1, 4), 1.0, dtype=torch.bfloat16)
    target = torch.full((1, 1, 4), 1.0 + 2**-7, dtype=torch.bfloat16)
    errors = token_errors(predicted, target, "mse")
    assert errors.dtype == torch.float32
    assert errors.item() == pytest.approx(2**-14)


@pytest.mark.parametrize(
    ("kind", "formula"), [("layer", slow.layer_normed), ("l2", slow.unit_length)]
)
def test_targets_are_normalised_token_by_token(kind, formula) -> None:
    targets = features(2, 3, 6, scale=4.0) + 1.5
    normal = normalise_targets(targets, kind)
    for clip in range(2):
        for token in range(3):
            expected = torch.from_numpy(formula(targets[clip, token].numpy()))
            torch.testing.assert_close(normal[clip, token], expected)
    assert normalise_targets(targets, "none") is targets


def test_predictions_are_normalised_only_for_the_cosine_objective() -> None:
    predictions = features(2, 3, 6)
    assert normalise_predictions(predictions, "none") is predictions
    assert normalise_predictions(predictions, "layer") is predictions
    unit = normalise_predictions(predictions, "l2")
    torch.testing.assert_close(unit.norm(dim=-1), torch.ones(2, 3))
    # Then the squared error is 2 - 2 cos, spread over the dimensions.
    targets = features(2, 3, 6, seed=1)
    cosine = torch.nn.functional.cosine_similarity(predictions, targets, dim=-1)
    errors = token_errors(unit, normalise_targets(targets, "l2"), "mse")
    torch.testing.assert_close(errors, (2 - 2 * cosine) / 6)


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(2, 12), dim=st.integers(1, 6), scale=st.floats(0.05, 5.0))
def test_variance_covariance_is_the_formula(samples: int, dim: int, scale: float) -> None:
    x = features(samples, dim, scale=scale) + 2.0
    expected = slow.variance_covariance(x.double().numpy())
    assert variance_covariance(x).item() == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_variance_covariance_tells_health_from_collapse() -> None:
    healthy = variance_covariance(features(20_000, 8, scale=1.1)).item()
    assert healthy < 0.01
    constant = torch.ones(100, 8)
    assert variance_covariance(constant).item() == pytest.approx(0.99, abs=1e-3)
    one_direction = features(2000, 1).expand(-1, 8)
    assert variance_covariance(one_direction).item() > 5


def one_direction(x: torch.Tensor) -> float:
    """The term for one-dimensional features: every direction is then plus or minus one."""
    return sigreg(x.unsqueeze(1), directions=1).item()


@pytest.mark.parametrize("scale", [0.05, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_sigreg_is_the_epps_pulley_integral(scale: float, shift: float) -> None:
    """17 knots on [-5, 5] against the integral over the whole line in closed form."""
    x = features(60, scale=scale) + shift
    assert one_direction(x) == pytest.approx(slow.epps_pulley(x.numpy()), rel=5e-3, abs=1e-4)


def test_the_closed_form_is_dense_integration() -> None:
    """The oracle itself, against its definition on a fine grid."""
    x = features(40).numpy().astype(np.float64)
    t = np.linspace(-12, 12, 20_001)
    empirical = np.exp(1j * np.outer(t, x)).mean(axis=1)
    distance = np.abs(empirical - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)
    assert np.trapezoid(distance, t) == pytest.approx(slow.epps_pulley(x), rel=1e-9)


def test_sigreg_is_small_for_gaussians_and_large_for_collapse() -> None:
    gaussian = sigreg(features(20_000, 16)).item()
    assert gaussian < 5e-4
    all_at_zero = math.sqrt(2 * math.pi) * (1 - math.sqrt(2) + 1 / math.sqrt(3))
    assert sigreg(torch.zeros(50, 16)).item() == pytest.approx(all_at_zero, rel=1e-3)
    # Directions through which a line is seen end on find it collapsed.
    line = torch.zeros(5000, 16)
    line[:, 0] = features(5000)
    assert sigreg(line).item() > 0.2
    # A distribution with the right mean and covariance, but not Gaussian, is told apart.
    coin = features(20_000, 1).sign()
    assert sigreg(coin).item() > 100 * sigreg(features(20_000, 1)).item()


def test_sigregs_directions_are_drawn_anew_and_fixed_by_a_seed() -> None:
    x = features(30, 8)
    draws = [sigreg(x, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    torch.manual_seed(0)
    assert sigreg(x) != sigreg(x)


@pytest.mark.parametrize("term", [variance_covariance, sigreg])
def test_descending_a_term_undoes_a_collapse(term) -> None:
    torch.manual_seed(0)
    x = (1e-2 * features(256, 4)).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.02)
    before = term(x).item()
    for _ in range(150):
        optimizer.zero_grad()
        term(x).backward()
        optimizer.step()
    assert term(x).item() < 0.1 * before
    assert (x.std(dim=0) > 0.7).all()


@pytest.mark.parametrize("kind", ["variance_covariance", "sigreg"])
def test_the_regularizer_looks_at_clips_not_at_tokens(kind) -> None:
    """Token noise that averages out in each clip does not hide that all clips are alike."""
    noise = features(8, 6, 5)
    noise = noise - noise.mean(dim=1, keepdim=True)
    same = torch.zeros(8, 1, 5)
    torch.manual_seed(0)
    got = clip_regularizer(same + noise, kind)
    torch.manual_seed(0)
    torch.testing.assert_close(got, clip_regularizer(same, kind))
    different = 1.2 * features(2000, 1, 5, seed=1)
    assert clip_regularizer(different.expand(-1, 3, -1), kind) < 0.1 * got
    term = sigreg if kind == "sigreg" else variance_covariance
    torch.manual_seed(0)
    expected = term(noise.mean(dim=1) + 3.0)
    torch.manual_seed(0)
    torch.testing.assert_close(clip_regularizer(noise + 3.0, kind), expected)


def test_a_batch_of_one_clip_gives_the_variance_term_no_gradient() -> None:
    x = features(1, 4, 5).requires_grad_()
    clip_regularizer(x, "variance_covariance").backward()
    assert x.grad is not None
    assert (x.grad == 0).all()
