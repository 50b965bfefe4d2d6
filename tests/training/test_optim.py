import pytest
import torch
from torch import nn

from nexus.errors import ConfigError
from nexus.models.ssl import build_model
from nexus.training.optim import (
    OptimConfig,
    build_optimizer,
    parameter_groups,
    rates_at,
    set_rates,
)
from nexus.training.schedules import learning_rate, weight_decay

TINY = {
    "img_size": 16,
    "num_frames": 4,
    "patch_size": 8,
    "encoder_dim": 16,
    "num_heads": 2,
    "num_spatial_layers": 1,
    "num_temporal_layers": 1,
    "predictor_dim": 16,
    "predictor_heads": 2,
    "num_predictor_layers": 1,
}


class Bricks(nn.Module):
    """One of everything that must or must not decay."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv3d(3, 4, 2)
        self.linear = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.lookup = nn.Embedding(5, 4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.pos_embed = nn.Parameter(torch.zeros(1, 8, 4))
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


def test_only_weight_matrices_and_kernels_decay():
    with_decay, without = parameter_groups(Bricks())
    assert set(with_decay) == {
        "patches.weight",
        "linear.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    }
    assert set(without) == {
        "patches.bias",
        "linear.bias",
        "norm.weight",
        "norm.bias",
        "lookup.weight",
        "attention.in_proj_bias",
        "attention.out_proj.bias",
        "mask_token",
        "pos_embed",
    }


@pytest.mark.parametrize("kind", ["vjepa", "pixels"])
def test_groups_of_the_real_models(kind):
    model = build_model({"kind": kind, **TINY})
    with_decay, without = parameter_groups(model)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(with_decay) | set(without) == trainable
    assert not set(with_decay) & set(without)
    assert not [name for name in trainable if name.startswith("target_encoder")]
    shapes = dict(model.named_parameters())
    assert all(shapes[name].ndim >= 2 for name in with_decay)
    special = ("positions.", "mask_token")
    assert not [name for name in with_decay if any(part in name for part in special)]
    undecayed = [name for name in without if shapes[name].squeeze().ndim >= 2]
    assert undecayed, "position tables are two-dimensional and must be here"
    assert all("positions." in name for name in undecayed)
    assert "context_encoder.embed.proj.weight" in with_decay or any(
        name.startswith("context_encoder.embed") for name in with_decay
    )


def test_decay_acts_on_its_group_only():
    torch.manual_seed(0)
    model = nn.Linear(3, 3)
    nn.init.ones_(model.bias)
    before = model.weight.detach().clone()
    optimizer = build_optimizer(model, OptimConfig(weight_decay=0.0, weight_decay_end=0.5))
    set_rates(optimizer, lr=0.1, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    # AdamW with a zero gradient is decay alone: w <- w (1 - lr * decay).
    torch.testing.assert_close(model.weight.detach(), before * 0.95)
    assert torch.equal(model.bias.detach(), torch.ones(3))


def test_settings_reach_the_optimizer():
    config = OptimConfig(lr=2e-3, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3)
    optimizer = build_optimizer(nn.Linear(2, 2), config)
    decayed, rest = optimizer.param_groups
    assert decayed["betas"] == (0.8, 0.95) and decayed["eps"] == 1e-6 and decayed["lr"] == 2e-3
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.3, 0.0)


def test_rates_follow_the_schedules():
    config = OptimConfig(
        lr=1.0, final_lr=0.1, warmup_steps=3, weight_decay=0.1, weight_decay_end=0.4
    )
    for step in range(20):
        rates = rates_at(config, step, steps=20)
        assert rates["lr"] == learning_rate(step, steps=20, peak=1.0, warmup_steps=3, final=0.1)
        assert rates["weight_decay"] == weight_decay(step, steps=20, start=0.1, end=0.4)
    constant = OptimConfig(weight_decay=0.2)
    assert {rates_at(constant, step, steps=9)["weight_decay"] for step in range(9)} == {0.2}


def test_rates_follow_a_constant_schedule():
    config = OptimConfig(
        lr=1.0, start_lr=0.2, final_lr=0.1, warmup_steps=4, schedule="constant", cooldown_steps=5
    )
    rates = [rates_at(config, step, steps=20)["lr"] for step in range(20)]
    assert rates[:4] == pytest.approx([0.4, 0.6, 0.8, 1.0]) and set(rates[4:15]) == {1.0}
    assert rates[15:] == pytest.approx([0.82, 0.64, 0.46, 0.28, 0.1])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cooldown_steps": 3}, "belongs to schedule 'constant'"),
        ({"lr": 1e-4, "start_lr": 2e-4}, "start_lr 0.0002 .* cannot be above it, got lr 0.0001"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        OptimConfig.from_mapping(wrong)


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"betas": [0.9, 1.0]}, {"clip_grad": 0.0}, {"weight_decay": -0.1}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        OptimConfig.from_mapping(wrong)
