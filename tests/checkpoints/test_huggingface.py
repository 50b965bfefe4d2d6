"""transformers' folders in and out, against transformers itself; what is refused."""

import json
from pathlib import Path

import pytest
import torch
from oracles.tiny import clips, stir, tiny_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    VJEPA2Config,
    VJEPA2ForVideoClassification,
    VJEPA2Model,
)

from nexus.checkpoints import huggingface
from nexus.checkpoints.huggingface import (
    PROCESSOR_FILE,
    config_to,
    is_huggingface,
    save_huggingface,
    settings_from,
)
from nexus.checkpoints.load import load
from nexus.errors import CheckpointError

SMALL = {
    "patch_size": 4,
    "crop_size": 16,
    "frames_per_clip": 8,
    "tubelet_size": 2,
    "hidden_size": 24,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "mlp_ratio": 2.5,
    "pred_hidden_size": 16,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 2,
    "pred_num_mask_tokens": 3,
    "num_pooler_layers": 1,
}
OURS = {
    "factorized": False,
    "positions": "rope_tiled",
    "num_mask_tokens": 3,
    "mask": "multiblock",
    "mlp_ratio": 2.5,
    "num_predictor_layers": 2,
}


def theirs(kind=VJEPA2Model, **changes):
    torch.manual_seed(0)
    model = kind(VJEPA2Config(**{**SMALL, **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def close(left, right):
    torch.testing.assert_close(left, right, atol=1e-10, rtol=1e-8)


@torch.no_grad()
def check_parity(reference, model):
    """Encoder, and the predictor with the one mask token that transformers uses."""
    reference, model, video = reference.double(), model.double(), clips(2).double()
    mask = model.draw_masks(video)[0]
    out = reference(video.transpose(1, 2), context_mask=[mask.context], target_mask=[mask.target])
    features = model.target_encoder(video)
    close(features, out.last_hidden_state)
    seen = mask.context_layout.select(features)
    found, _ = model.predictor(seen, mask.context_layout, mask.target_layout, mask_token=1)
    close(found, out.predictor_output.last_hidden_state)


def test_a_folder_of_transformers_gives_its_numbers(tmp_path):
    reference = theirs()
    reference.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert loaded.kind == "huggingface" and loaded.report.exact
    assert "one encoder; it is both" in loaded.explain()
    config = loaded.model.config
    assert (config.image_sides, config.num_frames, config.mlp_ratio) == ((16, 16), 8, 2.5)
    assert (config.positions, config.depth, config.loss) == ("rope_tiled", 3, "l1")
    check_parity(reference, loaded.model)


@pytest.mark.parametrize("which", ["target", "context"])
def test_transformers_opens_what_is_exported_and_gives_our_numbers(tmp_path, which):
    model = tiny_model(**OURS).eval()
    stir(model)
    save_huggingface(tmp_path, model, which)
    reference, told = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(reference) is VJEPA2Model
    assert not any(told.values()), told
    model.target_encoder.load_state_dict(model.evaluation_encoder(which).state_dict())
    check_parity(reference.eval(), model)


def test_tensors_go_in_and_out_bit_for_bit(tmp_path):
    reference = theirs()
    reference.save_pretrained(tmp_path / "theirs")
    save_huggingface(tmp_path / "ours", load(tmp_path / "theirs").model)
    before = load_file(tmp_path / "theirs/model.safetensors")
    after = load_file(tmp_path / "ours/model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    known = reference.config.to_dict()
    written = json.loads((tmp_path / "ours/config.json").read_text())
    assert {key: known[key] for key in written} == written
    again = load(tmp_path / "ours")
    save_huggingface(tmp_path / "more", again.model, "context")
    more = load_file(tmp_path / "more/model.safetensors")
    assert all(torch.equal(before[name], more[name]) for name in before)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", PROCESSOR_FILE])
def test_a_failure_at_any_file_leaves_the_folder_as_it_was(tmp_path, monkeypatch, name, there):
    if there:
        save_huggingface(tmp_path, tiny_model(**OURS))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def failing(write):
        def fail(*args, **kwargs):
            [path] = (path for path in args if isinstance(path, Path))
            if name not in path.name:
                return write(*args, **kwargs)
            path.write_bytes(b"half")
            raise OSError("no space left on device")

        return fail

    for write in (huggingface.save_file, huggingface.write_json):
        monkeypatch.setattr(huggingface, write.__name__, failing(write))
    with pytest.raises(OSError, match="no space"):
        save_huggingface(tmp_path, tiny_model(**{**OURS, "num_predictor_layers": 1}))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_written_beside_older_shards_is_what_is_read(tmp_path):
    theirs().save_pretrained(tmp_path, max_shard_size="40KB")
    model = tiny_model(**OURS)
    save_huggingface(tmp_path, model)
    target = load(tmp_path).model.target_encoder
    assert torch.equal(target.norm.weight, model.target_encoder.norm.weight)
    assert torch.equal(target.embed.proj.weight, model.target_encoder.embed.proj.weight)


def test_shards_are_read(tmp_path):
    reference = theirs()
    reference.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    check_parity(reference, load(tmp_path).model)


def test_a_missing_shard_and_one_elsewhere_are_refused(tmp_path):
    theirs().save_pretrained(tmp_path, max_shard_size="40KB")
    first = sorted(tmp_path.glob("model-*.safetensors"))[0]
    kept = first.read_bytes()
    first.unlink()
    with pytest.raises(CheckpointError, match=f"cannot read .*{first.name}"):
        load(tmp_path)
    first.write_bytes(kept[:-200])
    with pytest.raises(CheckpointError, match=f"cannot read .*{first.name}"):
        load(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(index.read_text().replace(first.name, f"../{first.name}"))
    with pytest.raises(CheckpointError, match="names files outside of its folder"):
        load(tmp_path)


def test_of_a_classifier_the_backbone_is_read_and_the_head_named(tmp_path):
    reference = theirs(VJEPA2ForVideoClassification, num_labels=5)
    reference.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert loaded.report.exact
    assert {name.split(".")[0] for name in loaded.report.ignored} == {"pooler", "classifier"}
    assert "classifier and its pooler are not part of this model" in loaded.explain()
    check_parity(reference.vjepa2, loaded.model)


def test_defaults_that_config_json_leaves_out_are_transformers(tmp_path):
    VJEPA2Config().save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    full = settings_from(VJEPA2Config().to_dict())
    assert settings_from(written) == full == settings_from({"model_type": "vjepa2"})
    assert is_huggingface(tmp_path)


def test_a_missing_block_and_part_of_one_are_named(tmp_path):
    theirs().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    kept = {n: t for n, t in tensors.items() if not n.startswith("encoder.layer.2.")}
    save_file(kept, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    for role in ("context_encoder", "target_encoder"):
        assert f"{role}.stack.blocks.2.* (12 tensors)" in str(caught.value)
    del tensors["encoder.layer.1.attention.key.weight"]
    tensors["encoder.layer.9.norm1.scale"] = torch.zeros(1)
    tensors["pooling.weight"] = torch.zeros(1)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    for text in (
        "target_encoder.stack.blocks.1.attn.qkv.weight",
        "target_encoder: layer.1.attention.query.weight",
        "target_encoder.stack.blocks.9.norm1.scale",
        "other: pooling.weight",
    ):
        assert text in str(caught.value)


def test_another_number_of_mask_tokens_is_named(tmp_path):
    theirs().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "pred_num_mask_tokens": 10}))
    with pytest.raises(CheckpointError, match="3 mask tokens in the file, 10 in the model"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "videomae"}, "model_type is 'videomae'; expected 'vjepa2'"),
        ({"hidden_act": "silu"}, "hidden_act is 'silu'; only 'gelu' can be read"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05"),
        ({"qkv_bias": False}, "qkv_bias is False"),
        ({"patch_size": [16, 8]}, "only square patches"),
        ({"hidden_size": 25}, "does not divide into num_heads"),
    ],
)
def test_configurations_that_cannot_be_read(tmp_path, changes, says):
    theirs().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(CheckpointError, match=says):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"positions": "learned"}, "positions are 'learned'; it has 'rope_tiled' alone"),
        ({"positions": "rope_interleaved", "rope_stretch": 16}, "rope_stretch is set"),
        ({"mlp": "swiglu"}, "the MLP is 'swiglu'"),
        ({"img_size": (16, 32)}, "clips are 16 x 32 pixels"),
        ({"feature_levels": (0, 2)}, "feature_levels are set"),
        ({"image_input": True}, "images have an embedding of their own"),
        ({"modality_embedding": True}, "there are modality embeddings"),
        ({"predicts_context": True, "context_loss_weight": 0.5}, "the context is predicted"),
        ({"teacher_dim": 40}, "the predictor gives 40 values a token; its own gives 24"),
    ],
)
def test_models_that_transformers_does_not_have_are_not_written(tmp_path, changes, says):
    model = tiny_model(**{**OURS, "predictor_dim": 24, **changes})
    with pytest.raises(CheckpointError, match=says):
        save_huggingface(tmp_path / "out", model)
    assert not (tmp_path / "out").exists()


