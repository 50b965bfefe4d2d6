"""Nothing that is masked reaches the context: bit for bit, for every mask and every stack."""

import pytest
import torch
from oracles.tiny import clips, stir, tiny_model
from torch import Tensor

from nexus.masks.config import draw_masks
from nexus.masks.token_mask import TokenMask
from nexus.models.ssl import PixelConfig, PixelModel, VJEPAModel

WIDE = {"encoder_dim": 12, "predictor_dim": 12}  # heads of six dimensions
MASKS = {
    "future": {"mask_ratio": 0.5},
    "future and tubes": {"mask_ratio": 0.7},
    "future, two steps of four": {"context_frames": 2, "future_frames": 4, "mask_ratio": 0.1},
    "future only": {"mask_ratio": 0.7, "targets": "future"},
    "future biased": {"mask": "future_biased"},
    "tube": {"mask": "tube"},
    "random": {"mask": "random"},
    "multiblock": {"mask": "multiblock"},
}
STACKS = {
    "factorized": {"factorized": True},
    "joint": {"factorized": False},
    "tiled rotary": {"factorized": False, "positions": "rope_tiled", **WIDE},
    "interleaved rotary": {"factorized": False, "positions": "rope_interleaved", **WIDE},
}
MODES = ["eval", "train", "checkpointing"]


def model_for(mask: str, stack: str, **changes) -> VJEPAModel:
    model = tiny_model(**STACKS[stack], **MASKS[mask], **changes)
    stir(model, scale=0.1)
    return model


def pixels_of(tokens: Tensor, video: Tensor, mask: TokenMask) -> Tensor:
    """Bool like the video: the pixels of the given tokens `(batch, n)`."""
    grid = mask.grid
    chosen = torch.zeros(video.shape[0], grid.tokens, dtype=torch.bool).scatter(1, tokens, True)
    volume = chosen.view(-1, 1, grid.time, grid.height, grid.width)
    for dim, size in ((2, 2), (3, 4), (4, 4)):
        volume = volume.repeat_interleave(size, dim=dim)
    return volume.expand_as(video)


def context_of(model: VJEPAModel, video: Tensor, mask: TokenMask) -> list[Tensor]:
    """Context features, what is predicted from them, and how they would be trained."""
    model.zero_grad()
    context = model.context_encoder(video, mask.context_layout)
    predicted, _ = model.predictor(context, mask.context_layout, mask.target_layout)
    predicted.square().sum().backward()
    gradients = [p.grad.clone() for p in model.context_encoder.parameters()]
    return [context.detach(), predicted.detach(), *gradients]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("mask", MASKS)
def test_masked_pixels_leave_the_context_bit_identical(mask: str, stack: str, mode: str) -> None:
    model, video = model_for(mask, stack), clips(3)
    model.train(mode != "eval")
    model.enable_gradient_checkpointing(mode == "checkpointing")
    for drawn in model.draw_masks(video, torch.Generator().manual_seed(5)):
        seen = pixels_of(drawn.context, video, drawn)
        before = context_of(model, video, drawn)
        for poison in (1e6 * clips(3, seed=9), torch.full_like(video, torch.nan)):
            after = context_of(model, torch.where(seen, video, poison), drawn)
            for left, right in zip(before, after, strict=True):
                assert torch.equal(left, right)
    # And the test can fail: one visible pixel of each clip changes its features.
    for clip in range(3):
        touched = video.clone()
        where = tuple(seen[clip].nonzero()[0].tolist())
        touched[(clip, *where)] += 1.0
        after = context_of(model, touched, drawn)
        assert not torch.equal(before[0][clip], after[0][clip])


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("mask", MASKS)
def test_the_mask_that_a_forward_pass_draws_hides_its_targets(mask: str, stack: str) -> None:
    """End to end: no gradient flows from the loss to a pixel that was not visible."""
    model = model_for(mask, stack)
    video = clips(2).requires_grad_()
    torch.manual_seed(7)
    drawn = model.draw_masks(video)
    torch.manual_seed(7)
    loss, _ = model(video)
    loss.backward()
    seen = torch.stack([pixels_of(each.context, video, each) for each in drawn]).any(dim=0)
    assert video.grad is not None
    assert (video.grad[~seen] == 0).all()
    assert (video.grad[seen] != 0).float().mean() > 0.99


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("mask", ["future", "future, two steps of four", "future only"])
def test_target_frames_see_nothing_of_the_context(mask: str, stack: str) -> None:
    """`target_input: target_frames` is the seed's diagram: the target encoder gets targets only."""
    video = clips(2)
    for target_input, blind in (("target_frames", True), ("clip", False)):
        model = model_for(mask, stack, target_input=target_input)
        drawn = model.draw_masks(video, torch.Generator().manual_seed(5))[0]
        steps = torch.unique(drawn.target // drawn.grid.places)
        tokens = (steps.unsqueeze(1) * drawn.grid.places + torch.arange(16)).flatten()
        frames = pixels_of(tokens.expand(2, -1), video, drawn)
        poisoned = torch.where(frames, video, 100 * clips(2, seed=9))
        before, after = (model.predict(clip, drawn).target for clip in (video, poisoned))
        assert torch.equal(before, after) is blind


def test_target_frames_equal_the_encoder_on_those_frames() -> None:
    """With their own positions: they are not a clip that starts at time 0 (seed, slip 4)."""
    model = model_for("future", "factorized", target_input="target_frames").eval()
    video = clips(2)
    out = model.predict(video)
    layout = out.mask.target_layout
    torch.testing.assert_close(out.target, model.target_encoder(video, layout))
    alone = model.target_encoder(video[:, :, 4:])
    assert not torch.allclose(out.target, alone)


@pytest.mark.parametrize("mask", MASKS)
def test_the_pixel_models_context_sees_no_targets_either(mask: str) -> None:
    config = model_for(mask, "factorized").config.to_mapping()
    shared = {
        name: config[name] for name in config if name in PixelConfig.model_fields and name != "kind"
    }
    torch.manual_seed(0)
    model = PixelModel(shared)
    stir(model, scale=0.1)
    video = clips(2).requires_grad_()
    torch.manual_seed(7)
    loss, _ = model(video)
    loss.backward()
    torch.manual_seed(7)
    drawn = draw_masks(model.config, model.context_encoder.grid_of(video), 2, tubelet_size=2)
    seen = torch.stack([pixels_of(each.context, video, each) for each in drawn]).any(dim=0)
    assert video.grad is not None
    assert (video.grad[~seen] == 0).all()
    assert (video.grad[seen] != 0).any()
