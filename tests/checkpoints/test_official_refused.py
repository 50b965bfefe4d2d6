"""Published files that do not fit, and models that Meta lacks: what is wrong is named."""

import pytest
import torch
from oracles import published
from oracles.published import GIVEN, TINY, TINY_21, Sizes
from oracles.tiny import tiny_model

from nexus.checkpoints.load import load
from nexus.checkpoints.official import save_official
from nexus.errors import CheckpointError


def write(tmp_path, content, name="model.pt"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


def broken(tmp_path, change, kind="vjepa2", sizes=TINY, **given):
    content = published.random_file(kind, sizes)
    change(content)
    with pytest.raises(CheckpointError) as caught:
        load(write(tmp_path, content), config={**GIVEN, **given})
    return str(caught.value)


def drop(part, start):
    def change(content):
        content[part] = {n: t for n, t in content[part].items() if not n.startswith(start)}

    return change


def test_a_missing_block_is_named(tmp_path):
    said = broken(tmp_path, drop("target_encoder", "blocks.1."))
    assert "12 missing from the file: target_encoder.stack.blocks.1.* (12 tensors)" in said
    said = broken(tmp_path, drop("predictor", "predictor_blocks.0.attn"))
    assert "predictor.stack.blocks.0.mlp" not in said
    assert "4 missing from the file: predictor.stack.blocks.0.attn.qkv.weight" in said


def test_a_missing_last_block_of_a_published_size_is_named(tmp_path):
    sizes = Sizes(768, 11, 96, 12, predictor_dim=384, predictor_depth=11, predictor_hidden=96)
    content = {
        "encoder": published.random_state(published.encoder_shapes("vjepa2", sizes), 0),
        "predictor": published.random_state(published.predictor_shapes("vjepa2", sizes), 0),
    }
    path = write(tmp_path, content)
    with pytest.raises(CheckpointError) as caught:
        load(path, config={"img_size": 16})
    for part in ("context_encoder", "target_encoder", "predictor"):
        assert f"{part}.stack.blocks.11.* (12 tensors)" in str(caught.value)
    loaded = load(path, config={"num_spatial_layers": 11, "num_predictor_layers": 11})
    assert loaded.report.exact and loaded.model.config.num_heads == 12


def test_an_extra_block_is_named(tmp_path):
    def add(content):
        shapes = published.block_shapes("blocks.3", TINY.dim, TINY.hidden)
        content["encoder"] |= published.random_state(shapes, 5)

    said = broken(tmp_path, add)  # the other encoder has three blocks only
    assert "12 missing from the file: target_encoder.stack.blocks.3.* (12 tensors)" in said
    said = broken(tmp_path, add, num_spatial_layers=3)
    wanted = "12 in the file but not in the model: context_encoder.stack.blocks.3.* (12 tensors)"
    assert wanted in said


def test_a_wrong_shape_is_named(tmp_path):
    def cut(content):
        content["encoder"]["blocks.2.mlp.fc1.weight"] = torch.zeros(60, 20)

    said = broken(tmp_path, cut)
    wanted = "context_encoder.stack.blocks.2.mlp.fc1.weight: (60, 20) in the file, (60, 24) in the"
    assert wanted in said


def test_wrong_mask_tokens_are_named(tmp_path):
    said = broken(tmp_path, lambda content: None, num_mask_tokens=10)
    assert "predictor.mask_tokens: 3 mask tokens in the file, 10 in the model" in said
    said = broken(tmp_path, drop("predictor", "mask_tokens.1"))
    assert "mask tokens of the predictor: [1] missing among 0 to 2" in said


def test_a_missing_level_norm_is_named(tmp_path):
    change = drop("target_encoder", "norms_block.1.")
    said = broken(tmp_path, change, "vjepa2_1", TINY_21, feature_levels=(0, 2))
    assert "2 missing from the file: target_encoder.norm.weight, target_encoder.norm.bias" in said


def test_an_unknown_name_is_refused(tmp_path):
    def add(content):
        content["target_encoder"]["registers"] = torch.zeros(1, 4, 24)
        content["predictor"]["extra.weight"] = torch.zeros(2)

    said = broken(tmp_path, add)
    wanted = (
        "2 in the file but not in the model: target_encoder: registers, predictor: extra.weight"
    )
    assert wanted in said


def test_the_first_v_jepa_is_not_taken_for_the_second(tmp_path):
    content = published.random_file("vjepa2", Sizes(mask_tokens=2))
    for part in ("encoder", "target_encoder"):
        content[part]["pos_embed"] = torch.zeros(1, 64, 24)
    path = write(tmp_path, content)
    with pytest.raises(CheckpointError, match="looks like V-JEPA, the predecessor of V-JEPA 2"):
        load(path, config=GIVEN)
    assert load(path, config={**GIVEN, "positions": "rope_tiled"}).report.exact


def test_single_tensors_may_be_missing_by_pattern(tmp_path):
    content = published.random_file("vjepa2", TINY)
    drop("encoder", "norm.")(content)
    path = write(tmp_path, content)
    with pytest.raises(CheckpointError, match="context_encoder.norm.weight"):
        load(path, config=GIVEN, allow_missing=["context_encoder.norm.bias"])
    loaded = load(path, config=GIVEN, allow_missing=["context_encoder.norm.*"])
    assert loaded.fresh == ("context_encoder.norm.weight", "context_encoder.norm.bias")
    assert not loaded.predictor_is_fresh
    assert torch.equal(loaded.model.context_encoder.norm.weight, torch.ones(24))
    name = "blocks.0.mlp.fc1.weight"
    found = loaded.model.context_encoder.stack.get_parameter(name)
    assert torch.equal(found, content["encoder"][name])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"positions": "rope_tiled", "image_input": True},
        {"positions": "rope_interleaved"},
    ],
)
def test_models_that_metas_code_does_not_have_are_not_written(tmp_path, changes):
    wide = {"factorized": False, "encoder_dim": 24, "predictor_dim": 24} if changes else {}
    with pytest.raises(CheckpointError, match="Meta's code has no model with positions"):
        save_official(tmp_path / "x.pt", tiny_model(**wide, **changes))
    assert list(tmp_path.iterdir()) == []
