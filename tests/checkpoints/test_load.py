"""`nexus.load`: what it takes for what, channels, runs, the hub; layouts have their own tests."""

import json
import sys

import huggingface_hub
import pytest
import torch
from oracles import published
from oracles.hub import COMMITS, serve
from oracles.published import GIVEN, GIVEN_21, TINY, TINY_21, Sizes
from oracles.tiny import TINY as PLAIN
from oracles.tiny import clips, stir, tiny_model

import nexus
from nexus.checkpoints.files import ModelCard, save_checkpoint
from nexus.checkpoints.huggingface import save_huggingface
from nexus.checkpoints.load import load
from nexus.errors import CheckpointError
from nexus.models.ssl import build_model

ROTARY = {"factorized": False, "positions": "rope_tiled", "num_mask_tokens": 3}


def published_file(tmp_path, kind="vjepa2", sizes=TINY):
    torch.save(published.random_file(kind, sizes), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def identical(left, right):
    left, right = left.state_dict(), right.state_dict()
    return left.keys() == right.keys() and all(
        torch.equal(left[name], right[name]) for name in left
    )


def test_nexus_load_is_it(tmp_path):
    assert nexus.load is load and "load" in dir(nexus)


@pytest.mark.parametrize("changes", [{}, {"positions": "sincos"}, ROTARY])
def test_a_run_and_its_checkpoint_are_loaded(tmp_path, changes):
    model = tiny_model(**changes)
    stir(model)
    model.update_target()
    card = ModelCard(kind="vjepa", config=model.config.to_mapping(), step=7)
    folder = save_checkpoint(tmp_path / "run/checkpoints", model, card, {})
    for place in (tmp_path / "run", folder, str(folder)):
        loaded = load(place)
        assert identical(loaded.model, model) and loaded.kind == "nexus"
        assert loaded.path == folder and loaded.report.exact and not loaded.model.training
    video = clips()
    assert torch.equal(loaded.encoder(video), model.target_encoder(video))


def test_a_run_of_another_kind_is_refused(tmp_path):
    model = build_model({"kind": "pixels", **PLAIN, "num_frames": 4})
    card = ModelCard(kind="pixels", config=model.config.to_mapping(), step=7)
    save_checkpoint(tmp_path, model, card, {})
    with pytest.raises(CheckpointError, match="kind 'pixels'.*load_checkpoint_model"):
        load(tmp_path)


@pytest.mark.parametrize("chans", [1, 2, 5])
def test_a_grey_clip_is_embedded_alike_whatever_the_number_of_channels(tmp_path, chans):
    path = published_file(tmp_path, "vjepa2_1", TINY_21)
    rgb = load(path, config=GIVEN_21).model.double()
    loaded = load(path, config=GIVEN_21, in_chans=chans)
    model = loaded.model.double()
    assert model.config.in_chans == chans
    assert f"patch weights of 3 channels were averaged for {chans}" in loaded.explain()
    grey = clips(chans=1).double()
    for frames in (8, 1):  # the patch embedding of images too
        video = grey[:, :, :frames]
        wanted = rgb.target_encoder(video.expand(-1, 3, -1, -1, -1))
        found = model.target_encoder(video.expand(-1, chans, -1, -1, -1))
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)
        weight, old = (m.target_encoder.embed.proj.weight for m in (model, rgb))
        torch.testing.assert_close(weight[:, 0], old.mean(dim=1) * 3 / chans)
    loss, _ = loaded.model.train()(clips(chans=chans).double())
    loss.backward()


def test_as_many_channels_as_the_file_has_change_nothing(tmp_path):
    path = published_file(tmp_path)
    same = load(path, config=GIVEN, in_chans=3)
    assert identical(same.model, load(path, config=GIVEN).model)
    assert "averaged" not in same.explain()


def test_channels_given_as_a_setting_of_the_file_are_a_mismatch(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"\(24, 3, 2, 4, 4\) in the file, \(24, 1, 2, 4, 4\)"
    ):
        load(published_file(tmp_path), config={**GIVEN, "in_chans": 1})


