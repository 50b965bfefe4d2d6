"""The seed's own words: its snippet as it stands, and the loops that its readers will write."""

import pytest
import torch
from oracles.tiny import TINY, clips, same, tiny_model, weights

from nexus.models.ssl import VJEPAModel

# "Nexus Code Reference" in the seed document, unchanged. (It leaves `import torch` to the reader.)
SNIPPET = """
from nexus.models.ssl import VJEPAModel

config = {
    "encoder_dim": 768,
    "predictor_dim": 384,
    "num_frames": 16,
    "patch_size": 16,
    "tubelet_size": 2,
    "mask_ratio": 0.7,
    "temporal_mask_ratio": 0.5,
    "factorized": True,
    "num_spatial_layers": 8,
    "num_temporal_layers": 4,
    "num_predictor_layers": 6,
    "ema_momentum": 0.996
}

model = VJEPAModel(config)
video = torch.randn(4, 3, 16, 224, 224)  # (B, C, T, H, W)
loss, metrics = model(video)
"""


def test_the_snippet_runs_as_it_stands() -> None:
    """With one clip instead of four: nothing else is touched."""
    code = SNIPPET.replace("torch.randn(4,", "torch.randn(1,")
    assert code != SNIPPET
    namespace = {"torch": torch}
    exec(code, namespace)
    model, loss, metrics = (namespace[name] for name in ("model", "loss", "metrics"))
    assert isinstance(model, VJEPAModel)
    assert loss.shape == ()
    assert loss.isfinite()
    assert metrics["loss"] == pytest.approx(loss.item())
    # What the seed says of this model.
    assert model.context_encoder.embed.proj.weight.shape == (768, 3, 2, 16, 16)
    assert sum(p.numel() for p in model.context_encoder.parameters()) == pytest.approx(
        86e6, rel=0.01
    )
    mask = model.draw_masks(namespace["video"])[0]
    assert (mask.grid.time, mask.grid.height, mask.grid.width) == (8, 14, 14)
    assert mask.context.max() < 4 * 196  # the first half
    hidden = 1 - mask.context.shape[1] / mask.grid.tokens
    assert hidden == pytest.approx(0.7, abs=0.002)
    assert len(model.context_encoder.stack.spatial) == 8
    assert len(model.context_encoder.stack.temporal) == 4
    assert len(model.predictor.stack.blocks) == 6
    loss.backward()


def test_the_bare_loop_trains_with_a_moving_target() -> None:
    model = tiny_model(ema_momentum=0.9)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    online, start = weights(model.context_encoder), weights(model.target_encoder)
    target = start
    video, losses, moved = clips(4), [], 0
    for _ in range(60):
        loss, metrics = model(video)
        now = weights(model.target_encoder)
        moved += not same(now, target)
        target = now
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(metrics["loss"])
    assert moved == 59  # after each step but the last, which no forward pass has followed yet
    assert not same(target, start)
    assert not same(weights(model.context_encoder), online)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert metrics["target_drift"] > 0


def test_the_seeds_accumulation_moves_the_target_once_a_step() -> None:
    """Pitfall 1, with the tuple unpacked (the seed divides it) and eight parts a step."""
    model = tiny_model()
    optimizer = torch.optim.AdamW(model.parameters())
    model.enable_gradient_checkpointing()
    accumulation_steps = 8
    for i in range(24):
        loss, _ = model(clips(1, seed=i))
        loss = loss / accumulation_steps
        loss.backward()
        if (i + 1) % accumulation_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
        assert int(model.ema_step) == i // accumulation_steps


def test_the_seeds_mixed_precision_loop() -> None:
    """Optimization trick 6, with the gradients cleared (the seed forgets to)."""
    model = tiny_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu")
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss, _ = model(clips(4))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_the_seeds_switches() -> None:
    """`config["factorized"] = False` is joint attention with as many blocks."""
    joint = tiny_model(factorized=False)
    assert len(joint.context_encoder.stack.blocks) == 3
    config = dict(TINY)
    config["factorized"] = True
    factorized = VJEPAModel(config)
    counts = [sum(p.numel() for p in model.parameters()) for model in (joint, factorized)]
    assert counts[0] == counts[1]
