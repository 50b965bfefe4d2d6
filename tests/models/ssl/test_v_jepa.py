"""The V-JEPA model as a whole: its loss, its gradients, its meters, and how it may be handled."""

import jaxtyping
import numpy as np
import pytest
import torch
from oracles import attention as slow
from oracles.losses import prediction_error
from oracles.tiny import clips, same, stir, tiny_model
from torch import Tensor

from nexus.errors import VideoShapeError
from nexus.models.encoder import VideoEncoder
from nexus.models.objectives.prediction import Prediction, trivial_ratios
from nexus.models.ssl import VJEPAModel
from nexus.nn.grid import Grid, TokenLayout

ARMS = {
    "seed": {},
    "joint": {"factorized": False},
    "biased": {"mask": "future_biased", "loss": "l1", "target_norm": "layer"},
    "tube, cosine": {"mask": "tube", "target_norm": "l2"},
    "random, sigreg": {"mask": "random", "regularizer": "sigreg"},
    "small": {"regularizer": "variance_covariance", "mask_ratio": 0.5, "target_norm": "layer"},
    "target frames": {"target_input": "target_frames"},
    "sincos": {"positions": "sincos", "drop_path": 0.2},
    "no stop-gradient": {"stop_gradient": False},
}


def encode_slowly(encoder: VideoEncoder, video: Tensor, layout: TokenLayout) -> Tensor:
    tokens = encoder.embed(video, layout) + encoder.positions(layout)
    stack = slow.factorized(encoder.stack, tokens, layout)
    return torch.stack([slow.layer_norm(encoder.norm, clip) for clip in stack])


@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_the_loss_is_the_seeds_formula(loss: str) -> None:
    """encoder -> predictor -> mean error against the target encoder's features, all by loops."""
    model = tiny_model(num_spatial_layers=1, loss=loss, img_size=8).double()
    stir(model, scale=0.1)
    video = clips(2, height=8, width=8).double()
    torch.manual_seed(3)
    got, metrics = model(video)
    torch.manual_seed(3)
    mask = model.draw_masks(video)[0]
    with torch.no_grad():
        context = encode_slowly(model.context_encoder, video, mask.context_layout)
        target = encode_slowly(model.target_encoder, video, TokenLayout.full(mask.grid))
        predictor, errors = model.predictor, []
        for clip in range(2):
            seen = slow.affine(predictor.embed, context[clip])
            seen = seen + predictor.positions(mask.context_layout)[clip]
            asked = predictor.mask_tokens[0] + predictor.positions(mask.target_layout)[clip]
            tokens = slow.joint(predictor.stack, torch.cat([seen, asked]).unsqueeze(0))[0]
            tokens = slow.layer_norm(predictor.norm, tokens[len(seen) :])
            predicted = slow.affine(predictor.proj, tokens)
            wanted = target[clip, mask.target[clip]]
            errors.append(prediction_error(predicted.numpy(), wanted.numpy(), loss))
    assert got.item() == pytest.approx(np.mean(errors), rel=1e-5)
    assert metrics["loss"] == metrics["prediction_loss"] == pytest.approx(got.item())


@pytest.mark.parametrize("arm", ARMS)
def test_every_trainable_parameter_gets_a_gradient_and_no_target_parameter_does(arm: str) -> None:
    model = tiny_model(**ARMS[arm])
    stir(model, scale=0.05)
    loss, _ = model(clips(3))
    loss.backward()
    for name, parameter in model.named_parameters():
        if name.startswith("target_encoder."):
            assert not parameter.requires_grad
            assert parameter.grad is None, name
        else:
            assert parameter.requires_grad
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("stop", [True, False])
def test_stop_gradient_is_what_it_says(stop: bool) -> None:
    """Without it the targets come from the context encoder itself, which they train too."""
    model = tiny_model(stop_gradient=stop, mask_ratio=0.5)
    stir(model.context_encoder, scale=0.1)
    out = model.predict(clips())
    source = model.target_encoder if stop else model.context_encoder
    expected = out.mask.target_layout.select(source(clips()))
    torch.testing.assert_close(out.target, expected)
    assert out.target.requires_grad is not stop
    if not stop:
        out.target.square().mean().backward()
        assert model.context_encoder.embed.proj.weight.grad.abs().sum() > 0


def test_only_the_regularizer_trains_when_prediction_weighs_nothing() -> None:
    model = tiny_model(prediction_weight=0.0, regularizer="variance_covariance")
    loss, metrics = model(clips(4))
    loss.backward()
    assert loss.item() == pytest.approx(0.1 * metrics["regularizer_loss"])
    assert all((p.grad == 0).all() for p in model.predictor.parameters())
    assert model.context_encoder.embed.proj.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("arm", ARMS)
