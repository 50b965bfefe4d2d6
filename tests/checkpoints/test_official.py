"""Published files in and out: names, shapes, numbers; what is refused has tests of its own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import published
from oracles.published import DISTILLED, GIVEN, GIVEN_21, TINY, TINY_21, Sizes
from oracles.tiny import clips, tiny_model

from nexus.checkpoints.architecture import ratio_of
from nexus.checkpoints.load import load
from nexus.checkpoints.official import OfficialFile, official_state, save_official, weights_of
from nexus.errors import CheckpointError
from nexus.models.ssl import VJEPAModel

KINDS = {
    "vjepa2": ("vjepa2", TINY, GIVEN),
    "vjepa2_1": ("vjepa2_1", TINY_21, GIVEN_21),
    "distilled": ("vjepa2_1", DISTILLED, GIVEN_21),
}


def write(tmp_path, content, name="model.pt"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


def same_tensors(left, right):
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]) and tensor.dtype == right[name].dtype, name


@pytest.mark.parametrize("arm", KINDS)
def test_a_loaded_model_computes_what_the_published_tensors_say(tmp_path, arm):
    kind, sizes, given = KINDS[arm]
    content = published.random_file(kind, sizes, prefix="module.backbone.")
    loaded = load(write(tmp_path, content), config=given)
    model = loaded.model.double()
    video = clips(2)
    plain = {
        part: {name.removeprefix("module.backbone."): t for name, t in content[part].items()}
        for part in ("encoder", "target_encoder", "predictor")
    }
    with torch.no_grad():
        for part, encoder in (
            ("encoder", model.context_encoder),
            ("target_encoder", model.target_encoder),
        ):
            wanted = published.encode(kind, sizes, plain[part], video)
            levels = sizes.levels or (-1,)
            found = encoder.features(video.double(), blocks=levels)
            for mine, theirs in zip(found, wanted, strict=True):
                torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=1e-9)
        if kind == "vjepa2_1":
            wanted = published.encode(kind, sizes, plain["target_encoder"], video[:, :, :1])
            found = model.target_encoder(video[:, :, :1].double())
            torch.testing.assert_close(found, wanted[-1], atol=1e-9, rtol=1e-9)
        mask = model.draw_masks(video)[0]
        seen = torch.randn(2, mask.context.shape[1], sizes.dim * sizes.predicted_levels).double()
        for token in range(sizes.mask_tokens):
            wanted = published.predict(
                kind, sizes, plain["predictor"], seen, mask.context, mask.target, (4, 4, 4), token
            )
            found = model.predictor(seen, mask.context_layout, mask.target_layout, mask_token=token)
            for mine, theirs in zip(found, wanted, strict=True):
                if theirs is None:
                    assert mine is None
                else:
                    torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("arm", KINDS)
def test_a_file_goes_in_and_out_bit_for_bit(tmp_path, arm):
    kind, sizes, given = KINDS[arm]
    content = published.random_file(kind, sizes)
    loaded = load(write(tmp_path, content), config=given)
    state = official_state(loaded.model)
    for part in ("encoder", "target_encoder", "predictor"):
        same_tensors(state[part], content[part])
    assert ("ema_encoder" in state) == (arm == "distilled")
    save_official(tmp_path / "again.pt", loaded.model)
    again = load(tmp_path / "again.pt")  # nothing needs to be said: the file holds its settings
    assert again.model.config == loaded.model.config and again.kind == loaded.kind
    same_tensors(again.model.state_dict(), loaded.model.state_dict())


def test_loaded_encoders_are_apart_and_only_one_is_trained(tmp_path):
    content = published.random_file("vjepa2", TINY)
    del content["target_encoder"]
    model = load(write(tmp_path, content), config=GIVEN).model
    assert not model.training
    assert all(p.requires_grad for p in model.context_encoder.parameters())
    assert not any(p.requires_grad for p in model.target_encoder.parameters())
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.target_encoder.norm.weight.clone()
    loss, _ = model(clips(4))
    loss.backward()
    optimizer.step()
    assert torch.equal(model.target_encoder.norm.weight, before)
    model(clips(4))
    assert int(model.ema_step) == 1
    assert not torch.equal(model.target_encoder.norm.weight, before)


@given(st.integers(1, 10**5), st.integers(1, 10**4))
def test_the_mlp_ratio_gives_the_hidden_width_again(hidden, dim):
    assert int(dim * ratio_of(hidden, dim)) == hidden


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_any_sizes_are_read_off_the_shapes(data):
    draw, small = data.draw, st.integers(1, 4)
    depth, kind = draw(small), draw(st.sampled_from(["vjepa2", "vjepa2_1"]))
    levels = draw(st.sets(st.integers(0, depth - 1))) | {depth - 1} if kind != "vjepa2" else ()
    sizes = Sizes(
        dim=12 * draw(small), depth=depth, hidden=draw(st.integers(1, 99)),
        levels=tuple(sorted(levels)), patch=draw(st.sampled_from([2, 4, 8])),
        tubelet=draw(st.sampled_from([1, 2, 4])), chans=draw(small), predictor_dim=16,
        predictor_depth=draw(small), predictor_hidden=draw(st.integers(1, 99)),
        predicted_levels=draw(st.integers(1, max(1, len(levels)))), mask_tokens=draw(small),
        teacher=draw(st.sampled_from([None, 7])),
    )  # fmt: skip
    told = {**GIVEN, **({"feature_levels": sizes.levels} if levels else {})}
    with torch.device("meta"):
        encoder, predictor = (
            {name: torch.empty(shape) for name, shape in shapes(kind, sizes).items()}
            for shapes in (published.encoder_shapes, published.predictor_shapes)
        )
        file = OfficialFile(Path("x.pt"), kind, {"encoder": encoder}, predictor)
        weights = weights_of(file, told)
        expected = VJEPAModel(weights.config).state_dict()
    found = {name: tensor.shape for name, tensor in weights.tensors.items()}
    assert found == {name: tensor.shape for name, tensor in expected.items()}


PUBLISHED = {
    "vitl": ("vjepa2", Sizes(1024, 24, 4096, 16), {}),
    "vith": ("vjepa2", Sizes(1280, 32, 5120, 16), {}),
    "vitg": ("vjepa2", Sizes(1408, 40, 6144, 22), {}),
    "vitg-384": ("vjepa2", Sizes(1408, 40, 6144, 22), {"img_size": 384}),
    "vjepa2_1_vitb_dist_vitG_384": ("vjepa2_1", Sizes(768, 12, 3072, 12, (2, 5, 8, 11)), {}),
    "vjepa2_1_vitl_dist_vitG_384": ("vjepa2_1", Sizes(1024, 24, 4096, 16, (5, 11, 17, 23)), {}),
    "vjepa2_1_vitg_384": ("vjepa2_1", Sizes(1408, 40, 6144, 22, (9, 19, 29, 39)), {}),
    "vjepa2_1_vitG_384": ("vjepa2_1", Sizes(1664, 48, 8192, 26, (11, 23, 37, 47)), {}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_published_models_architecture_is_read_off_its_shapes(tmp_path, name):
    kind, sizes, more = PUBLISHED[name]
    distilled, newer = "dist" in name, kind == "vjepa2_1"
    sizes = replace(
        sizes,
        patch=16,
        predictor_dim=384,
        predictor_depth=24 if newer and not distilled else 12,
        predictor_hidden=1536,
        predictor_heads=12,
        predicted_levels=4 if newer and not distilled else 1,
        mask_tokens=8 if newer else 10,
        teacher=1664 if distilled else None,
    )
    with torch.device("meta"):
        encoder, predictor = (
            {name: torch.empty(shape) for name, shape in shapes(kind, sizes).items()}
            for shapes in (published.encoder_shapes, published.predictor_shapes)
        )
        part = "ema_encoder" if distilled else "target_encoder"
        file = OfficialFile(tmp_path / f"{name}.pt", kind, {part: encoder}, predictor)
        weights = weights_of(file, {})
        config = weights.config
        model = VJEPAModel(config)
    expected = {
        "encoder_dim": sizes.dim, "num_heads": sizes.heads, "depth": sizes.depth,
        "predictor_heads": 12, "predictor_dim": 384, "num_predictor_layers": sizes.predictor_depth,
        "num_mask_tokens": sizes.mask_tokens, "patch_size": 16, "tubelet_size": 2, "in_chans": 3,
        "positions": "rope_interleaved" if newer else "rope_tiled",
        "rope_stretch": 16 if newer else None, "image_input": newer, "modality_embedding": newer,
        "feature_levels": sizes.levels, "predicted_levels": sizes.predicted_levels,
        "predicts_context": newer, "teacher_dim": sizes.teacher, "factorized": False,
        "img_size": more.get("img_size", 384 if newer else 256), "num_frames": 64,
        "loss": "l1", "target_norm": "layer", "mask": "multiblock",
    }  # fmt: skip
    assert {key: getattr(config, key) for key in expected} == expected
    shapes = {name: t.shape for name, t in model.state_dict().items()}
    assert {name: t.shape for name, t in weights.tensors.items()} == shapes
    assert any(f"one encoder, `{part}`" in note for note in weights.notes)


@pytest.mark.parametrize(
    ("parts", "target", "context"),
    [
        (("encoder", "target_encoder"), "target_encoder", "encoder"),
        (("encoder", "ema_encoder"), "ema_encoder", "encoder"),
        (("ema_encoder",), "ema_encoder", "ema_encoder"),
        (("encoder",), "encoder", "encoder"),
        (("target_encoder",), "target_encoder", "target_encoder"),
    ],
)
def test_each_role_has_its_encoder(tmp_path, parts, target, context):
    content = {
        part: published.random_state(published.encoder_shapes("vjepa2", TINY), seed)
        for seed, part in enumerate(parts)
    }
    content["predictor"] = published.random_state(published.predictor_shapes("vjepa2", TINY), 9)
    path = write(tmp_path, content)
    for role, part in (("target", target), ("context", context)):
        loaded = load(path, config=GIVEN, role=role)
        assert loaded.encoder is loaded.model.evaluation_encoder(role)
        assert torch.equal(loaded.encoder.norm.weight, content[part]["norm.weight"])
        told = f"one encoder, `{parts[0]}`; it is both" in loaded.explain()
        assert told == (len(parts) == 1)


def test_a_stray_position_table_is_left_aside_and_told(tmp_path):
    content = published.random_file("vjepa2", TINY)
    content["encoder"]["pos_embed"] = torch.zeros(1, 64, 24)
    content["predictor"]["predictor_pos_embed"] = torch.zeros(1, 64, 16)
    loaded = load(write(tmp_path, content), config=GIVEN)
    assert loaded.report.exact
    assert loaded.report.ignored == ("encoder: pos_embed", "predictor: predictor_pos_embed")
    assert "2 in the file and of no use here: encoder: pos_embed" in loaded.explain()


def test_an_encoder_without_a_predictor_is_loaded_when_that_is_asked_for(tmp_path):
    content = published.random_file("vjepa2", TINY)
    del content["predictor"]
    path = write(tmp_path, content)
    with pytest.raises(CheckpointError, match=r"predictor='fresh'"):
        load(path, config=GIVEN)
    small = {"predictor_dim": 16, "num_predictor_layers": 1}
    for how in ({"predictor": "fresh"}, {"allow_missing": ["predictor.*"]}):
        loaded = load(path, config={**GIVEN, **small}, **how)
        assert loaded.predictor_is_fresh and "predictor is not from the file" in loaded.explain()
        assert len(loaded.fresh) == len(list(loaded.model.predictor.state_dict()))
        assert loaded.model.predictor.proj.weight.abs().sum() > 0
        loss, _ = loaded.model(clips())
        assert loss.isfinite()


def test_a_distilled_model_embeds_and_trains_with_a_fresh_predictor(tmp_path):
    content = published.random_file("vjepa2_1", DISTILLED)
    path = write(tmp_path, content)
    model = load(path, config=GIVEN_21).model
    assert model.config.teacher_dim == 40
    assert model.target_encoder(clips()).shape == (2, 64, 24)
    fresh = load(path, config=GIVEN_21, predictor="fresh")
    assert fresh.predictor_is_fresh and fresh.model.config.teacher_dim is None
    loss, _ = fresh.model.train()(clips())
    loss.backward()


def test_half_precision_is_widened(tmp_path):
    content = published.random_file("vjepa2", TINY)
    content["encoder"] = {name: t.bfloat16() for name, t in content["encoder"].items()}
    model = load(write(tmp_path, content), config=GIVEN).model
    weight = model.context_encoder.norm.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, content["encoder"]["norm.weight"].float())


def test_gated_mlps_go_in_and_out(tmp_path):
    shape = {"factorized": False, "positions": "rope_tiled", "mlp": "swiglu", "mlp_ratio": 4.0}
    model = tiny_model(**shape)
    state = official_state(model)
    del state["nexus_config"]
    assert state["encoder"]["blocks.0.mlp.fc3.weight"].shape == (24, 64)
    loaded = load(write(tmp_path, state), config={"num_heads": 2, "predictor_heads": 2})
    assert (loaded.model.config.mlp, loaded.model.config.mlp_ratio) == ("swiglu", 4.0)
    same_tensors(loaded.model.state_dict(), model.state_dict())
