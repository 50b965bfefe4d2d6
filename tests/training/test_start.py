"""Runs that start from weights: what the weights fix, what starts afresh, what a resume needs."""

import json
from dataclasses import replace

import pytest
import torch
from oracles.tiny import stir

from nexus.checkpoints.files import load_checkpoint_model, read_card
from nexus.checkpoints.weights import read_weights, tensor_digest
from nexus.errors import CheckpointError, ConfigError, TrainingError
from nexus.models.ssl import VJEPAModel
from nexus.runs.schema import InitInfo, RunInfo
from nexus.training.loop import train
from nexus.training.recipe import Recipe, load_recipe
from nexus.training.start import Start, continued_model, load_start
from nexus.training.trainer import Trainer

MADE_OF = {
    "img_size": 16, "num_frames": 4, "patch_size": 8, "factorized": False, "encoder_dim": 12,
    "num_heads": 2, "num_spatial_layers": 1, "num_temporal_layers": 1, "predictor_dim": 12,
    "predictor_heads": 2, "num_predictor_layers": 1, "positions": "rope_tiled",
}  # fmt: skip
OVERRIDES = (
    "training.steps=4",
    "training.batch_size=2",
    "training.accumulation=1",
    "training.checkpoint_every=2",
    "training.log_every=1",
    "training.precision=fp32",
    "training.threads=1",
    "training.device=cpu",
    "training.tensorboard=false",
    "optim.lr=1e-2",
    "data.num_workers=0",
)


@pytest.fixture(scope="module")
def weights():
    """A model whose two encoders and whose steps differ from those of a fresh one."""
    torch.manual_seed(7)
    model = VJEPAModel({**MADE_OF, "mask": "tube", "loss": "mse"})
    stir(model, scale=0.05)
    model.ema_step.fill_(123)
    return model


@pytest.fixture(scope="module")
def start(weights):
    tensors = weights.state_dict()
    origin = InitInfo(
        source="there.pt",
        sha256=tensor_digest(tensors, exact=True),
        notes=("as published",),
    )
    return Start(weights.config.to_mapping(), tensors, origin)


def adapt(start, *overrides):
    return load_recipe("adapt", [*OVERRIDES, *overrides], weights=start.config)


# --- settings ---------------------------------------------------------------------------------


def test_the_weights_say_what_the_model_is_made_of_and_the_recipe_how_it_is_trained(start):
    recipe = adapt(start)
    settings = recipe.model_settings
    for key, value in MADE_OF.items():
        assert getattr(settings, key) == value, key
    assert (settings.mask, settings.loss, settings.target_norm) == ("multiblock", "l1", "layer")
    assert settings.ema_momentum == 0.9 and settings.ema_schedule == "constant"
    assert settings.ema_steps == 4


def test_a_recipe_that_describes_another_model_is_refused(start):
    with pytest.raises(ConfigError, match=r"encoder_dim: 12 in the weights, 24 in the recipe"):
        adapt(start, "model.encoder_dim=24", "model.num_heads=4")
    with pytest.raises(ConfigError, match="unknown key 'encoder_dmi'"):
        adapt(start, "model.encoder_dmi=24")
    assert adapt(start, "model.encoder_dim=12").model.encoder_dim == 12


def test_rotary_models_take_clips_of_any_shape_and_learned_tables_their_own(start):
    assert adapt(start, "model.img_size=24", "model.num_frames=8").model.img_size == 24
    learned = {**start.config, "positions": "learned"}
    assert continued_model(learned, {"img_size": [16, 16]})["img_size"] == [16, 16]
    assert continued_model({**learned, "img_size": [16, 16]}, {"img_size": 16})["img_size"] == 16
    with pytest.raises(ConfigError, match="img_size: 16 in the weights, 24 in the recipe"):
        continued_model(learned, {"img_size": 24})


def test_the_weights_own_training_settings_are_left_behind(start):
    trained = {**start.config, "ema_momentum": 0.5, "ema_steps": 3, "mask": "random", "loss": "l1"}
    found = continued_model({**trained, "teacher_dim": 99}, {"mask": "tube"})
    assert found["mask"] == "tube"
    assert not {"ema_momentum", "ema_steps", "loss", "teacher_dim"} & set(found)
    dense = {**start.config, "predicts_context": True, "context_loss_weight": 0.5}
    assert continued_model(dense, {})["context_loss_weight"] == 0.5
    assert continued_model(dense, {"context_loss_weight": 0.7})["context_loss_weight"] == 0.7


def test_a_recipe_that_goes_on_needs_weights():
    with pytest.raises(ConfigError, match="recipe adapt goes on from weights.*--init WEIGHTS"):
        load_recipe("adapt")


def test_a_resolved_recipe_means_the_same_again(start):
    recipe = adapt(start)
    assert Recipe.from_mapping(recipe.to_mapping()) == recipe
    assert recipe.optim.cooldown_steps == 4 and recipe.optim.final_lr == pytest.approx(1e-2 / 525)


# --- tensors ----------------------------------------------------------------------------------


def fresh(**changes):
    torch.manual_seed(1)
    return VJEPAModel({**MADE_OF, **changes})


def test_everything_is_taken_over_but_the_count_of_steps(weights, start):
    model = fresh()
    assert load_start(model, start) == []
    for name, tensor in weights.state_dict().items():
        expected = torch.zeros_like(tensor) if name == "ema_step" else tensor
        assert torch.equal(model.state_dict()[name], expected), name


