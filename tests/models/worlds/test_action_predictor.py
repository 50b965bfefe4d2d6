"""The action-conditioned predictor: its formula, what may look at what, and what it takes."""

from typing import Any

import jaxtyping
import pytest
import torch
from oracles import v_jepa_ac as slow
from oracles.tiny import stir
from torch import Tensor

from nexus.checkpoints.official_ac import to_meta
from nexus.errors import ConfigError, VideoShapeError
from nexus.models.worlds.action_predictor import (
    ActionPredictor,
    ActionPredictorConfig,
    frame_causal,
)
from nexus.nn.grid import Grid

TINY: dict[str, Any] = {
    "in_dim": 10,
    "predictor_dim": 28,  # heads of 14: three parts of 4, and 2 that stay
    "depth": 2,
    "heads": 2,
    "mlp_ratio": 1.5,
    "action_dim": 4,
    "state_dim": 5,
    "extrinsics_dim": 3,
    "img_size": 32,
}


def predictor(**changes: Any) -> ActionPredictor:
    torch.manual_seed(0)
    model = ActionPredictor(ActionPredictorConfig.from_mapping({**TINY, **changes}))
    stir(model, scale=0.1)
    return model.double().eval()


def inputs(
    steps: int, places: int = 4, batch: int = 2, *, extrinsics: bool = False, seed: int = 1
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(steps * places, 10), (steps, 4), (steps, 5), (steps, 3)][: 3 + extrinsics]
    return [
        torch.randn(batch, *shape, generator=generator, dtype=torch.float64) for shape in shapes
    ]


@pytest.mark.parametrize("extrinsics", [False, True])
@pytest.mark.parametrize("grid", [(1, 2, 2), (3, 2, 2), (2, 1, 1), (2, 3, 2), (2, 1, 4)])
def test_the_predictor_is_the_formula(grid: tuple[int, int, int], extrinsics: bool) -> None:
    """Also on grids of other sizes than the trained 2 x 2, square or not."""
    model = predictor(use_extrinsics=extrinsics)
    steps, height, width = grid
    given = inputs(steps, height * width, extrinsics=extrinsics)
    got = model(*given, grid=Grid(*grid))
    for clip in range(2):
        expected = slow.predict(
            to_meta(model.state_dict()),
            *(tensor[clip] for tensor in given),
            heads=2,
            sides=(height, width),
            side=2,
        )
        torch.testing.assert_close(got[clip], expected, rtol=1e-10, atol=1e-10)
    single = model.float()(*(tensor.float() for tensor in given), grid=Grid(*grid))
    torch.testing.assert_close(single, got.float(), rtol=1e-5, atol=1e-5)


def test_frames_of_the_trained_size_need_no_grid() -> None:
    model, given = predictor(), inputs(3)
    assert torch.equal(model(*given), model(*given, grid=Grid(3, 2, 2)))


@pytest.mark.parametrize("extrinsics", [False, True])
def test_a_step_is_action_state_extrinsics_patches(extrinsics: bool) -> None:
    model = predictor(use_extrinsics=extrinsics)
    features, *conditions = inputs(3, extrinsics=extrinsics)
    seen: list[Tensor] = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(features, *conditions)
    layers = [model.action_embed, model.state_embed, model.extrinsics_embed]
    rows = []
    for time in range(3):
        rows += [layer(c[:, time]) for layer, c in zip(layers, conditions, strict=False)]
        rows += [model.embed(features[:, time * 4 + place]) for place in range(4)]
    torch.testing.assert_close(seen[0], torch.stack(rows, dim=1))


@pytest.mark.parametrize("which", [0, 1, 2, 3])
@pytest.mark.parametrize("time", [0, 1, 2])
def test_nothing_reaches_an_earlier_step_and_everything_its_own_and_later_ones(
    which: int, time: int
) -> None:
    """Change one input at one step: earlier predictions stay bit for bit, no other one does."""
    model = predictor(use_extrinsics=True)
    given = inputs(3, extrinsics=True)
    before = model(*given).unflatten(1, (3, 4))
    given[which] = given[which].clone()
    given[which][:, time * 4 + 3 if which == 0 else time] += 1.0
    after = model(*given).unflatten(1, (3, 4))
    assert torch.equal(before[:, :time], after[:, :time])
    assert (before[:, time:] != after[:, time:]).any(dim=-1).all()


def test_a_longer_clip_begins_as_a_shorter_one_does() -> None:
    model = predictor()
    features, actions, states = inputs(4)
    whole = model(features, actions, states)
    for steps in (1, 2, 3):
        part = model(features[:, : steps * 4], actions[:, :steps], states[:, :steps])
        torch.testing.assert_close(part, whole[:, : steps * 4])


@pytest.mark.parametrize(("steps", "tokens"), [(1, 3), (2, 1), (3, 4)])
def test_what_may_look_at_what(steps: int, tokens: int) -> None:
    allowed = frame_causal(steps, tokens, torch.device("cpu"))
    for i in range(steps * tokens):
        for j in range(steps * tokens):
            expected = j // tokens <= i // tokens
            assert (allowed is None or bool(allowed[0, 0, i, j])) is expected


def test_steps_and_places_are_told_apart() -> None:
    """The same content everywhere: only positions make predictions differ."""
    model = predictor()
    given = [tensor[:, :1].expand(-1, tensor.shape[1], -1) for tensor in inputs(3, batch=1)]
    out = model(*given)[0]
    apart = torch.cdist(out, out) + torch.eye(12, dtype=torch.float64)
    assert apart.min() > 1e-4


