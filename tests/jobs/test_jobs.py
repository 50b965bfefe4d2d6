"""The main job from end to end, on real files: what is trained, what is named, what is written."""

import json
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
from odd_videos import write_odd_folder

import nexus
from nexus.cli.main import run
from nexus.errors import CheckpointError, ConfigError, DataError, TrainingError
from nexus.features.table_files import load_table
from nexus.jobs import pretraining
from nexus.reports import canvas
from nexus.runs.folder import RunDirectory
from nexus.runs.read import read_run
from nexus.toy.world import ToyConfig, write_toy_world

TINY = (
    "training.steps=4",
    "training.batch_size=4",
    "training.threads=1",
    "training.log_every=2",
    "model.encoder_dim=24",
    "model.num_heads=2",
    "model.predictor_dim=16",
    "model.predictor_heads=2",
)
DRAW = canvas.to_svg
WORLD = {"train_clips": 48, "validation_clips": 32, "test_clips": 32}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    config = ToyConfig.from_mapping({**WORLD, "tasks": {"speed": 1.0}})
    return write_toy_world(tmp_path_factory.mktemp("world"), config, seed=0)


@pytest.fixture(scope="module")
def labelled_run(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "labelled"
    return nexus.pretrain(world, out, recipe="small", overrides=TINY, label=["speed", "shape"])


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    return folder, write_odd_folder(folder, good=8)


def test_a_folder_with_bad_files_is_trained_on_and_each_bad_file_is_named(odd, tmp_path):
    folder, expected = odd
    code = run(
        ["pretrain", str(folder), "--recipe", "small", "--out", str(tmp_path / "run"), *TINY]
    )
    assert code == 0
    info = json.loads((tmp_path / "run/run.json").read_text())
    assert info["status"] == "finished" and info["steps_done"] == 4
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    problems = json.loads((tmp_path / "run/problems.json").read_text())
    kinds = {problem["path"].rpartition("/")[2]: problem["kind"] for problem in problems}
    bad = {name: kind for name, kind in expected.items() if kind != "good"}
    assert len(bad) >= 5
    for name, kind in bad.items():
        assert kinds[name] == kind
        assert name in page
    assert set(kinds) == set(bad)


def test_check_names_each_bad_file(odd, capsys):
    folder, expected = odd
    assert run(["check", str(folder)]) == 0
    told = capsys.readouterr().out
    for name, kind in expected.items():
        assert (name in told) == (kind != "good")
    assert run(["check", str(folder), "--strict"]) == 1


def test_labels_give_a_table_beside_random_init_and_pixels(labelled_run):
    rows = json.loads((labelled_run.out / "results/probes.json").read_text())["rows"]
    found = {(row["arm"], row["task"], row["probe"]) for row in rows}
    assert found == {
        (arm, task, probe)
        for arm in ("vjepa", "random init", "raw pixels", "frame differences")
        for task in ("speed", "shape")
        for probe in ("linear", "knn")
    }
    assert all(row["n_test"] == 32 for row in rows)
    assert labelled_run.report is not None and labelled_run.report.exists()
    assert "| frame differences |" in labelled_run.summary
    assert re.search(r"^shape, linear .* frame differences", labelled_run.summary, re.MULTILINE)
    assert labelled_run.status == "finished"


def test_labels_that_are_quantities_have_a_table_as_well(world, tmp_path):
    table = pd.read_csv(world)
    table["path"] = [str(world.parent / path) for path in table["path"]]
    table["weight"] = [number / 7 for number in range(len(table))]
    table[["path", "split", "weight"]].to_csv(tmp_path / "list.csv", index=False)
    zero = (*TINY, "training.steps=0")
    done = nexus.pretrain(tmp_path / "list.csv", tmp_path / "run", recipe="small", overrides=zero)
    assert "weight, ridge" in done.summary and done.report is not None


def test_the_untrained_arm_is_the_untrained_model(world, tmp_path):
    # A run of no steps is its own random init: both rows must agree to the last digit.
    zero = (*TINY, "training.steps=0")
    nexus.pretrain(world, tmp_path / "zero", recipe="small", overrides=zero, label="speed")
    rows = json.loads((tmp_path / "zero/results/probes.json").read_text())["rows"]
    values = {(row["arm"], row["probe"]): row["values"] for row in rows}
    for probe in ("linear", "knn"):
        assert values["vjepa", probe] == values["random init", probe]


def test_the_run_holds_pictures_and_the_error_ahead(labelled_run):
    with np.load(labelled_run.out / "results/pca.npz") as colours:
        assert colours["frames"].shape == (4, 8, 32, 32, 3)
        assert colours["pca"].shape == (4, 4, 4, 4, 3)
    horizon = json.loads((labelled_run.out / "results/horizon.json").read_text())["rows"]
    assert [row["steps_ahead"] for row in horizon] == [1, 2]
    assert horizon[0]["seconds_ahead"] == pytest.approx(2 / 8)


def test_the_run_holds_each_answer_and_which_clips_are_alike(labelled_run, world):
    files, table = read_run(labelled_run.out), pd.read_csv(world)
    assert files.predictions is not None and files.neighbours is not None
    known = {(each.task, each.probe): each.answers for each in files.predictions.tables}
    for row in files.probes.rows:
        if row.role == "trained":
            answers = known.pop((row.task, row.probe))
            assert sorted(answers.samples) == sorted(table.loc[table["split"] == "test", "path"])
            right = np.array(answers.truth) == np.array(answers.guess)
            assert np.mean(right) == pytest.approx(row.mean)
            labels = table.set_index("path")[row.task]
            names = [answers.classes[number] for number in answers.truth]
            assert names == labels[list(answers.samples)].tolist()
    assert not known
    assert files.neighbours.searched == len(table)
    page = labelled_run.report.read_text("utf-8")
    assert page.count("takes for what") == 2 and 'id="neighbours"' in page
    assert len(page) < 2_500_000


def test_probe_again_with_another_kind(labelled_run, capsys):
    code = run(["probe", str(labelled_run.out), "--label", "speed", "--kind", "knn"])
    assert code == 0
    told = capsys.readouterr().out
    assert all(arm in told for arm in ("vjepa", "raw pixels", "frame differences"))
    with pytest.raises(DataError, match="no label column 'spead'"):
        nexus.probe(labelled_run.out, label="spead")


def test_embed_writes_windows_with_times(labelled_run, world, tmp_path):
    out = nexus.embed(labelled_run.out, world.parent / "test", tmp_path / "f.parquet", overlap=0.5)
    table = load_table(out)
    # 16 frames at 8 a second hold three windows of 8 frames, half a second apart.
    assert table.features.shape == (32 * 3, 24)
    assert sorted(set(table.rows["start"].round(3))) == [0.0, 0.5, 1.0]
    with pytest.raises(DataError, match="multiples of tubelet_size 2"):
        nexus.embed(labelled_run.out, world, tmp_path / "g.arrow", num_frames=5)


def test_a_run_whose_clips_grew_is_measured_with_the_last_ones(world, tmp_path, capsys):
    growing = (*TINY, "training.curriculum=[[0,4,16],[2,8,24],[100,16,32]]")
    result = nexus.pretrain(
        world, tmp_path / "run", recipe="small", overrides=growing, label="speed"
    )
    with np.load(result.out / "results/pca.npz") as colours:
        assert colours["frames"].shape == (4, 8, 24, 24, 3)
    capsys.readouterr()
    videos, features = str(world.parent / "test"), str(tmp_path / "f.parquet")
    assert run(["embed", str(result.out), videos, "--out", features]) == 0
    assert load_table(features).features.shape == (32 * 2, 24)  # 16 frames, 8 at a time
    assert "trained with" not in capsys.readouterr().err
    line = ["embed", str(result.out), videos, "--out", features, "--size", "48"]
    assert run([*line, "--force"]) == 0
    assert "pictures of 48 x 48 pixels" in capsys.readouterr().err


def test_a_folder_that_holds_a_run_is_not_overwritten(labelled_run, world):
    before = (labelled_run.out / "journal.jsonl").read_bytes()
    with pytest.raises(TrainingError, match="--resume"):
        nexus.pretrain(world, labelled_run.out, overrides=TINY)
    assert (labelled_run.out / "journal.jsonl").read_bytes() == before


def test_mistakes_are_found_before_anything_is_written(world, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match="did you mean 'optim.lr'|did you mean 'lr'"):
        nexus.pretrain(world, out, overrides=["optim.lrr=1"])
    with pytest.raises(DataError, match="no label column 'sped'"):
        nexus.pretrain(world, out, overrides=TINY, label="sped")
    with pytest.raises(CheckpointError):
        nexus.embed(out, world, tmp_path / "f.arrow")
    assert not out.exists()


def test_the_toy_world_is_made_once(tmp_path):
    config = ToyConfig.from_mapping({"train_clips": 4, "validation_clips": 0, "test_clips": 0})
    listing = pretraining.toy_world(tmp_path / "toy", config, seed=0)
    made = listing.stat().st_mtime_ns
    assert pretraining.toy_world(tmp_path / "toy", config, seed=0).stat().st_mtime_ns == made
    assert pretraining.toy_world(tmp_path / "toy", config, seed=1).stat().st_mtime_ns > made


def test_demo_chooses_its_run(tmp_path, monkeypatch, capsys):
    real = ToyConfig.from_mapping
    monkeypatch.setattr(ToyConfig, "from_mapping", lambda given: real({**WORLD, **given}))
    train = partial(pretraining.pretrain, overrides=TINY)
    monkeypatch.setattr(pretraining, "pretrain", train)
    with monkeypatch.context() as patch:
        patch.setattr(canvas, "to_svg", DRAW)
        done = nexus.demo(tmp_path / "demo")
    assert done.report == tmp_path / "demo/report.html"
    page = done.report.read_text(encoding="utf-8")
    assert all(arm in page for arm in ("random init", "raw pixels", "frame differences"))
    assert "nexus demo --out" in page
    plan = RunDirectory(done.out).read_info().plan
    assert plan is not None and len(plan.lines) == 3
    done.report.unlink()
    line = ["demo", "--out", str(tmp_path / "demo")]
    assert run(line) == 0
    printed = capsys.readouterr().out
    assert f"Report: {done.report}" in printed.replace("\n", "") and done.report.exists()
    assert "finished demo" in printed and "random init" in printed
    with pytest.raises(TrainingError, match=r"training\.seed"):
        nexus.demo(tmp_path / "demo", seed=1)
    assert run([*line, "--seed", "1"]) == 1
    assert "training.seed" in capsys.readouterr().err