def test_a_predictor_that_is_missing_or_does_not_fit_starts_afresh(start):
    alone = {k: v for k, v in start.tensors.items() if not k.startswith("predictor.")}
    model, untouched = fresh(), fresh().state_dict()
    assert load_start(model, replace(start, tensors=alone)) == ["the predictor starts afresh"]
    for name, tensor in model.state_dict().items():
        own = untouched[name] if name.startswith("predictor.") else start.tensors[name]
        assert name == "ema_step" or torch.equal(tensor, own), name
    wider = {**start.tensors, "predictor.proj.weight": torch.zeros(40, 12)}
    (note,) = load_start(model, replace(start, tensors=wider))
    assert "predictor.proj.weight" in note and "afresh" in note


def test_encoders_must_fit(start):
    broken = {k: v for k, v in start.tensors.items() if "target_encoder.norm" not in k}
    model, before = fresh(), fresh().state_dict()
    with pytest.raises(CheckpointError, match=r"target_encoder\.norm"):
        load_start(model, replace(start, tensors=broken))
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    with pytest.raises(CheckpointError, match="registers"):
        load_start(model, replace(start, tensors={**start.tensors, "registers": torch.zeros(2)}))


def test_the_hash_tells_values_names_and_types_apart():
    tensors = {"a": torch.ones(2, 3), "b": torch.zeros(())}
    reordered = {"b": torch.zeros(()), "a": torch.ones(3, 2).t()}
    assert tensor_digest(tensors, exact=True) == tensor_digest(reordered, exact=True)
    others = [
        {**tensors, "a": torch.ones(3, 2)},
        {**tensors, "a": torch.ones(2, 3, dtype=torch.bfloat16)},
        {**tensors, "b": torch.ones(())},
        {"a": tensors["a"], "c": tensors["b"]},
    ]
    assert len({tensor_digest(each, exact=True) for each in [tensors, *others]}) == 5


# --- runs -------------------------------------------------------------------------------------


def run_json(out):
    return json.loads((out / "run.json").read_text())


def test_a_run_starts_from_the_weights_and_says_so(tmp_path, world, start, quiet):
    result = train(adapt(start, "training.steps=0"), world, tmp_path, start=start, console=quiet)
    saved = read_weights(result.checkpoint / "model.safetensors")
    assert all(torch.equal(saved[k], v) for k, v in start.tensors.items() if k != "ema_step")
    assert RunInfo.read(tmp_path / "run.json").init == start.origin
    assert InitInfo(**read_card(tmp_path).extra["init"]) == start.origin
    assert "starting from there.pt\n  as published" in (tmp_path / "log.txt").read_text()


def test_steps_move_away_from_the_weights(tmp_path, world, start, quiet):
    train(adapt(start), world, tmp_path / "a", start=start, console=quiet)
    trained = load_checkpoint_model(tmp_path / "a").state_dict()
    assert int(trained["ema_step"]) == 4
    name = "context_encoder.stack.blocks.0.attn.qkv.weight"
    moved = (trained[name] - start.tensors[name]).abs().max()
    assert 0 < moved < 0.1
    assert read_card(tmp_path / "a").extra["init"]["sha256"] == start.origin.sha256


class StoppedError(Exception):
    pass


def test_a_stopped_run_goes_on_without_the_weights_to_the_same_bits(
    tmp_path, world, start, quiet, monkeypatch
):
    whole = train(adapt(start), world, tmp_path / "whole", start=start, console=quiet)
    for number, after in enumerate((0, 1, 3)):
        out = tmp_path / f"cut{after}"
        account = Trainer.account

        def stop(self, result, after=after, account=account):
            account(self, result)
            if self.step > after:
                raise StoppedError

        with monkeypatch.context() as patch, pytest.raises(StoppedError):
            patch.setattr(Trainer, "account", stop)
            train(adapt(start), world, out, start=start, console=quiet)
        again = train(adapt(start), world, out, resume=True, console=quiet)
        assert again.steps_done == 4
        expected = read_weights(whole.checkpoint / "model.safetensors")
        found = read_weights(again.checkpoint / "model.safetensors")
        assert all(torch.equal(found[name], expected[name]) for name in expected), number
        assert run_json(out)["init"] == run_json(tmp_path / "whole")["init"]
        assert read_card(out).extra["init"]["source"] == "there.pt"


def test_a_run_killed_before_it_saved_its_weights_asks_for_them(
    tmp_path, world, start, quiet, monkeypatch
):
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(
            "nexus.training.trainer.load_start", lambda *_: (_ for _ in ()).throw(StoppedError)
        )
        train(adapt(start), world, tmp_path, start=start, console=quiet)
    with pytest.raises(TrainingError, match=r"again: --init there\.pt"):
        train(adapt(start), world, tmp_path, resume=True, console=quiet)
    result = train(adapt(start), world, tmp_path, resume=True, start=start, console=quiet)
    assert result.status == "finished" and RunInfo.read(tmp_path / "run.json").init == start.origin


def test_a_run_that_started_from_nothing_cannot_go_on_from_weights(tmp_path, world, start, quiet):
    plain = Recipe.from_mapping(adapt(start).to_mapping())
    train(plain, world, tmp_path, console=quiet)
    with pytest.raises(TrainingError, match="did not start from weights"):
        train(plain, world, tmp_path, resume=True, start=start, console=quiet)