def test_settings_of_ones_own_win(tmp_path):
    path = published_file(tmp_path)
    config = load(path, config={**GIVEN, "img_size": (8, 16), "loss": "mse"}).model.config
    assert (config.image_sides, config.loss) == ((8, 16), "mse")
    with pytest.raises(CheckpointError, match="unknown key 'image_size'; did you mean 'img_size'"):
        load(path, config={**GIVEN, "image_size": 8})
    with pytest.raises(
        CheckpointError, match=r"(?s)need an even head width.*config=\{'num_heads': 4\}"
    ):
        load(path, config={**GIVEN, "num_heads": 24})


def test_the_account_says_what_was_loaded(tmp_path):
    told = load(published_file(tmp_path), config=GIVEN).explain()
    for text in (
        f"{tmp_path}/model.pt: V-JEPA 2, Meta's layout",
        "3 blocks of width 24 with 2 heads; clips of 8 frames of 16 x 16 pixels",
        "112 of the model's 112 tensors match",
    ):
        assert text in told
    with pytest.raises(CheckpointError, match="role is 'student'"):
        load(tmp_path / "model.pt", role="student")


@pytest.mark.parametrize("patterns", ["predictor.*", None, [1], {"*": 1}.keys])
def test_what_may_be_missing_is_a_list_of_patterns(tmp_path, patterns):
    path = published_file(tmp_path)
    says = r"allow_missing is .*; expected a list of patterns, for instance \['predictor\.\*'\]"
    with pytest.raises(CheckpointError, match=says):
        load(path, config=GIVEN, allow_missing=patterns)
    with pytest.raises(CheckpointError, match=says):
        nexus.convert(path, tmp_path / "out", to="onnx", config=GIVEN, allow_missing=patterns)
    with pytest.raises(CheckpointError, match=says):
        load(path, config=GIVEN).report.acceptable(patterns)


def test_a_misspelt_predictor_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="predictor is 'frehs'; expected 'file' or 'fresh'"):
        load(published_file(tmp_path), config=GIVEN, predictor="frehs")


def test_an_impossible_number_of_channels_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"(?s)model\.pt does not give a.*in_chans: got 0"):
        load(published_file(tmp_path), config=GIVEN, in_chans=0)


@pytest.fixture
def no_network(monkeypatch):
    """Whoever asks the hub for anything fails the test."""

    def refuse(*args, **kwargs):
        raise AssertionError(f"the hub was asked for {args}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere.pt", "nowhere.pt does not exist; . holds here, runs"),
        ("org/model.pt", "org/model.pt does not exist; nor does org"),
        ("./org/name", "org/name does not exist; nor does org"),
        ("/org/name", "/org/name does not exist; nor does /org"),
        ("~/no/name", "does not exist"),
        ("a/b/c", "a/b/c does not exist; nor does a/b"),
        ("name", "name does not exist"),
        ("runs/frist", "the folder runs does; runs holds first. .*hf://runs/frist"),
        ("", "checkpoint"),
    ],
)
def test_what_looks_like_a_path_never_asks_the_hub(tmp_path, monkeypatch, no_network, source, says):
    (tmp_path / "runs/first").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=says):
        load(source)


def test_a_path_object_is_a_path(tmp_path, no_network):
    with pytest.raises(CheckpointError, match="does not exist"):
        load(tmp_path.relative_to("/") / "org/name")


def test_a_folder_of_the_hubs_name_is_taken_first(tmp_path, monkeypatch, no_network):
    monkeypatch.chdir(tmp_path)
    model = tiny_model(**ROTARY)
    save_huggingface("org/name", model)
    assert identical(load("org/name").model.target_encoder, model.target_encoder)
    with pytest.raises(CheckpointError, match="there is no revision 'v1'.*hf://org/name"):
        load("org/name", revision="v1")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "holds no checkpoint; expected config.json and model.safetensors"),
        ({"config.json": "{}"}, "expected a mapping with kind, config and step"),
        ({"config.json": "[]"}, "cannot read .*config.json"),
        ({"config.json": '{"model_type": "vjepa2"}'}, "neither model.safetensors nor"),
        ({"config.json": '{"model_type": "vit"}'}, "model_type is 'vit'"),
        ({"config.json": '{"model_type": "vjepa2"', "model.safetensors": ""}, "cannot read"),
    ],
)
def test_other_folders_are_refused(tmp_path, files, says):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=says):
        load(tmp_path)


