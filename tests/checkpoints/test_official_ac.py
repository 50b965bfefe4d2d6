"""The published AC predictor's names and shapes, written out here, and their way in and out."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import v_jepa_ac as slow
from oracles.published import action_shapes, random_state
from torch import Tensor

from nexus.checkpoints.official import read_official
from nexus.checkpoints.official_ac import ac_config, action_predictor, to_meta, to_nexus
from nexus.errors import CheckpointError, ConfigError
from nexus.models.worlds.action_predictor import ActionPredictor, ActionPredictorConfig

SMALL = {"width": 10, "dim": 24, "depth": 3, "hidden": 60}


def published_state(**sizes) -> dict[str, Tensor]:
    return random_state(action_shapes(**sizes), seed=0)


def identical(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name])
        for name in left
    )


def test_the_published_file_describes_the_default_model() -> None:
    shapes = action_shapes(width=1408, dim=1024, depth=24, hidden=4096)
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    assert ac_config(state) == ActionPredictorConfig()
    with torch.device("meta"):
        model = ActionPredictor(ActionPredictorConfig())
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert ours == {name: tuple(tensor.shape) for name, tensor in to_nexus(state).items()}


@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone.", "backbone."])
def test_a_published_state_comes_back_bit_for_bit(tmp_path: Path, prefix: str) -> None:
    state = published_state(**SMALL)
    state["predictor_norm.bias"] = state["predictor_norm.bias"].bfloat16()
    carried = {prefix + name: tensor for name, tensor in state.items()}
    torch.save({"encoder": {}, "predictor": carried}, tmp_path / "ac.pt")
    found = dict(read_official(tmp_path / "ac.pt").predictor)
    assert identical(found, state)
    assert identical(to_meta(to_nexus(found)), state)


@pytest.mark.parametrize("extrinsics", [False, True])
def test_a_loaded_model_computes_what_the_published_tensors_say(extrinsics: bool) -> None:
    """Named tensors in, the formula out: a swapped pair of names cannot pass."""
    state = {name: tensor.double() for name, tensor in published_state(**SMALL).items()}
    config = ac_config(state, heads=2, img_size=32, use_extrinsics=extrinsics)
    model = ActionPredictor(config).double()
    model.load_state_dict(to_nexus(state), strict=True)
    assert identical(to_meta(model.state_dict()), state)
    generator = torch.Generator().manual_seed(1)
    features, actions, states, poses = (
        torch.randn(1, length, width, generator=generator, dtype=torch.float64)
        for length, width in ((8, 10), (2, 7), (2, 7), (2, 6))
    )
    given = (features, actions, states, *([poses] if extrinsics else []))
    expected = slow.predict(state, *(tensor[0] for tensor in given), heads=2, sides=(2, 2), side=2)
    torch.testing.assert_close(model(*given)[0], expected, rtol=1e-10, atol=1e-10)


@given(dim=st.integers(3, 1000), hidden=st.integers(1, 8192))
@settings(deadline=None)
def test_any_hidden_width_is_found_again(dim: int, hidden: int) -> None:
    """1 / 98 * 98 falls short of 1: the ratio must not round down to a narrower MLP."""
    shapes = action_shapes(width=3, dim=2 * dim, depth=1, hidden=hidden)
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    config = ac_config(state, heads=1)
    assert int(2 * dim * config.mlp_ratio) == hidden
    assert math.isclose(config.mlp_ratio, hidden / (2 * dim))


def test_conditions_of_other_widths() -> None:
    state = published_state(**SMALL, conditions=(4, 9, 3))
    config = ac_config(state, heads=2)
    assert (config.action_dim, config.state_dim, config.extrinsics_dim) == (4, 9, 3)
    assert (config.depth, config.mlp_ratio, config.in_dim) == (3, 2.5, 10)


def test_at_the_published_width_a_missing_last_block_is_noticed() -> None:
    shapes = action_shapes(width=8, dim=1024, depth=2, hidden=8)
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    with pytest.raises(CheckpointError, match=r"(?s)ac.pt: .*blocks\.2\b"):
        action_predictor(Path("ac.pt"), state, {}, 8)
    assert ac_config(state, depth=2).depth == 2


def test_foreign_tensors_are_refused(tmp_path: Path) -> None:
    state = published_state(**SMALL)
    with pytest.raises(CheckpointError, match="has no mask_tokens.0; its tensors begin with"):
        to_nexus({**state, "mask_tokens.0": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"has no .* and 31 more"):
        to_meta({name: tensor for name, tensor in state.items() if "blocks" in name})
    twice = {**state, "module.predictor_norm.bias": torch.zeros(24)}
    torch.save({"encoder": {}, "predictor": twice}, tmp_path / "ac.pt")
    with pytest.raises(CheckpointError, match="two tensors are called predictor_norm.bias"):
        read_official(tmp_path / "ac.pt")


@pytest.mark.parametrize(
    "missing",
    ["predictor_embed.weight", "action_encoder.weight", "predictor_blocks.0.mlp.fc1.weight"],
)
def test_what_is_missing_is_named(missing: str) -> None:
    state = published_state(**SMALL)
    del state[missing]
    with pytest.raises(CheckpointError, match=f"{missing} is missing, from whose shape"):
        ac_config(state)
    with pytest.raises(CheckpointError, match=rf"{missing} has shape \(3,\); expected 2 dim"):
        ac_config({**state, missing: torch.zeros(3)})


def test_settings_that_the_shapes_contradict() -> None:
    with pytest.raises(ConfigError, match="predictor_dim 24 does not divide into heads 16"):
        ac_config(published_state(**SMALL))
    with pytest.raises(ConfigError, match="did you mean 'heads'"):
        ac_config(published_state(**SMALL), head=2)
