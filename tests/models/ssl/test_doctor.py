"""The doctor on real runs: alarmed where the run is made to collapse, silent where it is healthy.

A 48-d model on blobs that drift under noise; each run takes seconds. The thresholds' figures are in
`DoctorConfig`.
"""

from typing import Any

import pytest
import torch
from oracles.blobs import moving_blobs

from nexus.models.ssl import VJEPAModel
from nexus.models.ssl.collapse import Diagnosis, diagnose

MODEL: dict[str, Any] = {
    "img_size": 32,
    "in_chans": 1,
    "num_frames": 8,
    "patch_size": 8,
    "tubelet_size": 2,
    "encoder_dim": 48,
    "num_heads": 4,
    "num_spatial_layers": 2,
    "num_temporal_layers": 1,
    "mlp_ratio": 2.0,
    "predictor_dim": 32,
    "predictor_heads": 4,
    "num_predictor_layers": 1,
    "mask_ratio": 0.5,
    "ema_momentum": 0.97,
    "ema_momentum_end": 0.9995,
}


def readings(steps: int, *, seed: int, every: int = 20, **changes: Any) -> list[Diagnosis]:
    """Train, and let the doctor read the meters every few steps."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = VJEPAModel({**MODEL, "ema_steps": steps, **changes})
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    verdicts = []
    for step in range(steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50)
        read = step % every == 0
        loss, metrics = model(moving_blobs(16, generator), meters=read)
        if read:
            verdicts.append(diagnose(metrics))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return verdicts


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_without_stop_gradient_the_run_collapses(seed: int) -> None:
    verdicts = readings(100, seed=seed, stop_gradient=False)
    assert verdicts[0].status == "healthy"
    assert [verdict.status for verdict in verdicts[-2:]] == ["collapsed"] * 2
    assert "every clip gets nearly the same features" in verdicts[-1].reason


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_with_momentum_zero_the_alarm_is_raised(seed: int) -> None:
    verdicts = readings(120, seed=seed, ema_momentum=0.0, ema_schedule="constant")
    assert verdicts[0].status == "healthy"
    assert {verdict.status for verdict in verdicts[-3:]} <= {"collapsing", "collapsed"}


@pytest.mark.parametrize(
    "regularizer", ["variance_covariance", pytest.param("sigreg", marks=pytest.mark.slow)]
)
def test_a_healthy_run_raises_no_alarm(regularizer: str) -> None:
    verdicts = readings(120, seed=1, regularizer=regularizer)
    assert {verdict.status for verdict in verdicts} == {"healthy"}
