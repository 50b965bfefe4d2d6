"""Every configuration key does something, and a key that does not exist is refused."""

from typing import Any

import pytest
import torch
from oracles.tiny import TINY, clips, stir

from nexus.errors import ConfigError
from nexus.masks.multiblock import BlockFamily
from nexus.models.encoder import VideoEncoder
from nexus.models.ssl import PixelConfig, VJEPAConfig, VJEPAModel, build_model

SHAPES, MASK, LOSS, GRADIENT, MOMENTUM = "shapes", "mask", "loss", "gradient", "momentum"
TOKENS = "tokens"
WIDE = {"encoder_dim": 12, "predictor_dim": 12, "num_heads": 2, "predictor_heads": 2}


class Halved(VideoEncoder):
    def features(self, *args, **options):
        return [level / 2 for level in super().features(*args, **options)]


class LargestError:
    def __call__(self, predictions, step):
        loss = (predictions[0].predicted - predictions[0].target).abs().max()
        return loss, {"largest": loss}


# key: (its other value, the aspect that must change, settings under which the key applies)
SHARED: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "img_size": (32, SHAPES, {}),
    "num_frames": (12, SHAPES, {}),
    "in_chans": (1, SHAPES, {}),
    "patch_size": (8, SHAPES, {}),
    "tubelet_size": (4, SHAPES, {}),
    "encoder": ("test_config_keys:Halved", LOSS, {}),
    "encoder_dim": (16, SHAPES, {}),
    "num_heads": (4, LOSS, {}),
    "mlp_ratio": (3.0, SHAPES, {}),
    "factorized": (False, SHAPES, {}),
    "num_spatial_layers": (1, SHAPES, {}),
    "num_temporal_layers": (2, SHAPES, {}),
    "drop_path": (0.5, LOSS, {}),
    "positions": ("sincos", SHAPES, {}),
    "mlp": ("swiglu", SHAPES, {}),
    "rope_stretch": (16, LOSS, {"positions": "rope_interleaved", "factorized": False, **WIDE}),
    "image_input": (True, SHAPES, {}),
    "modality_embedding": (True, SHAPES, {}),
    "feature_levels": ((0, 2), SHAPES, {}),
    "predicted_levels": (2, SHAPES, {"feature_levels": (0, 2)}),
    "num_mask_tokens": (3, SHAPES, {}),
    "mask_token": (1, LOSS, {"num_mask_tokens": 2}),
    "mask_token_std": (0.0, TOKENS, {}),
    "predictor_dim": (24, SHAPES, {}),
    "num_predictor_layers": (2, SHAPES, {}),
    "predictor_heads": (4, LOSS, {}),
    "predictor_mlp_ratio": (2.0, SHAPES, {}),
    "mask": ("tube", MASK, {}),
    "mask_ratio": (0.8, MASK, {}),
    "temporal_mask_ratio": (0.25, MASK, {}),
    "context_frames": (2, MASK, {}),
    "future_frames": (2, MASK, {}),
    "early_mask_ratio": (0.6, MASK, {"mask": "future_biased"}),
    "late_mask_ratio": (0.4, MASK, {"mask": "future_biased"}),
    "targets": ("future", MASK, {}),
    "mask_blocks": ((BlockFamily(num_blocks=1),), MASK, {"mask": "multiblock"}),
    "mask_trim": ("end", MASK, {"mask": "multiblock"}),
    "loss": ("l1", LOSS, {}),
    "regularizer": ("variance_covariance", LOSS, {}),
    "regularizer_weight": (0.5, LOSS, {"regularizer": "sigreg"}),
}
VJEPA = {
    **SHARED,
    "objective": ("test_config_keys:LargestError", LOSS, {}),
    "target_norm": ("layer", LOSS, {}),
    "target_input": ("target_frames", LOSS, {"mask_ratio": 0.5}),
    "predicts_context": (True, SHAPES, {}),
    "context_loss_weight": (0.2, LOSS, {"predicts_context": True}),
    "context_loss_warmup": ((0, 10), LOSS, {"predicts_context": True}),
    "context_weighting_end": (0, LOSS, {"predicts_context": True}),
    "teacher_dim": (40, SHAPES, {}),
    "prediction_weight": (0.5, LOSS, {}),
    "ema_momentum": (0.9, MOMENTUM, {}),
    "ema_momentum_end": (0.999, MOMENTUM, {}),
    "ema_schedule": ("constant", MOMENTUM, {}),
    "ema_steps": (5, MOMENTUM, {}),
    "stop_gradient": (False, GRADIENT, {}),
}
PIXELS = {**SHARED, "target": ("normalised", LOSS, {})}


