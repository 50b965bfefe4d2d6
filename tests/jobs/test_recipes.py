"""Every recipe trains, at a reduced size, through the front door; runs that start from weights."""

import json

import pytest
import torch
from oracles.tiny import SMALL_SIZE as SIZE
from oracles.tiny import stir

import nexus
from nexus.checkpoints.files import read_card
from nexus.checkpoints.huggingface import save_huggingface
from nexus.checkpoints.official import official_state, save_official
from nexus.checkpoints.weights import read_weights
from nexus.cli.main import run
from nexus.errors import CheckpointError, ConfigError, TrainingError
from nexus.models.ssl import VJEPAModel
from nexus.toy.world import ToyConfig, write_toy_world
from nexus.training.recipe import recipe_names

SMALL = (
    "training.steps=3",
    "training.batch_size=2",
    "training.accumulation=1",
    "training.log_every=1",
    "training.threads=1",
    "training.device=cpu",
    "training.tensorboard=false",
    "data.num_workers=0",
    "model.img_size=16",
    "model.num_frames=4",
)
SCHEDULE = ("optim.warmup_steps=1", "optim.cooldown_steps=1")
GROWING = "training.curriculum=[[0,4],[2,8,24]]"
OVERRIDES = {
    "seed": SIZE,
    "small": SIZE,
    "footage": (*SIZE, "data.clip.fps=30", "model.positions=learned"),
    "vjepa2": (*SIZE, *SCHEDULE, GROWING),
    "vjepa2.1": (
        *(*SIZE, *SCHEDULE, GROWING),
        "model.feature_levels=[0,1,2]",
        "model.predicted_levels=3",
        "model.context_loss_warmup=[0,2]",
        "model.context_weighting_end=2",
    ),
    "adapt": (),
}
MADE_OF = {
    "img_size": 16, "num_frames": 8, "patch_size": 8, "factorized": False, "encoder_dim": 24,
    "num_heads": 2, "num_spatial_layers": 2, "num_temporal_layers": 0, "predictor_dim": 24,
    "predictor_heads": 2, "num_predictor_layers": 1, "positions": "rope_tiled",
}  # fmt: skip


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    config = ToyConfig(size=16, num_frames=8, train_clips=8, validation_clips=0, test_clips=0)
    write_toy_world(folder, config, seed=0)
    return folder


def published(seed=5, **changes) -> VJEPAModel:
    torch.manual_seed(seed)
    model = VJEPAModel({**MADE_OF, **changes})
    stir(model, scale=0.05)
    return model


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    save_official(path, published())
    return path


def journal(out):
    return [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]


def test_every_recipe_is_tested_here():
    assert recipe_names() == sorted(OVERRIDES)


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_recipe_trains(name, videos, weights, tmp_path):
    init = weights if name == "adapt" else None
    result = nexus.pretrain(
        videos,
        tmp_path / "run",
        recipe=name,
        overrides=(*SMALL, *OVERRIDES[name]),
        init=init,
        report=False,
    )
    assert result.status == "finished"
    rows = journal(result.out)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(row["loss"] > 0 and row["grad_norm"] > 0 for row in rows)
    if GROWING in OVERRIDES[name]:
        assert [(row["num_frames"], row["height"]) for row in rows] == [(4, 16)] * 2 + [(8, 24)]
        rate = {"vjepa2": 5.25e-4, "vjepa2.1": 6e-4}[name]
        assert [row["lr"] for row in rows] == pytest.approx([rate, rate, 1e-6])
        assert {row["momentum"] for row in rows} == {0.99925}


# --- from weights -----------------------------------------------------------------------------


def adapt(videos, out, init, *overrides, **settings):
    settings = {"recipe": "adapt", "report": False, **settings}
    overrides = (*SMALL, "training.precision=fp32", *overrides)
    return nexus.pretrain(videos, out, init=init, overrides=overrides, **settings)


def saved(out, step):
    return read_weights(out / f"checkpoints/step_{step:08d}/model.safetensors")


def test_published_weights_are_what_a_run_starts_from(videos, weights, tmp_path):
    adapt(videos, tmp_path / "run", weights)
    before, after = saved(tmp_path / "run", 0), saved(tmp_path / "run", 3)
    for name, tensor in published().state_dict().items():
        assert torch.equal(before[name], tensor), name
    assert not torch.equal(
        after["context_encoder.norm.weight"], before["context_encoder.norm.weight"]
    )
    card = read_card(tmp_path / "run").extra["init"]
    assert card["source"] == str(weights) and len(card["sha256"]) == 64
    assert card["layout"] == "vjepa2" and "V-JEPA 2, Meta's layout" in card["report"]
    assert json.loads((tmp_path / "run/run.json").read_text())["init"] == card


def test_a_file_without_a_context_encoder_lends_the_targets(videos, tmp_path):
    state = official_state(published())
    del state["encoder"]
    torch.save(state, tmp_path / "target.pt")
    adapt(videos, tmp_path / "run", tmp_path / "target.pt")
    before, model = saved(tmp_path / "run", 0), published()
    for name, tensor in model.target_encoder.state_dict().items():
        assert torch.equal(before[f"context_encoder.{name}"], tensor), name
        assert torch.equal(before[f"target_encoder.{name}"], tensor), name
    said = (tmp_path / "run/log.txt").read_text()
    notes = read_card(tmp_path / "run").extra["init"]["notes"]
    assert any("both" in note or "context" in note for note in notes), notes
    assert all(note in said for note in notes)


