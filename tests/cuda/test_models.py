"""The models give on a GPU what they give on the CPU; half precision, compilation, checkpoints."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nexus.models.ssl import VJEPAModel
from nexus.models.worlds.action_predictor import ActionPredictor, ActionPredictorConfig
from nexus.nn.grid import Grid

pytestmark = pytest.mark.cuda

SMALL = {
    "img_size": 32, "num_frames": 8, "patch_size": 8, "encoder_dim": 48, "num_heads": 2,
    "num_spatial_layers": 2, "num_temporal_layers": 1, "predictor_dim": 24, "predictor_heads": 2,
    "num_predictor_layers": 2,
}  # fmt: skip
KINDS = {
    "seed": {},
    "joint": {"factorized": False, "regularizer": "variance_covariance"},
    "vjepa2": {
        "factorized": False, "positions": "rope_tiled", "mask": "multiblock", "loss": "l1",
        "target_norm": "layer", "num_mask_tokens": 10, "mask_token_std": 0.0,
    },
    "vjepa2.1": {
        "factorized": False, "positions": "rope_interleaved", "mask": "multiblock", "loss": "l1",
        "target_norm": "layer", "feature_levels": [0, 2], "predicted_levels": 2,
        "predicts_context": True, "context_loss_weight": 0.5, "modality_embedding": True,
    },
}  # fmt: skip


def model_of(kind: str) -> VJEPAModel:
    torch.manual_seed(0)
    return VJEPAModel({**SMALL, **KINDS[kind]}).train()


def clips(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))


def loss_and_gradients(model: VJEPAModel, video: torch.Tensor):
    torch.manual_seed(2)  # masks are drawn on the CPU, whatever the device
    loss, metrics = model(video)
    loss.backward()
    gradients = {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}
    return loss.item(), metrics, gradients


@pytest.mark.parametrize("kind", KINDS)
def test_loss_meters_and_gradients_are_those_of_the_cpu(kind: str, device: str) -> None:
    here, there = model_of(kind), model_of(kind).to(device)
    loss, metrics, gradients = loss_and_gradients(here, clips())
    other, other_metrics, other_gradients = loss_and_gradients(there, clips().to(device))
    assert other == pytest.approx(loss, rel=1e-4)
    assert other_metrics == pytest.approx(metrics, rel=1e-3, abs=1e-4)
    assert other_gradients.keys() == gradients.keys()
    largest = max(g.abs().max().item() for g in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            other_gradients[name], gradient, rtol=1e-3, atol=1e-4 * largest, msg=name
        )


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_near(kind: str, precision: torch.dtype, device: str) -> None:
    model = model_of(kind).to(device)
    loss, _, _ = loss_and_gradients(copy.deepcopy(model), clips().to(device))
    with torch.autocast(device, precision):
        half, metrics, gradients = loss_and_gradients(model, clips().to(device))
    assert half == pytest.approx(loss, rel=0.05)
    assert all(torch.isfinite(g).all() for g in gradients.values())
    assert metrics["loss"] == pytest.approx(half, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_checkpointing_changes_memory_only(kind: str, device: str) -> None:
    plain, thrifty = model_of(kind).to(device), model_of(kind).to(device)
    thrifty.enable_gradient_checkpointing()
    loss, _, gradients = loss_and_gradients(plain, clips().to(device))
    other, _, other_gradients = loss_and_gradients(thrifty, clips().to(device))
    assert other == pytest.approx(loss, rel=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(other_gradients[name], gradient, rtol=1e-4, atol=1e-6)


def test_compiled_blocks_give_the_same(device: str) -> None:
    """In a process of its own: the compiler cannot look through the tests' shape checks."""
    cases = ["rotary/stacks"]
    done = subprocess.run(
        [sys.executable, "-m", "oracles.compiled", "inductor", *cases],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "NEXUS_TEST_DEVICE": device},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [f"as eager: {case}" for case in cases]


def test_the_target_follows_the_context(device: str) -> None:
    here, there = model_of("joint"), model_of("joint").to(device)
    for model in (here, there):
        with torch.no_grad():
            for parameter in model.context_encoder.parameters():
                parameter.add_(0.1)
        model.update_target(0)
    for mine, other in zip(
        here.target_encoder.parameters(), there.target_encoder.parameters(), strict=True
    ):
        torch.testing.assert_close(other.cpu(), mine)
    assert int(there.ema_step) == 1


def test_an_action_predictor_predicts_the_same(device: str) -> None:
    torch.manual_seed(0)
    config = ActionPredictorConfig(
        in_dim=24, predictor_dim=36, depth=2, heads=2, img_size=32, patch_size=16
    )
    model = ActionPredictor(config).eval()
    given = [torch.randn(2, 3 * 4, 24), torch.randn(2, 3, 7), torch.randn(2, 3, 7)]
    expected = model(*given, grid=Grid(3, 2, 2))
    got = model.to(device)(*(tensor.to(device) for tensor in given), grid=Grid(3, 2, 2))
    torch.testing.assert_close(got.cpu(), expected, rtol=1e-4, atol=1e-4)