def test_checkpointing_changes_no_gradient(arm: str) -> None:
    model, gradients, losses = tiny_model(**ARMS[arm]), [], []
    stir(model, scale=0.1)
    for enabled in (False, True):
        model.enable_gradient_checkpointing(enabled)
        model.zero_grad()
        torch.manual_seed(4)
        loss, _ = model(clips(2))
        loss.backward()
        losses.append(loss.item())
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert losses[0] == losses[1]
    assert same(*gradients)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("arm", ["seed", "joint", "biased", "small"])
def test_mixed_precision(arm: str, dtype: torch.dtype) -> None:
    model = tiny_model(**ARMS[arm])
    stir(model, scale=0.05)
    torch.manual_seed(4)
    exact, _ = model(clips(4))
    torch.manual_seed(4)
    with torch.autocast("cpu", dtype=dtype):
        loss, metrics = model(clips(4))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.03)
    assert all(np.isfinite(value) for value in metrics.values())
    loss.backward()
    for parameter in model.parameters():
        assert parameter.dtype == torch.float32
        if parameter.requires_grad:
            assert parameter.grad.dtype == torch.float32
            assert parameter.grad.isfinite().all()


def test_mixed_precision_with_checkpointing_and_dropped_paths() -> None:
    model = tiny_model(drop_path=0.3)
    model.enable_gradient_checkpointing()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = model(clips(4))
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_a_state_dict_loads_strictly() -> None:
    model, other = tiny_model(seed=1), tiny_model(seed=2)
    video = clips()
    other.load_state_dict(model.state_dict(), strict=True)
    torch.manual_seed(0)
    first, _ = model.eval()(video)
    torch.manual_seed(0)
    second, _ = other.eval()(video)
    assert first.item() == second.item()
    state = model.state_dict()
    assert sum(name.startswith("target_encoder.") for name in state) == sum(
        name.startswith("context_encoder.") for name in state
    )
    lacking = {name: value for name, value in state.items() if "spatial.1." not in name}
    with pytest.raises(RuntimeError, match=r"Missing key.*spatial\.1\."):
        other.load_state_dict(lacking)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*extra"):
        other.load_state_dict({**state, "extra": torch.zeros(1)})
    with pytest.raises(RuntimeError, match="size mismatch"):
        tiny_model(encoder_dim=16).load_state_dict(state)


@pytest.mark.parametrize("arm", ARMS)
def test_a_batch_of_one(arm: str) -> None:
    model = tiny_model(**ARMS[arm])
    loss, metrics = model(clips(1))
    loss.backward()
    assert loss.isfinite()
    assert all(np.isfinite(value) for value in metrics.values())
    assert "context_spread" not in metrics  # one clip cannot tell content from position


