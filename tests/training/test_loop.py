import dataclasses
import json
import sys
from functools import partial

import pytest
import torch
from torch import nn

from nexus.checkpoints.files import load_checkpoint_model, load_state
from nexus.checkpoints.weights import read_weights
from nexus.errors import DataError, TrainingError
from nexus.models.ssl import VJEPAModel
from nexus.nn.blocks import Block
from nexus.runs.folder import RunDirectory
from nexus.training import assembly
from nexus.training.feed import VideoFeed
from nexus.training.interrupts import Interrupts
from nexus.training.loop import train
from nexus.training.optim import rates_at
from nexus.training.progress import Screen
from nexus.training.trainer import Trainer

FIELDS = {
    "step",
    "epoch",
    "loss",
    "prediction_loss",
    "regularizer_loss",
    "lr",
    "weight_decay",
    "momentum",
    "grad_norm",
    "num_frames",
    "height",
    "clips_per_second",
    "data_wait",
    "seconds",
    "skipped_steps",
    "health",
    "health_reason",
    "context_rank",
    "target_drift",
}


def journal(out):
    return [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]


def info(out):
    return json.loads((out / "run.json").read_text())


def test_a_run_leaves_everything_that_the_contract_names(tmp_path, world, tiny, quiet):
    recipe = tiny("training.tensorboard=true", "training.keep_checkpoints=2")
    result = train(recipe, world, tmp_path / "run", command="nexus pretrain x", console=quiet)
    out = tmp_path / "run"
    assert (result.status, result.steps_done) == ("finished", 6)
    assert result.clips_seen == 24 and result.skipped_steps == 0
    rows = journal(out)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert set(rows[0]) >= FIELDS
    assert [row["epoch"] for row in rows] == [0, 0, 0, 1, 1, 1]  # 12 videos, 4 a batch
    assert result.last_row["loss"] == rows[-1]["loss"]

    facts = info(out)
    assert facts["status"] == "finished" and facts["command"] == "nexus pretrain x"
    assert facts["steps_done"] == facts["steps_total"] == 6 and facts["clips_seen"] == 24
    assert facts["train_seconds"] > 0 and facts["threads"] == 1
    assert (facts["device"], facts["precision"], facts["seed"]) == ("cpu", "fp32", 0)
    assert facts["data"]["videos"] == 12, "the four validation videos are not trained on"
    assert sum(facts["data"]["labels"]["shape"].values()) == 12
    assert set(facts["environment"]) == {
        "python", "torch", "nexus", "platform", "cpu", "cores", "gpu",
    }  # fmt: skip
    model = load_checkpoint_model(out)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert facts["model"]["parameters"] == trainable
    assert facts["model"]["kind"] == "vjepa"

    assert json.loads((out / "problems.json").read_text()) == []
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == [
        "latest.json", "step_00000004", "step_00000006",
    ]  # fmt: skip
    assert list((out / "tensorboard").iterdir())
    assert "step 6/6  loss" in quiet.file.getvalue()
    assert "step 6/6  loss" in (out / "log.txt").read_text()


def test_the_encoder_learns_and_the_target_follows(tmp_path, world, tiny, quiet):
    result = train(tiny("training.steps=1"), world, tmp_path, console=quiet)
    first = read_weights(result.checkpoint / "model.safetensors")
    later = train(tiny(), world, tmp_path / "later", console=quiet)
    last = read_weights(later.checkpoint / "model.safetensors")
    for part in ("context_encoder", "target_encoder", "predictor"):
        names = [name for name in first if name.startswith(part) and name.endswith("weight")]
        assert names and all(not torch.equal(first[name], last[name]) for name in names)
    assert int(last["ema_step"]) == 6


@pytest.mark.parametrize("kind", ["vjepa", "pixels"])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    tmp_path, world, tiny, quiet, kind
):
    recipe = tiny()
    if kind == "pixels":
        keep = {"img_size", "num_frames", "patch_size", "encoder_dim", "num_heads"}
        model = {key: value for key, value in recipe.model.to_mapping().items() if key in keep}
        small = {"predictor_dim": 16, "predictor_heads": 2, "num_spatial_layers": 1}
        recipe = recipe.with_changes(model={"kind": "pixels", **model, **small})

    def weights(name, recipe):
        result = train(recipe, world, tmp_path / name, console=quiet)
        return read_weights(result.checkpoint / "model.safetensors")

    one, two = weights("one", recipe), weights("two", recipe)
    assert all(torch.equal(one[name], two[name]) for name in one)
    training = recipe.training.with_changes(seed=1)
    three = weights("three", recipe.with_changes(training=training))
    assert not all(torch.equal(one[name], three[name]) for name in one)


