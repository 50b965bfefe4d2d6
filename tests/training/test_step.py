import math

import pytest
import torch
from torch import nn

from nexus.data.loading.batch import Batch, normalise
from nexus.models.ssl import build_model
from nexus.training.optim import OptimConfig, build_optimizer
from nexus.training.step import TrainStep, clip_gradient

CPU = torch.device("cpu")


class Step(TrainStep):
    """A step over bare clips."""

    def __call__(self, videos, *where, **settings):
        return super().__call__((Batch(video) for video in videos), *where, **settings)


class Mean(nn.Module):
    """Learns the mean pixel; says how often its target was moved; can be told to blow up."""

    def __init__(self, loss_factor=1.0, gradient_factor=1.0):
        super().__init__()
        self.level = nn.Linear(1, 1)
        self.loss_factor, self.gradient_factor = loss_factor, gradient_factor
        self.moved, self.metered, self.dtypes = [], [], []

    def forward(self, batch, *, meters=True):
        video = batch.clips
        self.metered.append(meters)
        brightness = video.flatten(1).mean(dim=1, keepdim=True)
        out = self.level(brightness)
        self.dtypes.append(out.dtype)
        loss = (out.float() - brightness.square()).square().mean() * self.loss_factor
        if self.gradient_factor != 1.0:
            out.register_hook(lambda gradient: gradient * self.gradient_factor)
        metrics = {"loss": float(loss.detach()), "clips": float(len(video))}
        return loss, metrics | ({"context_spread": 0.5} if meters else {})

    def update_target(self, step=None):
        self.moved.append(step)
        return 0.99


def clips(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 3, 2, 4, 4)
    dark = torch.randint(1, 256, (count, 1, 1, 1, 1), generator=generator)
    return (torch.randint(256, shape, generator=generator) * dark // 256).to(torch.uint8)


def stepper(model, **settings):
    torch.manual_seed(0)
    nn.init.normal_(model.level.weight)
    nn.init.normal_(model.level.bias)
    optimizer = build_optimizer(model, OptimConfig(lr=0.1))
    return Step(model, optimizer, device=CPU, **settings)


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_micro_batches_are_drawn_one_at_a_time():
    model = Mean()
    drawn = []

    def videos():
        for number in range(3):
            assert len(model.metered) == number  # the ones before have been through the model
            drawn.append(number)
            yield clips(4, seed=number)

    stepper(model)(videos(), 0, planned=12)
    assert drawn == [0, 1, 2]


@pytest.mark.parametrize("planned", [1, 8, 12, 48])
def test_the_mean_is_over_the_clips_that_came(planned):
    told, untold = Mean(), Mean()
    parts = list(clips(8).split(4))
    whole = stepper(told)(parts, 0, planned=8)
    result = stepper(untold)([*parts, clips(0)], 0, planned=planned)
    torch.testing.assert_close(
        [p.grad for p in untold.parameters()], [p.grad for p in told.parameters()]
    )
    assert result.clips == 8 and result.loss == pytest.approx(whole.loss, rel=1e-5)
    assert result.metrics["clips"] == pytest.approx(4.0)


def test_a_step_moves_the_weights_then_the_target_once():
    model = Mean()
    step = stepper(model)
    before = weights(model)
    result = step([clips(4)], 7)
    assert result.applied and result.clips == 4 and result.momentum == 0.99
    assert model.moved == [7]
    assert not all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))


@pytest.mark.parametrize("sizes", [(8, 4), (3, 9), (4, 4, 4), (12, 0), (1, 0, 11)])
def test_accumulation_equals_one_big_batch(sizes):
    big, small = Mean(), Mean()
    video = clips(12)
    one, many = stepper(big), stepper(small)
    whole = one([video], 0)
    parts = many(list(video.split(sizes)), 0)
    torch.testing.assert_close(
        [p.grad for p in small.parameters()], [p.grad for p in big.parameters()]
    )
    torch.testing.assert_close(weights(small), weights(big))
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    assert parts.grad_norm == pytest.approx(whole.grad_norm, rel=1e-5)
    assert parts.clips == 12 and small.moved == [0]


