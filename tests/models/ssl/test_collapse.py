"""Collapse meters against numpy and loops; what the doctor says about readings."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import meters as slow

from nexus.models.ssl.collapse import (
    MAX_ROWS,
    DoctorConfig,
    centre_by_position,
    diagnose,
    effective_rank,
    measure,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), dim=st.integers(1, 20), rank=st.integers(1, 20))
def test_effective_rank_is_the_formula(rows: int, dim: int, rank: int) -> None:
    samples = noise(rows, rank) @ noise(rank, dim, seed=1)
    expected = slow.effective_rank(samples.numpy())
    assert effective_rank(samples) == pytest.approx(expected, rel=1e-3)


def test_effective_rank_of_known_matrices() -> None:
    assert effective_rank(torch.eye(7)) == pytest.approx(7)
    assert effective_rank(torch.ones(9, 5)) == pytest.approx(1)
    assert effective_rank(torch.zeros(9, 5)) == 0.0
    assert effective_rank(3e-8 * torch.eye(4)) == pytest.approx(4)
    assert math.isnan(effective_rank(torch.full((3, 3), torch.nan)))
    # Two singular values 3 and 1: exp(-(3/4 log 3/4 + 1/4 log 1/4)).
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(expected)


def test_effective_rank_of_many_samples_uses_a_part_of_them() -> None:
    samples = noise(5 * MAX_ROWS, 3) @ noise(3, 32, seed=1)
    assert effective_rank(samples) == pytest.approx(slow.effective_rank(samples.numpy()), rel=0.05)


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 4), tokens=st.integers(1, 5), seed=st.integers(0, 99))
def test_centring_is_the_loop(batch: int, tokens: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    positions = 7
    index = torch.stack(
        [torch.randperm(positions, generator=generator)[:tokens] for _ in range(batch)]
    )
    features = torch.randn(batch, tokens, 3, generator=generator)
    got = centre_by_position(features, index, positions).numpy()
    expected = slow.content(features.numpy(), index.numpy())
    assert len(got) == len(expected)
    if expected:
        np.testing.assert_allclose(got, np.stack(expected), atol=1e-5)


def test_what_depends_on_the_position_alone_is_not_content() -> None:
    index = torch.arange(6).expand(4, -1)
    of_position = noise(1, 6, 8).expand(4, -1, -1)
    meters, _ = measure("context", of_position, index, 6)
    assert meters["context_std"] == pytest.approx(0.0, abs=1e-6)
    assert meters["context_spread"] == pytest.approx(0.0, abs=1e-6)
    of_clip = 3.0 * noise(4, 6, 8, seed=1)
    meters, _ = measure("context", of_position + of_clip, index, 6)
    assert meters["context_std"] == pytest.approx(3.0, rel=0.2)
    # Content has nine times the energy of position: sqrt(9 / 10) of the size.
    assert meters["context_spread"] == pytest.approx(math.sqrt(0.9), rel=0.1)


@pytest.mark.parametrize("batch", [2, 3, 16])
def test_the_spread_of_pure_content_is_one_for_any_batch(batch: int) -> None:
    index = torch.arange(400).expand(batch, -1)
    meters, _ = measure("target", noise(batch, 400, 8), index, 400)
    assert meters["target_spread"] == pytest.approx(1.0, rel=0.03)
    assert meters["target_std"] == pytest.approx(1.0, rel=0.03)


def test_the_ranks_share_counts_what_width_and_samples_allow() -> None:
    index = torch.arange(4).expand(3, -1)
    meters, share = measure("context", noise(3, 4, 64), index, 4)
    assert share == pytest.approx(meters["context_rank"] / 12)
    wide = torch.arange(50).expand(20, -1)
    meters, share = measure("context", noise(20, 50, 8), wide, 50)
    assert share == pytest.approx(meters["context_rank"] / 8)
    assert share > 0.98


def test_a_single_clip_has_no_meters() -> None:
    meters, share = measure("context", noise(1, 6, 8), torch.arange(6).unsqueeze(0), 6)
    assert meters == {}
    assert math.isnan(share)


def reading(*, spread=0.7, rank=20.0, share=0.4, **changes: float) -> dict[str, float]:
    metrics = {"rank_share": share}
    for name in ("context", "target"):
        metrics |= {f"{name}_spread": spread, f"{name}_rank": rank, f"{name}_std": 0.5}
    return {**metrics, **changes}


@pytest.mark.parametrize(
    ("metrics", "status", "says"),
    [
        (reading(), "healthy", "70% of the features' size"),
        (reading(spread=0.01), "collapsed", "every clip gets nearly the same features"),
        (reading(target_spread=0.01), "collapsed", "1.0%"),
        (reading(context_spread=0.01), "collapsed", "1.0%"),
        (reading(rank=1.2), "collapsed", "1.2 directions"),
        (reading(target_rank=1.0), "collapsed", "1.0 directions"),
        (reading(spread=0.07), "collapsing", "7.0%"),
        (reading(rank=3.0), "collapsing", "3.0 directions"),
        (reading(share=0.01), "collapsing", "1.0% of those available"),
        (reading(context_spread=float("nan")), "unknown", "NaN"),
        (reading(target_spread=float("nan")), "unknown", "NaN"),
        (reading(target_rank=float("nan")), "unknown", "NaN"),
        ({"loss": 0.0}, "unknown", "no meters"),
    ],
)
def test_the_doctor(metrics: dict[str, float], status: str, says: str) -> None:
    diagnosis = diagnose(metrics)
    assert diagnosis.status == status
    assert says in diagnosis.reason


def test_the_doctors_thresholds_can_be_moved() -> None:
    strict = DoctorConfig(collapsed_spread=0.8)
    assert diagnose(reading(), strict).status == "collapsed"
    assert diagnose(reading(rank=3.0), DoctorConfig(collapsing_rank=2.0)).status == "healthy"