def test_a_transformers_folder_and_a_run_of_ones_own_are_weights_too(videos, tmp_path):
    model = published()
    save_huggingface(tmp_path / "hf", model)
    adapt(videos, tmp_path / "one", tmp_path / "hf")
    adapt(videos, tmp_path / "two", tmp_path / "one")
    name = "target_encoder.stack.blocks.0.attn.qkv.weight"
    assert torch.equal(saved(tmp_path / "one", 0)[name], model.state_dict()[name])
    assert torch.equal(saved(tmp_path / "two", 0)[name], saved(tmp_path / "one", 3)[name])


def test_a_distilled_predictor_starts_afresh_where_its_teacher_was_wider(videos, tmp_path):
    dense = {"predicts_context": True, "context_loss_weight": 0.5, "positions": "rope_interleaved"}
    levels = {"rope_stretch": 16, "feature_levels": [0, 1], "modality_embedding": True}
    model = published(**dense, **levels, image_input=True, teacher_dim=40)
    save_official(tmp_path / "distilled.pt", model)
    adapt(videos, tmp_path / "run", tmp_path / "distilled.pt")
    before = saved(tmp_path / "run", 0)
    assert before["predictor.proj.weight"].shape == (24, 24)
    notes = read_card(tmp_path / "run").extra["init"]["notes"]
    assert any("predictor.proj.weight" in note and "afresh" in note for note in notes)
    assert "context_loss" in journal(tmp_path / "run")[0]


def test_an_encoder_alone_gets_the_recipes_predictor(videos, tmp_path):
    state = official_state(published())
    del state["predictor"]
    torch.save(state, tmp_path / "encoder.pt")
    own = ("model.predictor_dim=36", "model.predictor_heads=3", "model.num_predictor_layers=2")
    adapt(videos, tmp_path / "run", tmp_path / "encoder.pt", *own)
    before = saved(tmp_path / "run", 0)
    assert before["predictor.stack.blocks.1.norm1.weight"].shape == (36,)
    assert "the predictor starts afresh" in read_card(tmp_path / "run").extra["init"]["notes"]
    again = adapt(videos, tmp_path / "again", tmp_path / "encoder.pt", *own)
    other = saved(again.out, 0)  # the run's own seed makes it
    assert all(torch.equal(before[name], other[name]) for name in before)


def test_a_run_is_resumed_without_its_weights(videos, weights, tmp_path):
    copy, out = tmp_path / "copy.pt", tmp_path / "run"
    copy.write_bytes(weights.read_bytes())
    adapt(videos, out, copy)
    info = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**info, "status": "interrupted"}))
    copy.unlink()
    for init in (None, copy):
        assert adapt(videos, out, init, resume=True).status == "finished"
    other = tmp_path / "tiny.pt"
    save_official(other, published(seed=6))
    for wrong in (other, tmp_path / "nowhere/tiny.pt"):
        with pytest.raises(TrainingError, match=r"started from .*copy\.pt, not from .*tiny\.pt"):
            adapt(videos, out, wrong, resume=True)
    with pytest.raises(TrainingError, match=r"another recipe\n.*ema_momentum"):
        adapt(videos, out, copy, "model.ema_momentum=0.95", resume=True)


def test_weights_may_be_named_otherwise(videos, weights, tmp_path, monkeypatch):
    """By a relative path, through a link, or as a copy elsewhere; what is in them counts."""
    out, (near, far) = tmp_path / "run", (tmp_path / "near", tmp_path / "far")
    for folder, seed in ((near, 5), (far, 6)):
        save_official(folder / "w.pt", published(seed=seed))
    monkeypatch.chdir(near)
    adapt(videos, out, "w.pt")
    first = json.loads((out / "run.json").read_text())["init"]
    (tmp_path / "link.pt").symlink_to(near / "w.pt")
    for same in (near / "w.pt", tmp_path / "link.pt", "../near/w.pt", weights):
        assert adapt(videos, out, same, resume=True).status == "finished"
    assert json.loads((out / "run.json").read_text())["init"] == first
    monkeypatch.chdir(far)
    with pytest.raises(TrainingError, match=r"started from .*near/w\.pt, not from .*far/w\.pt"):
        adapt(videos, out, "w.pt", resume=True)
    with pytest.raises(TrainingError, match="started from nothing, not from"):
        adapt(videos, _without_init(out), near / "w.pt", resume=True)


def _without_init(run):
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "init": None}))
    return run


def test_mistakes_are_told_before_anything_is_written(videos, weights, tmp_path, capsys):
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match="encoder_dim: 24 in the weights, 1024 in the recipe"):
        adapt(videos, out, weights, "model.size=vit_l")
    with pytest.raises(ConfigError, match="--init WEIGHTS"):
        adapt(videos, out, None)
    with pytest.raises(CheckpointError):
        adapt(videos, out, tmp_path / "nowhere.pt")
    assert run(["pretrain", str(videos), "--out", str(out), "--recipe", "adapt"]) == 1
    assert "--init WEIGHTS" in capsys.readouterr().err
    assert not out.exists()


def test_the_command_line(videos, weights, tmp_path):
    words = ["pretrain", str(videos), "--recipe", "adapt", "--init", str(weights), "--no-report"]
    out = tmp_path / "run"
    assert run([*words, "--out", str(out), *SMALL, "training.steps=1"]) == 0
    assert read_card(out).extra["init"]["source"] == str(weights)