def test_training_leaves_the_callers_process_as_it_was(tmp_path, world, tiny, quiet):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    train(tiny("training.steps=0", "training.threads=2"), world, tmp_path, console=quiet)
    assert info(tmp_path)["threads"] == 2
    assert torch.equal(torch.rand(3), expected) and torch.get_num_threads() == threads
    assert sys.float_info.min / 2 > 0, "denormal numbers are numbers again"


def test_rehearsing_a_step_leaves_no_trace(tmp_path, world, tiny, quiet):
    recipe = tiny()
    with Screen(quiet, log_file=None, steps=6) as screen:
        trainer = Trainer(recipe, partial(VideoFeed, recipe, world), RunDirectory(tmp_path), screen)
        before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
        random = torch.get_rng_state()
        trainer.rehearse()
        assert torch.equal(torch.get_rng_state(), random)
        assert all(torch.equal(before[n], t) for n, t in trainer.model.state_dict().items())
        assert all(p.grad is None for p in trainer.model.parameters())
        with trainer:
            pass


def test_zero_steps_save_the_untrained_model(tmp_path, world, tiny, quiet):
    result = train(tiny("training.steps=0"), world, tmp_path, console=quiet)
    assert result.status == "finished" and result.clips_seen == 0
    torch.manual_seed(0)
    fresh = VJEPAModel(tiny("training.steps=0").model_settings)
    saved = read_weights(result.checkpoint / "model.safetensors")
    assert all(torch.equal(saved[name], t) for name, t in fresh.state_dict().items())


def test_the_curriculum_and_accumulation_reach_the_batches(tmp_path, world, tiny, quiet):
    curriculum = "training.curriculum=[[0, 4], [2, 4, 24], [4, 8, 32]]"
    recipe = tiny("training.accumulation=2", "training.batch_size=3", curriculum)
    result = train(recipe, world, tmp_path, console=quiet)
    rows = journal(tmp_path)
    assert [row["num_frames"] for row in rows] == [4, 4, 4, 4, 8, 8]
    assert [row["height"] for row in rows] == [16, 16, 24, 24, 32, 32]
    assert result.clips_seen == 36


def test_rows_are_logged_and_checkpoints_saved_as_often_as_asked(tmp_path, world, tiny, quiet):
    recipe = tiny(
        "training.steps=7",
        "training.log_every=3",
        "training.checkpoint_every=3",
        "training.keep_checkpoints=9",
    )
    train(recipe, world, tmp_path, console=quiet)
    assert [row["step"] for row in journal(tmp_path)] == [1, 3, 6, 7]
    folders = sorted(p.name for p in (tmp_path / "checkpoints").glob("step_*"))
    assert folders == ["step_00000003", "step_00000006", "step_00000007"]


def test_bf16_and_gradient_checkpointing_are_used(tmp_path, world, tiny, quiet):
    plain = train(tiny("training.steps=2"), world, tmp_path / "a", console=quiet)
    recipe = tiny(
        "training.steps=2", "training.precision=bf16", "training.gradient_checkpointing=true"
    )
    other = train(recipe, world, tmp_path / "b", console=quiet)
    one = read_weights(plain.checkpoint / "model.safetensors")
    two = read_weights(other.checkpoint / "model.safetensors")
    assert set(one) == set(two)
    assert {tensor.dtype for tensor in two.values()} == {torch.float32, torch.int64}
    assert plain.last_row["loss"] != other.last_row["loss"]
    assert plain.last_row["loss"] == pytest.approx(other.last_row["loss"], rel=0.05)


def test_a_compiled_model_saves_under_its_plain_names(tmp_path, world, tiny, quiet, monkeypatch):
    compiled = []
    plain_compile = nn.Module.compile
    monkeypatch.setattr(
        nn.Module, "compile", lambda module, **kw: (compiled.append(module), plain_compile(module))
    )
    recipe = tiny("training.steps=2")
    one = train(recipe, world, tmp_path / "a", console=quiet)
    assert not compiled
    # Graphs are tested with the model; here it is wrapped as for compiling, and runs as written.
    with torch.compiler.set_stance("force_eager"):
        recipe = tiny("training.steps=2", "training.compile=true")
        two = train(recipe, world, tmp_path / "b", console=quiet)
    # Two blocks in each encoder and one in the predictor.
    assert all(isinstance(module, Block) for module in compiled) and len(compiled) == 5
    weights = [load_checkpoint_model(run.checkpoint).state_dict() for run in (one, two)]
    assert list(weights[0]) == list(weights[1])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_files_that_fail_while_training_are_named_once_and_listed(tmp_path, world, tiny, quiet):
    record = next(record for record in world.records if record.split == "train")
    broken = tmp_path / "broken file.mp4"
    broken.write_bytes(record.path.read_bytes()[:200])
    bad = dataclasses.replace(record, path=broken, key="broken file.mp4")
    catalog = dataclasses.replace(world, records=(*world.records, bad))
    result = train(tiny("training.steps=10"), catalog, tmp_path / "run", console=quiet)
    assert result.status == "finished"
    rows = json.loads((tmp_path / "run" / "problems.json").read_text())
    assert [(row["path"], row["stage"], row["fatal"]) for row in rows] == [
        (str(broken), "train", True)
    ]
    assert rows[0]["count"] >= 2, "once an epoch"
    assert quiet.file.getvalue().count("broken file.mp4") == 1
    assert result.clips_seen == 40 - rows[0]["count"]