@pytest.mark.parametrize("extrinsics", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_trainable_parameter_gets_a_gradient(extrinsics: bool, checkpointing: bool) -> None:
    """The extrinsics' layer is there for published weights; without extrinsics it is frozen."""
    model = predictor(use_extrinsics=extrinsics)
    model.checkpointing = checkpointing
    model(*inputs(2, extrinsics=extrinsics)).square().mean().backward()
    for name, parameter in model.named_parameters():
        unused = name.startswith("extrinsics_embed.") and not extrinsics
        assert parameter.requires_grad is not unused
        assert (parameter.grad is None) is unused, name
        assert unused or parameter.grad.abs().sum() > 0, name


def test_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = predictor()
        model.checkpointing = checkpointing
        model(*inputs(2)).square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_mixed_precision() -> None:
    model = predictor().float()
    given = [tensor.float() for tensor in inputs(3)]
    exact = model(*given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(*given)
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).norm() < 0.02 * exact.norm()


def test_fresh_weights_are_as_published() -> None:
    """Normal with 0.02, and each block's output layers divided by sqrt(2 * its number)."""
    torch.manual_seed(0)
    wide = {"predictor_dim": 96, "in_dim": 96, "action_dim": 64, "heads": 4, "depth": 3}
    model = ActionPredictor(ActionPredictorConfig.from_mapping({**TINY, **wide}))
    for layer in (model.embed, model.action_embed, model.proj, model.blocks[2].attn.qkv):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert (layer.bias == 0).all()
    for number, block in enumerate(model.blocks, start=1):
        for layer in (block.attn.proj, block.mlp.fc2):
            assert layer.weight.std().item() == pytest.approx(0.02 / (2 * number) ** 0.5, rel=0.05)


def test_the_published_size() -> None:
    with torch.device("meta"):
        model = ActionPredictor(ActionPredictorConfig())
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(305e6, rel=0.005)
    assert model.config.grid_side == 16


OTHER: dict[str, Any] = {
    "in_dim": 11, "predictor_dim": 24, "depth": 1, "heads": 1, "mlp_ratio": 2.0, "action_dim": 3,
    "state_dim": 4, "extrinsics_dim": 2, "use_extrinsics": True, "img_size": 64, "patch_size": 8,
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(ActionPredictorConfig.model_fields))
def test_every_key_has_an_effect(key: str) -> None:
    def observe(**changes: Any) -> list:
        model = predictor(**changes)
        shapes = [(name, tuple(p.shape)) for name, p in model.named_parameters()]
        frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
        if key in ("img_size", "patch_size", "heads"):
            return [shapes, frozen, model(*inputs(2), grid=Grid(2, 2, 2)).tolist()]
        return [shapes, frozen]

    assert observe() == observe()
    assert observe() != observe(**{key: OTHER[key]})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"img_size": 40}, "img_size 40 is not a multiple of patch_size 16"),
        ({"heads": 3}, "predictor_dim 28 does not divide into heads 3"),
        ({"heads": 7}, "even head width of at least 6, got 4"),
        ({"heads": 4}, "even head width of at least 6, got 7"),
        ({"depth": 0}, "depth: got 0"),
        ({"num_heads": 2}, "unknown key 'num_heads'; did you mean 'heads'"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        predictor(**changes)
    assert says in str(caught.value)


@pytest.fixture
def unchecked():
    """Shape annotations off, as users run: the model's own messages must come through."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


FEATURES, ACTIONS, STATES, POSES = inputs(3, extrinsics=True)
BAD: dict[str, tuple[list[Tensor], Grid | None, str]] = {
    "one step more": ([FEATURES[:, :8], ACTIONS, STATES], None, "(2, 12, 10), 3 time steps of 2"),
    "another width": ([FEATURES[..., :9], ACTIONS, STATES], None, "got (2, 12, 9)"),
    "no tokens": ([FEATURES.unflatten(1, (3, 4)), ACTIONS, STATES], None, "got (2, 3, 4, 10)"),
    "another batch": ([FEATURES[:1], ACTIONS, STATES], None, "shape (2, 12, 10)"),
    "narrow actions": ([FEATURES, ACTIONS[..., :3], STATES], None, "actions of shape (2, 3, 4)"),
    "one action": ([FEATURES, ACTIONS[:, 0], STATES], None, "(batch, time, 4) with at least one"),
    "no time": ([FEATURES, ACTIONS[:, :0], STATES], None, "at least one time step"),
    "fewer states": ([FEATURES, ACTIONS, STATES[:, :2]], None, "states of shape (2, 3, 5)"),
    "extrinsics": ([FEATURES, ACTIONS, STATES, POSES], None, "extrinsics were given"),
    "other frames": ([FEATURES[:, :9], ACTIONS, STATES], None, "than img_size 32 need `grid`"),
    "other steps": ([FEATURES, ACTIONS, STATES], Grid(4, 2, 2), "3 time steps, the grid has 4"),
    "other places": ([FEATURES, ACTIONS, STATES], Grid(3, 2, 3), "3 time steps of 2 x 3 patches"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", BAD)
def test_bad_shapes_are_refused_with_got_and_expected(name: str) -> None:
    given, grid, says = BAD[name]
    with pytest.raises(VideoShapeError) as caught:
        predictor()(*given, grid=grid)
    assert says in str(caught.value)


@pytest.mark.usefixtures("unchecked")
def test_extrinsics_are_taken_always_or_never() -> None:
    model = predictor(use_extrinsics=True)
    with pytest.raises(VideoShapeError, match="use_extrinsics is True, but extrinsics were not"):
        model(FEATURES, ACTIONS, STATES)
    with pytest.raises(VideoShapeError, match=r"extrinsics of shape \(2, 3, 3\)"):
        model(FEATURES, ACTIONS, STATES, POSES[..., :2])
