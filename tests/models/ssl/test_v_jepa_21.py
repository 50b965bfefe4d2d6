"""V-JEPA 2 and 2.1 as a whole: levels, dense context loss, images, against slow loops."""

import math
from typing import Any

import pytest
import torch
from oracles import v_jepa_21 as slow
from oracles.tiny import clips, same, stir, tiny_model
from torch import Tensor

from nexus.errors import ConfigError
from nexus.masks.multiblock import BlockFamily
from nexus.models.objectives.losses import context_weights, normalise_targets
from nexus.models.ssl import VJEPAConfig, VJEPAModel
from nexus.nn.grid import Grid

V2: dict[str, Any] = {
    "img_size": (12, 16),
    "num_frames": 4,
    "encoder_dim": 16,
    "predictor_dim": 28,
    "factorized": False,
    "num_spatial_layers": 4,
    "num_temporal_layers": 0,
    "positions": "rope_tiled",
    "num_mask_tokens": 10,
    "mask_token_std": 0.0,
    "mask": "multiblock",
    "mask_blocks": (BlockFamily(num_blocks=3), BlockFamily(num_blocks=1, spatial_scale=(0.7, 0.7))),
    "loss": "l1",
    "target_norm": "layer",
}
V21: dict[str, Any] = {
    **V2,
    "positions": "rope_interleaved",
    "rope_stretch": 16,
    "image_input": True,
    "modality_embedding": True,
    "num_mask_tokens": 8,
    "feature_levels": (0, 1, 2, 3),
    "predicted_levels": 4,
    "predicts_context": True,
    "context_loss_weight": 0.5,
}
ARMS: dict[str, dict[str, Any]] = {
    "2.0": V2,
    "2.1": V21,
    "2.1, one level": {**V21, "predicted_levels": 1},
    "2.1, another mask token": {**V21, "mask_token": 5},
}


def model_for(arm: str, **changes: Any) -> VJEPAModel:
    model = tiny_model(**{**ARMS[arm], **changes})
    stir(model, scale=0.1)
    return model


def video_of(frames: int, batch: int = 2, seed: int = 0) -> Tensor:
    return clips(batch, seed=seed, frames=frames, height=12, width=16)