def test_too_many_failing_files_stop_the_run_and_name_them(tmp_path, world, tiny, quiet):
    records = []
    for number, record in enumerate(world.records[:12]):
        path = tmp_path / f"bad{number}.mp4"
        path.write_bytes(b"not a video")
        records.append(
            dataclasses.replace(record, path=path, key=path.name) if number < 6 else record
        )
    catalog = dataclasses.replace(world, records=tuple(records))
    with pytest.raises(DataError, match=r"bad\d\.mp4"):
        train(tiny(), catalog, tmp_path / "run", console=quiet)
    facts = info(tmp_path / "run")
    assert facts["status"] == "failed" and facts["error"].startswith("DataError: ")
    assert json.loads((tmp_path / "run" / "problems.json").read_text())


def test_an_unknown_split_is_an_error_before_anything_is_written(tmp_path, world, tiny, quiet):
    with pytest.raises(DataError, match="no videos in the split 'holdout'"):
        train(tiny("data.split=holdout"), world, tmp_path / "run", console=quiet)
    assert not (tmp_path / "run" / "run.json").exists()


def test_steps_without_finite_numbers_are_skipped_counted_and_finally_fatal(
    tmp_path, world, tiny, quiet, monkeypatch
):
    class Faulty(VJEPAModel):
        """Gives NaN from its third training step on; steps 3 to 6 are bad."""

        calls = 0

        def forward(self, video, *, meters=True):
            loss, metrics = super().forward(video, meters=meters)
            Faulty.calls += 1
            if Faulty.calls in (3, 4, 5, 6):
                return loss * float("nan"), {**metrics, "loss": float("nan")}
            return loss, metrics

    monkeypatch.setattr(assembly, "build_model", lambda config: Faulty(config))
    train(tiny("training.steps=8"), world, tmp_path / "a", console=quiet)
    rows = journal(tmp_path / "a")
    assert [row["skipped_steps"] for row in rows] == [0, 0, 1, 2, 3, 4, 4, 4]
    assert [row["loss"] is None for row in rows] == [i in (2, 3, 4, 5) for i in range(8)]
    assert rows[3]["momentum"] is None and rows[6]["momentum"] is not None

    Faulty.calls = 0
    with pytest.raises(TrainingError, match=r"step 5: .*3 times in a row.*nan, nan, nan"):
        train(
            tiny("training.max_skipped_steps=2", "training.checkpoint_every=2"),
            world,
            tmp_path / "b",
            console=quiet,
        )
    assert info(tmp_path / "b")["status"] == "failed"
    assert "TrainingError" in info(tmp_path / "b")["error"]


class Dead(VJEPAModel):
    """Gives nearly the same features whatever it sees."""

    def __init__(self, config):
        super().__init__(config)
        for encoder in (self.context_encoder, self.target_encoder):
            nn.init.constant_(encoder.norm.weight, 1e-4)
            nn.init.ones_(encoder.norm.bias)


def test_a_collapse_is_told_in_plain_words_or_stops_the_run(
    tmp_path, world, tiny, quiet, monkeypatch
):
    monkeypatch.setattr(assembly, "build_model", lambda config: Dead(config))
    slow = ("optim.lr=1e-7", "optim.final_lr=1e-7", "training.checkpoint_every=100")
    warned = train(tiny(*slow), world, tmp_path / "warn", console=quiet)
    assert warned.status == "finished" and warned.health.status == "collapsed"
    assert quiet.file.getvalue().count("step 3: the representation is collapsed: only 0.0%") == 1
    rows = journal(tmp_path / "warn")
    assert [row["health"] for row in rows] == ["unknown"] * 2 + ["collapsed"] * 4
    assert "depends on the clip" in rows[-1]["health_reason"]

    recipe = tiny(*slow, "training.on_collapse=stop")
    with pytest.raises(TrainingError, match="step 3: the representation has collapsed"):
        train(recipe, world, tmp_path / "stop", console=quiet)
    stopped = info(tmp_path / "stop")
    assert stopped["status"] == "failed" and stopped["steps_done"] == 3
    latest = json.loads((tmp_path / "stop" / "checkpoints" / "latest.json").read_text())
    assert latest["step"] == 3, "what there is was saved"