@pytest.mark.parametrize("arm", ["seed", "joint", "biased", "tube, cosine", "random, sigreg"])
@pytest.mark.parametrize("shape", [(4, 16, 16), (16, 16, 16), (8, 24, 8), (12, 20, 28)])
def test_other_lengths_and_resolutions(arm: str, shape: tuple[int, int, int]) -> None:
    frames, height, width = shape
    model = tiny_model(**ARMS[arm])
    video = clips(2, frames=frames, height=height, width=width)
    loss, _ = model(video)
    loss.backward()
    assert loss.isfinite()
    assert model.draw_masks(video)[0].grid == Grid(frames // 2, height // 4, width // 4)


def test_a_clip_too_short_for_its_mask_is_refused() -> None:
    with pytest.raises(VideoShapeError, match="needs at least two time steps, got 1"):
        tiny_model()(clips(frames=2))
    loss, _ = tiny_model(mask="tube")(clips(frames=2))
    assert loss.isfinite()


def test_bad_videos_are_refused_at_the_door() -> None:
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        model = tiny_model()
        bad = clips()
        bad[1, 0, 0, 0, 0] = torch.nan
        for video, says in (
            (clips().long(), "int64"),
            (clips()[0], "5 dimensions"),
            (clips(frames=7), "tubelet_size 2"),
            (bad, "NaN or infinite values in 1 of 2 clips"),
        ):
            with pytest.raises(VideoShapeError, match=says):
                model(video)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


METERS = {
    "context_std", "target_std", "context_spread", "target_spread", "context_rank", "target_rank",
    "rank_share", "error_vs_mean", "error_vs_copy", "target_drift",
}  # fmt: skip


def test_metrics_are_plain_numbers_and_meters_can_be_left_out() -> None:
    model = tiny_model(regularizer="sigreg")
    _, metrics = model(clips(4))
    losses = {"loss", "prediction_loss", "regularizer_loss"}
    assert set(metrics) == losses | METERS
    assert all(type(value) is float for value in metrics.values())
    _, metrics = model(clips(4), meters=False)
    assert set(metrics) == losses
    assert metrics["loss"] == pytest.approx(
        metrics["prediction_loss"] + 0.1 * metrics["regularizer_loss"]
    )


def test_meters_draw_nothing_and_change_nothing() -> None:
    losses = []
    for meters in (True, False):
        model = tiny_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        torch.manual_seed(2)
        for step in range(3):
            loss, _ = model(clips(3, seed=step), meters=meters)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("mask", ["tube", "random"])
def test_a_mask_without_a_future_has_no_copy_to_beat(mask: str) -> None:
    _, metrics = tiny_model(mask=mask)(clips(4))
    assert "error_vs_copy" not in metrics
    assert "error_vs_mean" in metrics


@pytest.mark.parametrize("loss", ["mse", "l1"])
@pytest.mark.parametrize("arm", [{"mask_ratio": 0.5}, {"mask_ratio": 0.7}, {"targets": "future"}])
def test_trivial_predictors_are_the_loops(arm: dict, loss) -> None:
    model = tiny_model(**arm)
    stir(model, scale=0.1)
    video = clips(3)
    out = model.predict(video, model.draw_masks(video, torch.Generator().manual_seed(0))[0])
    features = model.target_encoder(video).detach()
    power = 2 if loss == "mse" else 1
    errors = (out.predicted - out.target).detach().abs().pow(power).mean(dim=-1)
    aligned = torch.equal(out.mask.target[0], out.mask.target[1])
    copy_error = own_error = mean_error = 0.0
    for clip in range(3):
        for row, token in enumerate(out.mask.target[clip].tolist()):
            step, place = divmod(token, 16)
            wanted = features[clip, token]
            if step >= 2:  # the context is steps 0 and 1
                copied = features[clip, 1 * 16 + place]
                copy_error += (copied - wanted).abs().pow(power).mean().item()
                own_error += errors[clip, row].item()
            if aligned:
                others = [features[other, token] for other in range(3) if other != clip]
                mean = sum(others) / 2
            else:
                mean = out.target.mean(dim=(0, 1))
            mean_error += (mean - wanted).abs().pow(power).mean().item()
    ratios = trivial_ratios(out, loss)
    assert ratios["error_vs_copy"] == pytest.approx(own_error / copy_error, rel=1e-4)
    assert ratios["error_vs_mean"] == pytest.approx(errors.sum().item() / mean_error, rel=1e-4)


def test_a_perfect_prediction_beats_and_a_copy_ties_with_copying() -> None:
    model, video = tiny_model(mask_ratio=0.5), clips(3)
    out = model.predict(video)
    assert out.copied is not None

    def ratio(predicted: Tensor) -> float:
        given = Prediction(out.mask, out.context, predicted, out.target, out.copied)
        return trivial_ratios(given, "mse")["error_vs_copy"]

    assert ratio(out.target) == 0.0
    assert ratio(out.copied) == pytest.approx(1.0)


def test_the_target_drift_is_a_share_of_the_weights_length() -> None:
    model = tiny_model()
    assert model.target_drift() == 0.0
    with torch.no_grad():
        for parameter in model.target_encoder.parameters():
            parameter.mul_(1.25)
    assert model.target_drift() == pytest.approx(0.25, rel=1e-5)


def test_predict_asks_for_everything_after_the_contexts_frames() -> None:
    model = tiny_model(mask_ratio=0.7)
    out = model.predict(clips())
    assert out.mask.context.tolist() == [list(range(32))] * 2
    assert out.mask.target.tolist() == [list(range(32, 64))] * 2
    assert out.steps_ahead.tolist() == [[1] * 16 + [2] * 16] * 2
    out = tiny_model(mask="tube").predict(clips(frames=6))
    assert out.steps_ahead.unique().tolist() == [1, 2]
    out = tiny_model(context_frames=2, future_frames=4, mask_ratio=0.1).predict(clips())
    assert out.mask.target.tolist() == [list(range(16, 48))] * 2


def test_predict_leaves_the_target_alone_and_needs_no_gradient() -> None:
    model = tiny_model()
    with torch.no_grad():
        out = model.predict(clips())
    assert not out.predicted.requires_grad
    assert not out.target.requires_grad
    assert out.predicted.shape == out.target.shape


def test_both_encoders_can_be_had() -> None:
    model = tiny_model()
    assert model.evaluation_encoder() is model.target_encoder
    assert model.evaluation_encoder("target") is model.target_encoder
    assert model.evaluation_encoder("context") is model.context_encoder


def test_a_seed_fixes_the_run() -> None:
    runs = []
    for _ in range(2):
        model = tiny_model(drop_path=0.2, regularizer="sigreg")
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for step in range(3):
            loss, _ = model(clips(seed=step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        runs.append([value.clone() for value in model.state_dict().values()])
    assert same(*runs)


def test_a_config_object_is_taken_as_it_is() -> None:
    config = tiny_model().config
    assert VJEPAModel(config).config is config


def test_targets_are_never_thinned_by_drop_path():
    model = tiny_model(drop_path=0.9).train()
    assert model.context_encoder.training and not model.target_encoder.training
    video = clips(8)
    assert torch.equal(model.target_encoder(video), model.target_encoder(video))
    assert not torch.equal(model.context_encoder(video), model.context_encoder(video))