@pytest.mark.parametrize(
    ("arm", "frames"), [(arm, 4) for arm in ARMS] + [("2.1", 1), ("2.1, one level", 1)]
)
def test_the_loss_is_the_published_formula(arm: str, frames: int) -> None:
    """Two families of masks, layer-normed levels, L1, context weighted by 1 / sqrt(distance)."""
    model, video = model_for(arm).double(), video_of(frames).double()
    torch.manual_seed(3)
    loss, metrics = model(video)
    torch.manual_seed(3)
    masks = model.draw_masks(video)
    assert len(masks) == 2
    assert masks[0].grid == Grid(max(1, frames // 2), 3, 4)
    with torch.no_grad():
        at_targets, at_context = slow.losses(model, video, masks)
    assert metrics["prediction_loss"] == pytest.approx(at_targets, rel=1e-5)
    if arm == "2.0":
        assert "context_loss" not in metrics
        assert loss.item() == pytest.approx(at_targets, rel=1e-5)
    else:
        assert metrics["context_loss"] == pytest.approx(at_context, rel=1e-5)
        assert loss.item() == pytest.approx(at_targets + 0.5 * at_context, rel=1e-5)


@pytest.mark.parametrize("arm", ARMS)
def test_predictions_and_targets_are_the_formula(arm: str) -> None:
    """What the loss compares, token by token, in double precision."""
    model, video = model_for(arm).double().eval(), video_of(4).double()
    config, sides = model.config, (2, 3, 4)
    mask = model.draw_masks(video, torch.Generator().manual_seed(3))[0]
    with torch.no_grad():
        out = model.predict(video, mask)
    exact = {"rtol": 1e-10, "atol": 1e-10}
    for clip in range(2):
        seen, asked = mask.context[clip].tolist(), mask.target[clip].tolist()
        with torch.no_grad():
            context = slow.encode(model.context_encoder, video[clip], seen)
            context = slow.side_by_side(context, config.predicted_levels)
            at_targets, at_context = slow.predict(
                model.predictor, context, seen, asked, sides, mask_token=config.mask_token
            )
            wanted = slow.encode(model.target_encoder, video[clip], list(range(24)))
            wanted = slow.side_by_side(wanted, config.predicted_levels)
            wanted = torch.stack([slow.normed(row, config.predicted_levels) for row in wanted])
        torch.testing.assert_close(out.context[clip], context, **exact)
        torch.testing.assert_close(out.predicted[clip], at_targets, **exact)
        torch.testing.assert_close(out.target[clip], wanted[asked], **exact)
        if at_context is None:
            assert out.predicted_context is None
        else:
            torch.testing.assert_close(out.predicted_context[clip], at_context, **exact)
            torch.testing.assert_close(out.context_target[clip], wanted[seen], **exact)


def test_every_trainable_parameter_gets_a_gradient() -> None:
    """From a video and an image together: each has weights that the other does not use."""
    model = model_for("2.1")
    for frames in (4, 1):
        loss, _ = model(video_of(frames, batch=3))
        loss.backward()
    for name, parameter in model.named_parameters():
        if name.startswith("target_encoder."):
            assert not parameter.requires_grad
            assert parameter.grad is None, name
            continue
        assert parameter.requires_grad
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
        if "level_norms" in name or name == "predictor.embed.0.weight":
            assert (parameter.grad != 0).float().mean() > 0.99, name


def test_only_the_chosen_mask_token_is_trained() -> None:
    model = model_for("2.1, another mask token")
    model(video_of(4))[0].backward()
    used = (model.predictor.mask_tokens.grad != 0).any(dim=1).tolist()
    assert used == [number == 5 for number in range(8)]


def test_the_target_encoder_sees_the_clip_once_for_all_masks() -> None:
    model, seen = model_for("2.1"), []
    model.target_encoder.stack.register_forward_hook(lambda *_: seen.append(None))
    model(video_of(4))
    assert len(seen) == 1


@pytest.mark.parametrize("arm", ["2.0", "2.1"])
def test_checkpointing_changes_no_gradient(arm: str) -> None:
    gradients = []
    for enabled in (False, True):
        model = model_for(arm)
        model.enable_gradient_checkpointing(enabled)
        torch.manual_seed(4)
        model(video_of(4))[0].backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert same(*gradients)


@pytest.mark.parametrize("arm", ["2.0", "2.1"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision(arm: str, dtype: torch.dtype) -> None:
    model, losses = model_for(arm), []
    for enabled in (False, True):
        torch.manual_seed(4)
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            loss, metrics = model(video_of(4, batch=4))
        losses.append(loss)
        assert all(math.isfinite(value) for value in metrics.values())
    assert losses[1].dtype == torch.float32
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.03)
    losses[1].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("warmup", "expected"),
    [
        ((0, 0), [0.5] * 7),
        ((2, 6), [0.0, 0.0, 0.0, 0.125, 0.25, 0.375, 0.5]),
        ((0, 4), [0.0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5]),
        ((3, 3), [0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5]),
    ],
)
def test_the_context_loss_warms_up_with_the_optimizers_steps(
    warmup: tuple[int, int], expected: list[float]
) -> None:
    model = tiny_model(**V21, context_loss_warmup=warmup)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for weight in expected:
        torch.manual_seed(0)
        loss, metrics = model(video_of(4), meters=False)
        weighted = loss.item() - metrics["prediction_loss"]
        assert weighted == pytest.approx(weight * metrics["context_loss"], abs=1e-6)
        optimizer.zero_grad()
        loss.backward()
        silent = model.predictor.proj_context.weight.grad.abs().sum() == 0
        assert bool(silent) is (weight == 0.0)
        optimizer.step()


def test_in_the_cooldown_context_tokens_count_alike() -> None:
    """By distance up to a step, then the plain mean of their errors, as the formula says."""
    model = tiny_model(**V21, context_weighting_end=2)
    video, found, kept = video_of(4), [], []
    original = model.objective.__call__

    def watch(predictions, step):
        kept.append(predictions)
        return original(predictions, step)

    model.objective = watch
    for _ in range(4):
        torch.manual_seed(0)
        found.append(model(video, meters=False)[1]["context_loss"])
        model.update_target()
    for number, predictions in enumerate(kept):
        means = []
        for out in predictions:
            errors = (out.predicted_context - out.context_target).abs().mean(dim=-1)
            if number < 2:
                errors = errors * context_weights(out.mask.context, out.mask.target, out.mask.grid)
            means.append(errors.mean())
        wanted = torch.stack(means).mean().item()
        assert found[number] == pytest.approx(wanted, rel=1e-5)


def weight(model: VJEPAModel) -> float:
    return model.objective.context_loss_weight(int(model.ema_step))


def test_a_resumed_run_goes_on_with_its_warm_up() -> None:
    model = model_for("2.1", context_loss_warmup=(0, 4))
    for _ in range(3):
        model.update_target()
    other = model_for("2.1", context_loss_warmup=(0, 4))
    assert weight(other) == 0.0
    other.load_state_dict(model.state_dict())
    assert weight(other) == weight(model) == 0.375


def test_context_tokens_near_the_targets_count_most() -> None:
    """1 / sqrt(distance in tokens to the nearest target), over time, rows and columns."""
    grid, sides = Grid(3, 3, 4), (3, 3, 4)
    generator = torch.Generator().manual_seed(0)
    order = torch.stack([torch.randperm(36, generator=generator) for _ in range(3)])
    context, target = order[:, 4:], order[:, :4]
    weights = context_weights(context, target, grid)
    for clip in range(3):
        for row, number in enumerate(context[clip].tolist()):
            distance = slow.nearest(number, target[clip].tolist(), sides)
            assert weights[clip, row].item() == pytest.approx(distance**-0.5, rel=1e-6)
    alone = context_weights(torch.tensor([[1, 4, 12, 35]]), torch.tensor([[0]]), grid)
    expected = [1.0, 1.0, 1.0, (4 + 4 + 9) ** -0.25]
    assert alone[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_levels_are_normed_one_by_one() -> None:
    """A loud level must not drown a quiet one."""
    features = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0)).double()
    features[..., :4] *= 100
    for levels in (1, 2, 3):
        got = normalise_targets(features, "layer", levels)
        for clip in range(2):
            for token in range(3):
                expected = slow.normed(features[clip, token], levels)
                torch.testing.assert_close(got[clip, token], expected)
    lengths = normalise_targets(features, "l2", 3).unflatten(-1, (3, 4)).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_an_image_is_not_a_video_of_one_frame() -> None:
    """It has a patch embedding, a modality and a time step of its own."""
    model = model_for("2.1").eval()
    image = video_of(1)
    twice = image.expand(-1, -1, 2, -1, -1)
    features = model.target_encoder(image)
    assert features.shape == model.target_encoder(twice).shape == (2, 12, 16)
    assert not torch.allclose(features, model.target_encoder(twice), atol=0.1)
    assert torch.equal(features[:1], model.target_encoder(image[:1]))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"context_loss_weight": 0.0}, "belong together: the weight is 0.0"),
        ({"predicts_context": False}, "belong together: the weight is 0.5"),
        ({"context_loss_warmup": (5, 2)}, "context_loss_warmup must rise, got [5, 2]"),
        ({"target_input": "target_frames"}, "predicts_context needs the context's targets"),
        ({"img_size": 4}, "needs at least two places"),
        ({"mask_blocks": ()}, "mask_blocks"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, says: str) -> None:
    sizes = tiny_model(**V21).config.to_mapping()
    with pytest.raises(ConfigError) as caught:
        VJEPAConfig.from_mapping({**sizes, **changes})
    assert says in str(caught.value)