def test_a_folder_with_a_run_needs_resume(tmp_path, world, tiny, quiet):
    train(tiny("training.steps=2"), world, tmp_path, console=quiet)
    with pytest.raises(TrainingError, match="already holds a run"):
        train(tiny("training.steps=2"), world, tmp_path, console=quiet)
    with pytest.raises(TrainingError, match="holds no run to resume"):
        train(tiny(), world, tmp_path / "elsewhere", resume=True, console=quiet)
    with pytest.raises(TrainingError, match="training.steps: 2 in the run, 1 now"):
        train(tiny("training.steps=1"), world, tmp_path, resume=True, console=quiet)


def test_a_finished_run_can_be_made_longer(tmp_path, world, tiny, quiet):
    train(tiny("training.steps=4"), world, tmp_path, command="nexus pretrain a", console=quiet)
    before = (tmp_path / "journal.jsonl").read_text().splitlines()
    longer = tiny("training.steps=6")
    done = train(longer, world, tmp_path, resume=True, command="nexus pretrain b", console=quiet)
    assert (done.status, done.steps_done, done.clips_seen) == ("finished", 6, 24)
    rows = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert rows[:4] == before and [json.loads(row)["step"] for row in rows[4:]] == [5, 6]
    assert json.loads(rows[4])["lr"] == rates_at(longer.optim, 4, steps=6)["lr"]
    known = info(tmp_path)
    assert (known["steps_total"], known["command"]) == (6, "nexus pretrain b")
    again = train(longer, world, tmp_path, resume=True, console=quiet)
    assert again.steps_done == 6


def test_resuming_a_finished_run_changes_nothing(tmp_path, world, tiny, quiet):
    first = train(tiny(), world, tmp_path, console=quiet)
    before = (tmp_path / "journal.jsonl").read_bytes()
    again = train(tiny(), world, tmp_path, resume=True, console=quiet)
    assert again.status == "finished" and again.checkpoint == first.checkpoint
    assert (again.steps_done, again.clips_seen) == (6, 24)
    assert (tmp_path / "journal.jsonl").read_bytes() == before
    assert info(tmp_path)["steps_done"] == 6


def test_other_videos_cannot_be_resumed_with(tmp_path, world, tiny, quiet):
    train(tiny(), world, tmp_path, console=quiet)
    fewer = dataclasses.replace(world, records=world.records[1:])
    with pytest.raises(DataError, match="videos"):
        train(tiny(), fewer, tmp_path, resume=True, console=quiet)
    assert info(tmp_path)["status"] == "finished", "a refused resume leaves the run as it was"


def test_an_interrupted_run_saves_says_how_to_go_on_and_goes_on(
    tmp_path, world, tiny, quiet, monkeypatch
):
    class Asked(Interrupts):
        """As if Ctrl-C was pressed during the third step."""

        looked = 0

        @property
        def requested(self):
            self.looked += 1
            return "SIGINT" if self.looked > 3 else None

        @requested.setter
        def requested(self, value):
            pass

    monkeypatch.setattr("nexus.training.loop.Interrupts", Asked)
    command = "nexus pretrain 'my videos' --out run"
    result = train(tiny(), world, tmp_path, command=command, console=quiet)
    assert (result.status, result.steps_done) == ("interrupted", 3)
    assert f"{command} --resume" in quiet.file.getvalue()
    assert info(tmp_path)["status"] == "interrupted"
    assert load_state(result.checkpoint)["step"] == 3

    monkeypatch.undo()
    done = train(tiny(), world, tmp_path, resume=True, console=quiet)
    assert (done.status, done.steps_done) == ("finished", 6)
    whole = train(tiny(), world, tmp_path / "whole", console=quiet)
    one = read_weights(done.checkpoint / "model.safetensors")
    two = read_weights(whole.checkpoint / "model.safetensors")
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_a_checkpoint_holds_plain_values_only(tmp_path, world, tiny, quiet):
    result = train(tiny("training.steps=2"), world, tmp_path, console=quiet)
    state = load_state(result.checkpoint)  # weights_only: anything else would be refused
    assert state["step"] == 2 and state["journal_bytes"] > 0
    assert set(state["rng"]) >= {"python", "numpy", "torch"}
    assert isinstance(state["optimizer"]["state"][0]["exp_avg"], torch.Tensor)
