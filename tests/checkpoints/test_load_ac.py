"""Whole files of V-JEPA 2-AC: an encoder and its action-conditioned predictor, in and out."""

import pytest
import torch
from oracles import published
from oracles import v_jepa_ac as slow
from oracles.published import GIVEN, TINY
from oracles.tiny import clips

import nexus
from nexus.checkpoints.official import save_official
from nexus.errors import CheckpointError
from nexus.jobs import convert

ACTIONS = {"heads": 2, "img_size": 16}
CONFIG = {**GIVEN, "action_predictor": ACTIONS}


@pytest.fixture
def content():
    return published.random_action_file(TINY)


@pytest.fixture
def path(tmp_path, content):
    torch.save(content, tmp_path / "ac.pt")
    return tmp_path / "ac.pt"


@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone."])
def test_both_halves_compute_what_the_published_tensors_say(tmp_path, content, prefix):
    torch.save(published.random_action_file(TINY, prefix=prefix), tmp_path / "ac.pt")
    loaded = nexus.load(tmp_path / "ac.pt", config=CONFIG)
    assert loaded.kind == "vjepa2_ac" and loaded.predictor_is_fresh
    for words in ("`action_predictor`", "masked predictor is not from the file"):
        assert words in loaded.explain()
    encoder, predictor = loaded.encoder.double(), loaded.action_predictor.double()
    assert not (encoder.training or predictor.training)
    frames = clips(2).double()[:, :, :2]
    features = encoder(frames)
    wanted = published.encode("vjepa2", TINY, content["encoder"], frames)[-1]
    torch.testing.assert_close(features, wanted, rtol=1e-9, atol=1e-9)
    generator = torch.Generator().manual_seed(0)
    actions, states = torch.randn(2, 2, 1, 7, generator=generator, dtype=torch.float64)
    oracle = slow.predict(
        {name: tensor.double() for name, tensor in content["predictor"].items()},
        features[0], actions[0], states[0], heads=2, sides=(4, 4), side=4,
    )  # fmt: skip
    predicted = predictor(features, actions, states)
    torch.testing.assert_close(predicted[0], oracle, rtol=1e-9, atol=1e-9)


def test_it_comes_back_bit_for_bit(tmp_path, content, path):
    loaded = nexus.load(path, config=CONFIG)
    save_official(tmp_path / "again.pt", loaded.model, loaded.action_predictor)
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    for part in ("encoder", "predictor"):
        assert again[part].keys() == content[part].keys()
        assert all(torch.equal(again[part][name], t) for name, t in content[part].items())
    # The settings that the shapes do not tell are kept.
    reloaded = nexus.load(tmp_path / "again.pt")
    assert reloaded.action_predictor.config == loaded.action_predictor.config
    assert reloaded.model.config == loaded.model.config


def test_the_encoder_alone(path, content):
    loaded = nexus.load(path, config=GIVEN, predictor="fresh")
    assert loaded.action_predictor is None and loaded.predictor_is_fresh
    assert torch.equal(loaded.encoder.norm.weight, content["encoder"]["norm.weight"])


def without_a_tensor(predictor):
    del predictor["predictor_blocks.1.attn.qkv.bias"]


def without_a_block(predictor):
    for name in [name for name in predictor if name.startswith("predictor_blocks.1.")]:
        del predictor[name]


def with_an_extra_tensor(predictor):
    predictor["predictor_blocks.0.extra"] = torch.zeros(2)


def with_a_mask_token(predictor):
    predictor["mask_tokens.0"] = torch.zeros(2)


def with_a_wrong_shape(predictor):
    predictor["predictor_norm.bias"] = torch.zeros(5)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without_a_tensor, r"missing from the file.*blocks\.1\.attn\.qkv\.bias"),
        (without_a_block, r"missing from the file.*blocks\.1\b"),
        (with_an_extra_tensor, r"in the file but not in the model.*blocks\.0\.extra"),
        (with_a_mask_token, r"no mask_tokens\.0"),
        (with_a_wrong_shape, r"of another shape.*norm\.bias: \(5,\)"),
    ],
)
def test_a_damaged_predictor_is_an_error_that_names_the_tensor(tmp_path, content, damage, words):
    damage(content["predictor"])
    torch.save(content, tmp_path / "ac.pt")
    depth = {"action_predictor": {**ACTIONS, "depth": TINY.predictor_depth}}
    with pytest.raises(CheckpointError, match=f"(?s)ac.pt: .*{words}"):
        nexus.load(tmp_path / "ac.pt", config={**GIVEN, **depth})
    assert nexus.load(tmp_path / "ac.pt", config=GIVEN, predictor="fresh").encoder is not None


def test_a_missing_block_of_the_encoder_is_an_error(tmp_path, content):
    del content["encoder"]["blocks.1.norm1.bias"]
    torch.save(content, tmp_path / "ac.pt")
    with pytest.raises(CheckpointError, match=r"blocks\.1\.norm1\.bias"):
        nexus.load(tmp_path / "ac.pt", config=CONFIG)


def test_halves_of_different_widths_do_not_go_together(tmp_path, content):
    wide = published.action_shapes(width=30, dim=16, depth=1, hidden=16)
    content["predictor"] = published.random_state(wide, 0)
    torch.save(content, tmp_path / "ac.pt")
    with pytest.raises(CheckpointError, match="features of width 30, the encoder's have 24"):
        nexus.load(tmp_path / "ac.pt", config=CONFIG)


def test_settings_of_the_action_predictor_are_checked(path, tmp_path):
    for given, words in (
        ({"head": 8}, r"ac\.pt does not give .*did you mean 'heads'.*\n.*\{'heads': 8\}"),
        ({"heads": 5}, r"ac\.pt does not give .*predictor_dim 16 does not divide into heads 5"),
        (8, "action_predictor is 8; expected a mapping"),
    ):
        with pytest.raises(CheckpointError, match=f"(?s){words}"):
            nexus.load(path, config={**GIVEN, "action_predictor": given})
    torch.save(published.random_file("vjepa2", TINY), tmp_path / "masked.pt")
    with pytest.raises(CheckpointError, match="action_predictor"):
        nexus.load(tmp_path / "masked.pt", config=CONFIG)


@pytest.mark.parametrize("to", ["hf", "nexus"])
def test_formats_without_a_place_for_it_are_refused(path, tmp_path, to):
    with pytest.raises(CheckpointError, match="no place for the action-conditioned predictor"):
        convert(path, tmp_path / "out", to=to, config=CONFIG)
    assert not (tmp_path / "out").exists()


def test_metas_layout_is_written_and_the_encoder_goes_anywhere(path, tmp_path, content):
    convert(path, tmp_path / "meta", to="meta", config=CONFIG)
    again = nexus.load(tmp_path / "meta")
    assert torch.equal(
        again.action_predictor.proj.weight, content["predictor"]["predictor_proj.weight"]
    )
    convert(path, tmp_path / "hf", to="hf", config=GIVEN, predictor="fresh")
    assert torch.equal(
        nexus.load(tmp_path / "hf").encoder.norm.weight, content["encoder"]["norm.weight"]
    )
