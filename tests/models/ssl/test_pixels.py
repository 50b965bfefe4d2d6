"""The pixel-prediction baseline: its targets, its loss, and the interface that it shares."""

import numpy as np
import pytest
import torch
from oracles.tiny import TINY, clips, same, stir, weights

from nexus.errors import VideoShapeError
from nexus.models.ssl import PixelModel, build_model


def pixel_model(**changes) -> PixelModel:
    torch.manual_seed(0)
    model = build_model({"kind": "pixels", **TINY, **changes})
    assert isinstance(model, PixelModel)
    return model


def tubelet(video: torch.Tensor, clip: int, token: int) -> torch.Tensor:
    time, place = divmod(token, 16)
    row, col = divmod(place, 4)
    return video[
        clip, :, 2 * time : 2 * time + 2, 4 * row : 4 * row + 4, 4 * col : 4 * col + 4
    ].flatten()


@pytest.mark.parametrize("target", ["raw", "normalised"])
def test_targets_are_the_tubelets_values(target: str) -> None:
    video = 3.0 * clips() + 1.0
    targets = pixel_model(target=target).pixel_targets(video)
    for clip in range(2):
        for token in (0, 5, 63):
            values = tubelet(video, clip, token)
            if target == "normalised":
                mean = values.sum() / len(values)
                variance = (values - mean).square().sum() / (len(values) - 1)
                values = (values - mean) / (variance + 1e-6).sqrt()
            torch.testing.assert_close(targets[clip, token], values)


@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_the_loss_is_the_error_of_hidden_tubelets(loss: str) -> None:
    model, video = pixel_model(loss=loss, mask="random"), clips()
    stir(model, scale=0.1)
    torch.manual_seed(1)
    got, metrics = model(video)
    # A predictor that always says zero: what is left is the pixels' own size.
    with torch.no_grad():
        model.predictor.proj.weight.zero_()
        model.predictor.proj.bias.zero_()
    torch.manual_seed(1)
    zero, _ = model(video)
    assert metrics["prediction_loss"] == pytest.approx(got.item())
    size = video.square().mean() if loss == "mse" else video.abs().mean()
    assert zero.item() == pytest.approx(size.item(), rel=0.05)
    assert got.item() > zero.item()


def test_it_learns_a_clip_by_heart() -> None:
    model, video = pixel_model(mask_ratio=0.5), clips(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        loss, _ = model(video, meters=False)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("regularizer", ["none", "variance_covariance", "sigreg"])
def test_every_parameter_gets_a_gradient(regularizer: str) -> None:
    model = pixel_model(regularizer=regularizer)
    stir(model, scale=0.05)
    loss, metrics = model(clips(3))
    loss.backward()
    assert ("regularizer_loss" in metrics) is (regularizer != "none")
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_it_answers_as_the_v_jepa_model_does() -> None:
    model = pixel_model()
    before = weights(model)
    assert model.update_target(3) == 0.0
    assert same(before, weights(model))
    assert model.evaluation_encoder("target") is model.evaluation_encoder("context")
    _, metrics = model(clips(4))
    assert all(type(value) is float and np.isfinite(value) for value in metrics.values())
    assert metrics["context_spread"] == metrics["target_spread"]
    assert 0 < metrics["rank_share"] <= 1
    _, metrics = model(clips(4), meters=False)
    assert set(metrics) == {"loss", "prediction_loss"}


def test_checkpointing_changes_no_gradient() -> None:
    model, gradients = pixel_model(), []
    for enabled in (False, True):
        model.enable_gradient_checkpointing(enabled)
        model.zero_grad()
        torch.manual_seed(4)
        model(clips())[0].backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert same(*gradients)


def test_bad_values_are_refused() -> None:
    video = clips()
    video[0, 0, 0, 0, 0] = torch.inf
    with pytest.raises(VideoShapeError, match="1 of 2 clips"):
        pixel_model()(video)


def test_single_images_are_no_business_of_pixel_prediction():
    model = PixelModel({**TINY, "image_input": True})
    with pytest.raises(VideoShapeError, match="got 1 frame; pixels are predicted for clips of"):
        model(clips(frames=1))
