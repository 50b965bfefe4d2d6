"""The recipes that come with nexus: the published numbers, and no leak under any of them."""

import pytest
import torch
from oracles.tiny import SMALL_SIZE, clips, stir

from nexus.models.encoder import levels_of
from nexus.models.ssl import VJEPAConfig, build_model
from nexus.training.curriculum import Stage
from nexus.training.optim import rates_at
from nexus.training.recipe import load_recipe, recipe_names

SMALL = [
    "model.img_size=32",
    "model.num_frames=8",
    *SMALL_SIZE,
    "training.curriculum=[]",
]
REDUCED = {
    **dict.fromkeys(["seed", "small", "footage", "vjepa2"], SMALL),
    "vjepa2.1": [*SMALL, "model.feature_levels=[0,1,2]", "model.predicted_levels=3"],
    "adapt": ["model.img_size=32", "model.num_frames=8"],
}
WEIGHTS = {
    "img_size": 64, "num_frames": 16, "patch_size": 8, "factorized": False, "encoder_dim": 24,
    "num_heads": 2, "num_spatial_layers": 2, "num_temporal_layers": 0, "predictor_dim": 24,
    "predictor_heads": 2, "num_predictor_layers": 1, "positions": "rope_interleaved",
    "predicts_context": True, "context_loss_weight": 0.5,
}  # fmt: skip


def reduced(name):
    weights = VJEPAConfig.from_mapping(WEIGHTS).to_mapping() if name == "adapt" else None
    return load_recipe(name, REDUCED[name], weights=weights)


def test_every_recipe_is_tested_here():
    assert recipe_names() == sorted(REDUCED)


@pytest.mark.parametrize("name", REDUCED)
def test_masked_pixels_never_reach_the_context(name):
    recipe = reduced(name)
    torch.manual_seed(0)
    model = build_model(recipe.model_settings).eval()
    stir(model, scale=0.1)
    chans = slice(model.config.in_chans)
    video, poison = (clips(2, seed=seed, height=32, width=32)[:, chans] for seed in (0, 1))
    tubelet, patch = model.config.tubelet_size, model.config.patch_size
    for mask in model.draw_masks(video, torch.Generator().manual_seed(3)):
        hidden = torch.ones(2, mask.grid.tokens).scatter(1, mask.context, 0.0)
        volume = hidden.view(2, 1, mask.grid.time, mask.grid.height, mask.grid.width)
        pixels = torch.nn.functional.interpolate(
            volume, scale_factor=(tubelet, patch, patch)
        ).bool()
        assert 0 < pixels.float().mean() < 1
        seen = model.context_encoder, model.config
        before = levels_of(*seen, video, mask.context_layout)
        for other in (poison, torch.full_like(video, torch.nan)):
            changed = torch.where(pixels, other, video)
            assert torch.equal(levels_of(*seen, changed, mask.context_layout), before)
        changed = torch.where(pixels, video, poison)
        assert not torch.equal(levels_of(*seen, changed, mask.context_layout), before)


def test_vjepa2_is_the_published_run():
    """arXiv 2506.09985; the numbers by hand."""
    recipe = load_recipe("vjepa2")
    model, training = recipe.model_settings, recipe.training
    assert (model.encoder_dim, model.depth, model.num_heads) == (1024, 24, 16)
    assert (model.predictor_dim, model.num_predictor_layers, model.predictor_heads) == (384, 12, 12)
    assert (model.positions, model.rope_stretch, model.factorized) == ("rope_tiled", None, False)
    assert (model.num_mask_tokens, model.mask_token, model.mask_token_std) == (10, 0, 0.0)
    families = [(each.num_blocks, each.spatial_scale) for each in model.mask_blocks]
    assert (model.mask, families) == ("multiblock", [(8, (0.15, 0.15)), (2, (0.7, 0.7))])
    assert {each.aspect for each in model.mask_blocks} == {(0.75, 1.5)}
    assert {each.temporal_scale for each in model.mask_blocks} == {(1.0, 1.0)}
    assert (model.loss, model.target_norm, model.target_input) == ("l1", "layer", "clip")
    assert (model.ema_momentum, model.ema_schedule) == (0.99925, "constant")
    assert training.batch_size * training.accumulation == 3072
    assert recipe.stages[0] == Stage(0, recipe.data.clip)
    assert recipe.stages[1] == Stage(240_000, recipe.data.clip.with_changes(num_frames=64))
    assert (recipe.data.clip.num_frames, recipe.data.clip.size) == (16, (256, 256))
    assert recipe.optim.clip_grad is None and training.precision == "bf16"
    rates = {step: rates_at(recipe.optim, step, steps=training.steps) for step in (11_999, 251_999)}
    assert rates[11_999] == {"lr": 5.25e-4, "weight_decay": 0.04}
    assert rates[251_999] == {"lr": pytest.approx(1e-6), "weight_decay": 0.04}
    clip, augment = recipe.data.clip, recipe.data.augment
    assert (clip.fps, clip.pad, augment.scale, augment.aspect, augment.flip) == (
        (4.0, "repeat_last", (0.3, 1.0), (0.75, 1.35), 0.5)
    )


def test_vjepa2_1_adds_levels_and_the_dense_loss():
    """arXiv 2603.14482."""
    recipe, before = load_recipe("vjepa2.1"), load_recipe("vjepa2")
    model = recipe.model_settings
    assert (model.positions, model.rope_stretch) == ("rope_interleaved", 16)
    assert model.image_input and model.modality_embedding
    assert (model.feature_levels, model.predicted_levels) == ((5, 11, 17, 23), 4)
    assert (model.num_predictor_layers, model.num_mask_tokens) == (24, 8)
    assert model.predicts_context and model.context_loss_weight == 0.5
    assert model.context_loss_warmup == (50 * 300, 100 * 300)
    assert model.context_weighting_end == 240_000 == recipe.stages[1].first_step
    assert recipe.optim == before.optim.with_changes(lr=6e-4) and recipe.data == before.data


@pytest.mark.parametrize(
    ("size", "levels"),
    [("vit_b", "2,5,8,11"), ("vit_g", "9,19,29,39"), ("vit_gigantic", "11,23,37,47")],
)
def test_other_sizes_of_vjepa2_1_as_its_header_gives_them(size, levels):
    changes = ["model.num_predictor_layers=24", f"model.feature_levels=[{levels}]"]
    model = load_recipe("vjepa2.1", [f"model.size={size}", *changes]).model_settings
    assert model.num_predictor_layers == 24 and model.feature_levels[-1] == model.depth - 1