def test_accumulation_equals_one_big_batch_for_the_real_model():
    config = {
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
        "mask_ratio": 0.5,  # whole frames only: nothing about the mask is drawn
    }
    generator = torch.Generator().manual_seed(1)
    video = torch.randint(256, (6, 3, 4, 16, 16), generator=generator).to(torch.uint8)
    gradients = []
    for parts in ([video], [video[:4], video[4:]]):
        torch.manual_seed(0)
        model = build_model({"kind": "vjepa", **config}).train()
        optimizer = build_optimizer(model, OptimConfig())
        result = Step(model, optimizer, device=CPU)(parts, 0)
        assert result.applied
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) > 20
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "trouble",
    [{"loss_factor": math.nan}, {"loss_factor": math.inf}, {"gradient_factor": math.inf}],
    ids=["nan loss", "infinite loss", "infinite gradient"],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_without_finite_numbers_leaves_weights_target_and_optimizer(trouble, precision):
    model = Mean(**trouble)
    step = stepper(model, precision=precision, clip_grad=1.0)
    before = weights(model)
    result = step([clips(4)], 0)
    assert not result.applied and not result.finite and result.momentum is None
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))
    assert model.moved == []
    assert not step.optimizer.state_dict()["state"]


def test_one_bad_micro_batch_spoils_its_step_only():
    model = Mean()
    step = stepper(model)
    model.loss_factor = math.nan
    assert not step([clips(2), clips(2)], 0).applied
    model.loss_factor = 1.0
    assert step([clips(2), clips(2)], 1).applied
    assert model.moved == [1]


def test_the_real_target_encoder_stays_when_a_step_is_skipped():
    torch.manual_seed(0)
    config = {"img_size": 16, "num_frames": 4, "patch_size": 8, "encoder_dim": 16, "num_heads": 2}
    small = {"predictor_dim": 16, "predictor_heads": 2, "num_spatial_layers": 1}
    model = build_model({"kind": "vjepa", **config, **small}).train()
    step = Step(model, build_optimizer(model, OptimConfig(lr=0.1)), device=CPU)
    video = clips(4).repeat(1, 1, 2, 4, 4)
    step([video], 0)  # so that target and context differ and an update would show
    weight = model.predictor.proj.weight
    hook = weight.register_hook(lambda gradient: gradient * math.nan)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    skipped = step([video], 1)
    hook.remove()
    assert not skipped.applied
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert step([video], 2).applied
    after = model.state_dict()
    assert not torch.equal(before["target_encoder.norm.bias"], after["target_encoder.norm.bias"])


def test_a_step_without_clips_does_nothing_and_is_not_counted_as_broken():
    model = Mean()
    step = stepper(model)
    before = weights(model)
    result = step([clips(4)[:0], clips(4)[:0]], 0)
    assert result.clips == 0 and not result.applied and result.finite and math.isnan(result.loss)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))
    assert model.moved == [] and model.metered == []


def test_clipping_scales_the_whole_gradient():
    model = Mean()
    step = stepper(model, clip_grad=0.01)
    result = step([clips(4)], 0)
    assert result.grad_norm > 0.01
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_without_a_limit_the_norm_is_told_and_nothing_is_scaled():
    model = nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    assert float(clip_gradient(model, None)) == 5.0
    assert torch.equal(model.weight.grad, torch.tensor([[3.0, 4.0]]))
    assert float(clip_gradient(model, 10.0)) == 5.0
    assert torch.equal(model.weight.grad, torch.tensor([[3.0, 4.0]]))


def test_meters_are_computed_only_when_asked_for():
    model = Mean()
    step = stepper(model)
    assert "context_spread" not in step([clips(2)], 0).metrics
    assert step([clips(2)], 1, meters=True).metrics["context_spread"] == 0.5
    assert model.metered == [False, True]


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_precision_is_that_of_the_matrix_products(precision, dtype):
    model = Mean(loss_factor=0.01)  # 65536 times the gradient has to fit into fp16
    step = stepper(model, precision=precision)
    result = step([clips(4)], 0)
    assert model.dtypes == [dtype]
    assert result.applied and math.isfinite(result.loss)
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in model.parameters())


def test_fp16_gradients_are_unscaled_before_they_are_clipped_and_used():
    exact, scaled = Mean(loss_factor=0.01), Mean(loss_factor=0.01)
    whole = stepper(exact)([clips(4)], 0)
    half = stepper(scaled, precision="fp16")([clips(4)], 0)
    assert half.grad_norm == pytest.approx(whole.grad_norm, rel=0.02)


def test_fp16_lowers_its_scale_after_an_overflow_and_the_scale_is_saved():
    model = Mean(gradient_factor=math.inf)
    step = stepper(model, precision="fp16")
    start = step.scaler.get_scale()
    step([clips(4)], 0)
    assert step.scaler.get_scale() == start / 2
    other = stepper(Mean(), precision="fp16")
    other.scaler.load_state_dict(step.scaler.state_dict())
    assert other.scaler.get_scale() == start / 2


def test_the_model_sees_normalised_pixels():
    seen = []
    model = Mean()
    step = stepper(model)
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    video = clips(3)
    step([video], 0)
    assert torch.equal(seen[0].clips, normalise(video))
