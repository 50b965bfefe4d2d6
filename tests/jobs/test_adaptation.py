"""The sweep of `nexus adapt`: what is trained, what is picked and by what, what is used again."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from odd_videos import write_clip
from oracles.tiny import stir

from nexus.checkpoints.files import read_card
from nexus.checkpoints.official import save_official
from nexus.checkpoints.weights import read_weights
from nexus.errors import ConfigError, DataError, TrainingError
from nexus.jobs import adaptation
from nexus.jobs.adaptation import adapt
from nexus.models.ssl import VJEPAModel
from nexus.runs.folder import RunDirectory
from nexus.toy.world import ToyConfig, write_toy_world
from nexus.training.interrupts import Interrupts
from nexus.training.recipe import read_run_recipe
from nexus.training.trainer import Trainer

OVERRIDES = (
    "training.steps=2",
    "training.batch_size=4",
    "training.accumulation=1",
    "training.log_every=1",
    "training.threads=1",
    "training.precision=fp32",
    "training.device=cpu",
    "training.tensorboard=false",
    "data.num_workers=0",
    "data.clip.fps=8",
)
MADE_OF = {
    "img_size": 16, "num_frames": 4, "patch_size": 8, "factorized": False, "encoder_dim": 24,
    "num_heads": 2, "num_spatial_layers": 1, "num_temporal_layers": 0, "predictor_dim": 24,
    "predictor_heads": 2, "num_predictor_layers": 1, "positions": "rope_tiled",
}  # fmt: skip
GRID = {"lrs": (1e-3, 4e-3), "momenta": (0.9, 0.99)}
ONE = {"lrs": (1e-3,), "momenta": (0.9,)}
ARMS = [
    "no adaptation",
    "lr 0.001, EMA 0.99",
    "lr 0.001, EMA 0.9",
    "lr 0.004, EMA 0.99",
    "lr 0.004, EMA 0.9",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    config = ToyConfig(size=16, num_frames=8, train_clips=16, validation_clips=24, test_clips=16)
    return write_toy_world(tmp_path_factory.mktemp("world"), config, seed=0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(3)
    model = VJEPAModel(MADE_OF)
    stir(model, scale=0.05)
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    save_official(path, model)
    return path


def sweep(world, out, weights, *overrides, **settings):
    settings = {"label": "shape", "command": "nexus adapt ...", **GRID, **settings}
    return adapt(world, out, init=weights, overrides=(*OVERRIDES, *overrides), **settings)


@pytest.fixture(scope="module")
def done(world, weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    return out, sweep(world, out, weights)


def result(out):
    return json.loads((out / "adaptation.json").read_text())


def journals(out):
    return {path.parent.name: path.read_bytes() for path in out.glob("runs/*/journal.jsonl")}


def test_every_setting_is_trained_from_the_weights_and_beside_them_as_they_are(done, weights):
    out, _ = done
    rows = result(out)["rows"]
    assert [row["arm"] for row in rows] == ARMS
    runs = {path.name: path for path in (out / "runs").iterdir()}
    assert set(runs) == {
        "no-adaptation",
        *(f"lr{lr:g}-ema{ema:g}" for lr in GRID["lrs"] for ema in GRID["momenta"]),
    }
    origin = read_card(runs["no-adaptation"]).extra["init"]
    assert origin["source"] == str(weights)
    first = read_weights(runs["no-adaptation"] / "checkpoints/step_00000000/model.safetensors")
    for name, run in runs.items():
        start = read_weights(run / "checkpoints/step_00000000/model.safetensors")
        assert all(torch.equal(start[key], first[key]) for key in first), name
        assert read_card(run).extra["init"] == origin
        if name != "no-adaptation":
            recipe = read_run_recipe(run)
            assert name == f"lr{recipe.optim.lr:g}-ema{recipe.model.ema_momentum:g}"


def test_the_pick_is_the_best_validation_score(done):
    out, answer = done
    found = result(out)
    scores = {row["arm"]: row["score"] for row in found["rows"]}
    assert scores[found["chosen"]] == max(scores.values())
    assert all(row["validation"]["shape"] == row["score"] for row in found["rows"])
    assert found["chosen"] == next(arm for arm in ARMS if scores[arm] == max(scores.values()))
    assert found["metrics"] == {"shape": "accuracy"} and found["probe"] == "linear"
    assert (answer.out / "results/adaptation.json").read_bytes() == (
        (out / "adaptation.json").read_bytes()
    )
    assert found["chosen"] in answer.summary and answer.status == "finished"


def test_the_page_of_the_picked_run_shows_the_table(done):
    out, answer = done
    page = answer.report.read_text(encoding="utf-8")
    assert answer.report == out / "report.html"
    assert (answer.out / "report.html").read_text(encoding="utf-8") == page
    assert 'id="adaptation"' in page and all(arm in page for arm in ARMS)
    assert "tiny.pt" in page
    table = (out / "table.md").read_text()
    assert f"**{result(out)['chosen']}**" in table and "Picked by the linear probe" in table


def test_finished_runs_are_used_again_whatever_is_picked(
    done, world, weights, tmp_path, monkeypatch
):
    out = shutil.copytree(done[0], tmp_path / "again")
    before = journals(out)
    loss = {row["arm"]: row["loss"] for row in result(out)["rows"]}
    assert loss.pop("no adaptation") is None
    lowest = min(loss, key=lambda arm: loss[arm])
    other = next(arm for arm in ARMS[1:] if arm != lowest)
    picks = property(lambda self: float(self.arm.name == other))
    monkeypatch.setattr(adaptation.Outcome, "score", picks)
    answer = sweep(world, out, weights)
    assert journals(out) == before
    assert result(out)["chosen"] == other and f"would have picked {lowest}" in answer.summary
    rows = json.loads((answer.out / "results/probes.json").read_text())["rows"]
    assert [row["arm"] for row in rows] == [
        "vjepa", "no adaptation", "random init", "raw pixels", "frame differences"
    ]  # fmt: skip
    monkeypatch.setattr(adaptation.Outcome, "score", property(lambda self: 0.5))
    answer = sweep(world, out, weights)  # of equals, the weights as they are
    assert answer.out.name == "no-adaptation" and "use the weights as they are" in answer.summary
    assert answer.report is not None and answer.report.exists()


def test_a_stopped_sweep_goes_on_without_the_weights(done, world, weights, tmp_path, monkeypatch):
    copy, out = tmp_path / "copy.pt", tmp_path / "sweep"
    copy.write_bytes(weights.read_bytes())
    fewer = {"lrs": (1e-3,)}
    account, steps = Trainer.account, []

    def stop(self, result):
        account(self, result)
        steps.append(self.step)
        if len(steps) == 3:  # in the middle of the second setting
            self.interrupts.requested = "SIGTERM"

    run = Trainer.run

    def remember(self, interrupts: Interrupts):
        self.interrupts = interrupts
        return run(self, interrupts)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", remember)
        patch.setattr(Trainer, "account", stop)
        assert sweep(world, out, copy, **fewer).status == "interrupted"
    copy.unlink()
    assert sweep(world, out, copy, **fewer).status == "finished"
    ours, theirs = result(out)["rows"], result(done[0])["rows"][:3]
    for one, other in zip(ours, theirs, strict=True):
        del one["train_seconds"], other["train_seconds"]
        assert one == other


def test_labels_may_come_from_another_list(world, weights, tmp_path):
    listing = tmp_path / "labels.csv"
    lines = world.read_text().splitlines()
    head = lines[0].split(",")
    path, split = head.index("path"), head.index("split")
    rows = [line.split(",") for line in lines[1:]]
    for row in rows:
        row[path] = str(world.parent / row[path])
    kept = ["path,split,kind", *(f"{r[path]},{r[split]},{i % 2}" for i, r in enumerate(rows))]
    listing.write_text("\n".join(kept))
    answer = sweep(
        world.parent / "train", tmp_path / "out", weights, labels=listing, label=None,
        lrs=(1e-3,), momenta=(0.9,),
    )  # fmt: skip
    found = result(tmp_path / "out")
    assert set(found["metrics"]) == {"kind"} and found["notes"] == []
    assert answer.status == "finished"


def test_seen_files_are_named(world, weights, tmp_path):
    def without_splits(rows):
        return [{key: text for key, text in row.items() if key != "split"} for row in rows]

    everything = listing_of(world, tmp_path / "all.csv", without_splits)
    sweep(everything, tmp_path, weights, labels=world, lrs=(1e-3,), momenta=(0.9,))
    (note,) = result(tmp_path)["notes"]
    assert "40 of the 40 labelled samples outside a train split were also trained on" in note


def listing_of(world, path, change=lambda rows: rows):
    """A list of the world's videos, with absolute paths and some change."""
    with world.open(newline="") as file:
        rows = [{**row, "path": str(world.parent / row["path"])} for row in csv.DictReader(file)]
    rows = change(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_runs_on_other_videos_are_not_compared(world, weights, tmp_path):
    def grown(rows):
        later = next(row for row in rows if row["split"] == "validation")
        return [*rows, {**later, "split": "train"}]

    def exchanged(rows):
        first = {split: next(r for r in rows if r["split"] == split) for split in ("train", "test")}
        first["train"]["split"], first["test"]["split"] = "test", "train"
        return rows

    out, listing = tmp_path / "sweep", listing_of(world, tmp_path / "a.csv")
    sweep(listing, out, weights, **ONE)
    before = journals(out)
    listing_of(world, listing, grown)
    more = {"lrs": (1e-3, 4e-3), "momenta": (0.9,)}
    with pytest.raises(TrainingError, match=r"(?s)other videos.*videos: 16 in .*, 17 now.*--out"):
        sweep(listing, out, weights, **more)
    listing_of(world, listing, exchanged)  # as many and as long
    with pytest.raises(TrainingError, match="other videos"):
        sweep(listing, out, weights, **more)
    # The same videos in another list, in another order and with other labels, are no others.
    same = listing_of(
        world, tmp_path / "b.csv", lambda rows: [{**row, "speed": "fast"} for row in rows[::-1]]
    )
    assert sweep(same, out, weights, **ONE).status == "finished"
    assert journals(out) == before and len(before) == 2


def test_a_run_that_diverges_is_left_out_and_the_sweep_goes_on(world, weights, tmp_path, capsys):
    def again(skipped):
        patience = f"training.max_skipped_steps={skipped}"
        return sweep(world, tmp_path, weights, "training.steps=4", patience, **grid)

    grid = {"lrs": (1e-3, 1e30, 1e31), "momenta": (0.9,)}
    answer = again(0)
    baseline, good, *bad = result(tmp_path)["rows"]
    assert baseline["failed"] == good["failed"] == "" and good["score"] > 0
    assert [row["arm"] for row in bad] == ["lr 1e+30, EMA 0.9", "lr 1e+31, EMA 0.9"]
    assert all("not finite 1 times in a row" in row["failed"] for row in bad)
    assert all(row["score"] is None and row["validation"] == {} for row in bad)
    said = capsys.readouterr().err.replace("\n", "")
    assert all(f"{row['arm']} failed and is not compared" in said for row in bad)
    assert "2 of 3 runs failed" in answer.summary
    for text in (
        (tmp_path / "table.md").read_text(),
        (tmp_path / "report.html").read_text("utf-8"),
    ):
        assert "failed: step " in text
    infos = {path: path.read_bytes() for path in tmp_path.glob("runs/*/run.json")}
    assert again(0).status == "finished"  # a failed run is not tried again ...
    assert {path: path.read_bytes() for path in infos} == infos
    assert again(1).status == "finished"  # ... unless it is given more patience
    changed = {path.parent.name for path in infos if path.read_bytes() != infos[path]}
    assert changed == {"lr1e+30-ema0.9", "lr1e+31-ema0.9"}
    assert all("2 times in a row" in row["failed"] for row in result(tmp_path)["rows"][2:])
    with pytest.raises(TrainingError, match="another recipe"):
        sweep(world, tmp_path, weights, "training.steps=4", "training.batch_size=2", **grid)


def test_features_that_are_no_numbers_are_a_failure_too(world, weights, tmp_path):
    answer = sweep(world, tmp_path, weights, "training.steps=1", lrs=(1e30,), momenta=(0.9,))
    assert answer.out.name == "no-adaptation" and answer.report is not None
    assert "not finite numbers" in result(tmp_path)["rows"][1]["failed"]
    assert "Every run of the sweep failed (lr 1e+30, EMA 0.9): use the weights as they are" in (
        answer.summary
    )


def test_what_stops_the_whole_sweep_is_no_failure_of_a_run(world, weights, tmp_path):
    taken = RunDirectory(tmp_path / "runs/lr0.001-ema0.9")
    holder = "from nexus.runs.folder import RunDirectory; import sys; "
    holder += "run = RunDirectory(sys.argv[1])\nwith run.lock(): print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, taken.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        other.stdout.readline()
        with pytest.raises(TrainingError, match="another process is training"):
            sweep(world, tmp_path, weights, **ONE)
        other.stdin.write(b"\n")
    assert sweep(world, tmp_path, weights, **ONE).status == "finished"


def test_files_that_are_not_used_are_named(world, weights, tmp_path, capsys):
    short = tmp_path / "short.mp4"  # enough frames for a clip, but not at 8 a second
    write_clip(short, 5, fps=30)

    def worse(rows):
        lost = [{**row, "path": f"{tmp_path}/{n}.mp4"} for n, row in enumerate(rows[:7])]
        return [*lost, {**rows[7], "path": str(short)}, *rows[8:]]

    labels = listing_of(world, tmp_path / "labels.csv", worse)
    videos = world.parent / "train"
    out, unpadded = tmp_path / "out", "data.clip.pad=error"
    answer = sweep(videos, out, weights, unpadded, labels=labels, **ONE)
    problems = {Path(each["path"]).name: each for each in result(out)["problems"]}
    assert {name: each["stage"] for name, each in problems.items()} == {
        **{f"{n}.mp4": "check" for n in range(7)},
        "short.mp4": "probe",
    }
    assert problems["0.mp4"]["kind"] == "missing"
    said = capsys.readouterr().err.replace("\n", "")  # long lines are folded
    assert all(said.count(f"left out {each}:") == 1 for each in (tmp_path / "6.mp4", short))
    (note,) = [note for note in result(out)["notes"] if note.startswith("left out: ")]
    assert f"{tmp_path}/0.mp4 (" in note and note.endswith("and 3 more, see adaptation.json")
    assert all(f"note: {note}" in answer.summary for note in result(out)["notes"])


def test_mistakes_are_told_before_training(world, weights, done, tmp_path):
    with pytest.raises(DataError, match="--labels LIST"):
        sweep(world.parent / "train", tmp_path, weights, label=None)
    with pytest.raises(ConfigError, match="unknown probe 'lineal'; did you mean 'linear'"):
        sweep(world, tmp_path, weights, probe="lineal")
    assert not (tmp_path / "runs").exists()
    with pytest.raises(TrainingError, match=r"(?s)another recipe.*batch_size: 4 in the run, 2 now"):
        sweep(world, done[0], weights, "training.batch_size=2")
    with pytest.raises(TrainingError, match="holds a run that started from"):
        sweep(world, done[0], done[0] / "runs/lr0.004-ema0.9")