def test_weights_without_their_configuration_are_refused(tmp_path):
    save_huggingface(tmp_path, tiny_model(**ROTARY))
    with pytest.raises(CheckpointError, match=f"configuration beside it; give {tmp_path}"):
        load(tmp_path / "model.safetensors")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine with `org/name` at two commits; yields what it is asked for."""
    for number, commit in enumerate(COMMITS.values()):
        folder = tmp_path / "hub/org/name" / commit
        save_huggingface(folder, tiny_model(seed=number, **ROTARY))
        (folder / "pytorch_model.bin").write_bytes(b"not wanted")
    constants = huggingface_hub.constants
    with serve(tmp_path / "hub") as (address, asked):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield asked


def test_a_hub_id_is_fetched_and_says_what_it_was(tmp_path, hub):
    cache = tmp_path / "cache"
    for source in ("org/name", "hf://org/name"):
        loaded = load(source, cache_dir=cache)
        assert identical(loaded.encoder, tiny_model(seed=0, **ROTARY).target_encoder)
        assert (loaded.hub_id, loaded.revision) == ("org/name", COMMITS["main"])
        assert f"org/name at {COMMITS['main']}: V-JEPA 2, transformers" in loaded.explain()
        assert f"main was {COMMITS['main']}; give that as the revision" in loaded.explain()
    assert sum(name.endswith("model.safetensors") for name in hub) <= 2  # HEAD and GET, once
    assert not any(name.endswith("pytorch_model.bin") for name in hub)


def test_a_revision_is_that_revision_and_needs_no_network_once_fetched(tmp_path, hub):
    cache = tmp_path / "cache"
    old = tiny_model(seed=1, **ROTARY).target_encoder
    loaded = load("org/name", revision="v1", cache_dir=cache)
    assert identical(loaded.encoder, old) and loaded.revision == COMMITS["v1"]
    asked = len(hub)
    loaded = load("org/name", revision=COMMITS["v1"], cache_dir=cache)
    assert identical(loaded.encoder, old) and "give that as" not in loaded.explain()
    assert not any("resolve" in name for name in hub[asked:])


@pytest.mark.parametrize(("to", "kind"), [("meta", "vjepa2"), ("nexus", "nexus"), ("hf", None)])
def test_whatever_is_converted_can_be_fetched(tmp_path, hub, to, kind):
    model = tiny_model(seed=3, **ROTARY)
    card = ModelCard(kind="vjepa", config=model.config.to_mapping(), step=7)
    save_checkpoint(tmp_path / "run", model, card, {})
    folder = tmp_path / "hub/org/mine" / COMMITS["main"]
    nexus.convert(tmp_path / "run", folder, to=to)
    if to == "hf":  # what a folder on this machine would not be read from is not fetched
        (folder / "model.pt").write_bytes(b"not wanted")
    loaded = load("org/mine", cache_dir=tmp_path / "cache")
    assert identical(loaded.encoder, model.target_encoder)
    assert loaded.kind == (kind or "huggingface") and loaded.revision == COMMITS["main"]
    assert any(name.endswith("model.pt") for name in hub) == (to == "meta")
    asked = len(hub)
    again = load("org/mine", revision=COMMITS["main"], cache_dir=tmp_path / "cache")
    assert identical(again.model, loaded.model)
    assert not any("resolve" in name for name in hub[asked:])


@pytest.mark.parametrize(("name", "revision"), [("org/none", None), ("org/name", "v9")])
def test_what_the_hub_does_not_have_is_named(tmp_path, hub, name, revision):
    with pytest.raises(CheckpointError, match=f"cannot fetch {name}.*not found|Not Found"):
        load(name, revision=revision, cache_dir=tmp_path / "cache")


def test_without_huggingface_hub_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"pip install 'nexus-vjepa\[hub\]'"):
        load("org/name")
    with pytest.raises(CheckpointError, match="'a/b/c' is not a hub id"):
        load("hf://a/b/c")


def test_loading_on_the_meta_device_draws_no_random_numbers(tmp_path):
    path = published_file(tmp_path, sizes=Sizes(dim=48))
    state = torch.get_rng_state()
    load(path, config=GIVEN)
    assert torch.equal(torch.get_rng_state(), state)
    config = json.loads(json.dumps(load(path, config=GIVEN).model.config.to_mapping()))
    assert config["encoder_dim"] == 48