def observe(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Everything about a model that a key may change."""
    settings = {**TINY, **({"ema_steps": 10} if kind == "vjepa" else {}), **settings}
    if "predicts_context" in settings:  # the two belong together
        settings = {"context_loss_weight": 0.5, **settings}
    torch.manual_seed(0)
    model = build_model({"kind": kind, **settings})
    fresh_tokens = model.predictor.mask_tokens.tolist()
    stir(model, scale=0.1)  # attention hardly matters to a model that has just been initialised
    config = model.config
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if "teacher_dim" in settings:  # such a model cannot be trained: see the test below
        return {SHAPES: shapes}
    height, width = config.image_sides
    video = clips(2, frames=config.num_frames, height=height, width=width, chans=config.in_chans)
    torch.manual_seed(1)
    loss, _ = model(video, meters=False)
    loss.backward()
    seen = {
        SHAPES: shapes,
        LOSS: loss.item(),
        TOKENS: fresh_tokens,
        GRADIENT: model.context_encoder.embed.proj.weight.grad.tolist(),
    }
    if isinstance(model, VJEPAModel):
        torch.manual_seed(1)
        mask = model.draw_masks(video)[0]
        seen[MASK] = (mask.context.tolist(), mask.target.tolist())
        seen[MOMENTUM] = [model.update_target() for _ in range(3)]
    else:
        seen[MASK] = seen[LOSS]  # other tokens, another loss
    return seen


@pytest.mark.parametrize(("kind", "keys"), [("vjepa", VJEPA), ("pixels", PIXELS)])
def test_no_key_is_forgotten_here(kind: str, keys: dict) -> None:
    config = VJEPAConfig if kind == "vjepa" else PixelConfig
    assert set(keys) == set(config.model_fields) - {"kind"}


@pytest.mark.parametrize(
    ("kind", "key"), [("vjepa", key) for key in VJEPA] + [("pixels", key) for key in PIXELS]
)
def test_every_key_has_an_effect(kind: str, key: str) -> None:
    value, aspect, applies = (VJEPA if kind == "vjepa" else PIXELS)[key]
    before, after = observe(kind, applies), observe(kind, {**applies, key: value})
    assert before[aspect] != after[aspect]
    assert observe(kind, applies)[aspect] == before[aspect]  # it is the key that did it


SEED_KEYS = [
    "encoder_dim", "predictor_dim", "num_frames", "patch_size", "tubelet_size", "mask_ratio",
    "temporal_mask_ratio", "factorized", "num_spatial_layers", "num_temporal_layers",
    "num_predictor_layers", "ema_momentum",
]  # fmt: skip


def test_the_seeds_keys_and_defaults() -> None:
    config = VJEPAConfig()
    assert set(SEED_KEYS) <= set(VJEPAConfig.model_fields)
    assert {key: getattr(config, key) for key in SEED_KEYS} == {
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
        "ema_momentum": 0.996,
    }
    assert (config.num_heads, config.predictor_heads) == (12, 8)
    assert (config.mlp_ratio, config.img_size, config.in_chans) == (4.0, 224, 3)
    assert (config.loss, config.target_norm, config.regularizer) == ("mse", "none", "none")
    assert (config.mask, config.ema_schedule, config.ema_momentum_end) == ("future", "cosine", 1.0)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("encoder_dims", "encoder_dim"),
        ("num_head", "num_heads"),
        ("predictor_layers", "num_predictor_layers"),  # as the seed has it in one place
        ("ema_momentun_end", "ema_momentum_end"),
        ("factorised", "factorized"),
        ("image_size", "img_size"),
    ],
)
def test_an_unknown_key_names_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key '{wrong}'; did you mean '{near}'"):
        VJEPAModel({**TINY, wrong: 1})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prediction_weight": 0.0}, "leaves nothing to train"),
        (
            {"prediction_weight": 0.0, "regularizer": "sigreg", "regularizer_weight": 0.0},
            "leaves nothing to train",
        ),
        ({"ema_momentum": 1.5}, "ema_momentum: got 1.5"),
        ({"ema_momentum": -0.1}, "ema_momentum: got -0.1"),
        ({"loss": "huber"}, "loss: got 'huber'"),
        ({"regularizer_weight": float("nan")}, "regularizer_weight"),
        ({"num_frames": 2}, "needs at least two time steps"),
        ({"context_frames": 3}, "context_frames 3 is not a multiple of tubelet_size 2"),
        ({"context_frames": 8}, "cannot give 8 context frames"),
        ({"mask": "tube", "img_size": 4}, "at least two places"),
        ({"ema_steps": 0}, "ema_steps: got 0"),
    ],
)
def test_impossible_settings_are_refused_when_they_are_read(changes: dict, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        VJEPAConfig.from_mapping({**TINY, **changes})
    assert says in str(caught.value)


def test_a_configuration_survives_a_round_trip() -> None:
    config = VJEPAConfig.from_mapping({**TINY, "img_size": [8, 16], "regularizer": "sigreg"})
    assert VJEPAConfig.from_mapping(config.to_mapping()) == config


def test_a_predictor_of_another_teachers_width_embeds_and_does_not_train() -> None:
    model = VJEPAModel({**TINY, "teacher_dim": 40})
    assert model.predictor.proj.out_features == 40
    assert model.target_encoder(clips()).shape == (2, 64, 24)
    for call in (model, model.predict):
        with pytest.raises(ConfigError, match="gives 40 values a token.*targets have 24"):
            call(clips())
    loss, _ = VJEPAModel({**TINY, "teacher_dim": 24})(clips())  # the teacher may be as wide
    assert loss.isfinite()


def test_an_unknown_kind_of_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown kind of model 'mae'; known: vjepa, pixels"):
        build_model({"kind": "mae", **TINY})