def test_a_config_goes_out_and_in():
    model = tiny_model(**OURS, drop_path=0.1)
    settings = settings_from(json.loads(json.dumps(config_to(model.config))))
    found = type(model.config).from_mapping(settings)
    assert found.with_changes(mask_token_std=0.02).image_sides == (16, 16)
    for key in ("encoder_dim", "num_heads", "depth", "drop_path", "mlp_ratio", "predictor_dim",
                "predictor_heads", "num_predictor_layers", "num_mask_tokens", "num_frames",
                "patch_size", "tubelet_size", "in_chans", "positions", "factorized"):  # fmt: skip
        assert getattr(found, key) == getattr(model.config, key), key


@pytest.mark.slow
def test_vit_large_gives_the_numbers_of_transformers(tmp_path):
    """1024 wide, 24 blocks, as published, on short clips of 64 x 64 pixels."""
    torch.manual_seed(0)
    reference = VJEPA2Model(VJEPA2Config(crop_size=64, frames_per_clip=16)).eval()
    reference.save_pretrained(tmp_path)
    model = load(tmp_path).model
    video = torch.randn(1, 3, 16, 64, 64)
    mask = model.draw_masks(video)[0]
    with torch.no_grad():
        out = reference(
            video.transpose(1, 2), context_mask=[mask.context], target_mask=[mask.target]
        )
        features = model.target_encoder(video)
        seen = mask.context_layout.select(features)
        found, _ = model.predictor(seen, mask.context_layout, mask.target_layout, mask_token=1)
    for mine, their in (
        (features, out.last_hidden_state),
        (found, out.predictor_output.last_hidden_state),
    ):
        assert (mine - their).abs().max() < 1e-5 * their.abs().max()
