"""Ctrl-C while videos are labelled and after a training: what is kept is said, and it goes on."""

import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest

import nexus
from nexus import jobs
from nexus.cli.main import run
from nexus.data.catalog import contents
from nexus.jobs import adaptation, conversion, fitting, labelling, pretraining, sweep
from nexus.probes.classifier import VideoClassifier
from nexus.reports import page
from nexus.runs.folder import RunDirectory
from nexus.runs.read import read_run
from nexus.training.live_page import LivePage

TINY = [
    "training.batch_size=4", "training.threads=1", "model.encoder_dim=16", "model.num_heads=2",
    "model.predictor_dim=16", "model.predictor_heads=2",
]  # fmt: skip
PRETRAIN = ["pretrain", "--recipe", "small", "--out", "run", "--steps", "2"]


@pytest.fixture(autouse=True)
def heard(request):
    """Ctrl-C is heard, also where a shell has started the tests with it switched off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))


def stopping(real, at=1):
    """The same function; its n-th call begins with a Ctrl-C."""
    calls = []

    def call(*args, **kwargs):
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **kwargs)

    return call


def stop(patch, owner, name, at=1):
    patch.setattr(owner, name, stopping(getattr(owner, name), at))


def told(capsys) -> str:
    """What was said of the interruption, once."""
    said = capsys.readouterr().err
    assert said.count("Ctrl-C: ") == 1 and "Traceback" not in said
    return said.partition("Ctrl-C: ")[2]


def command(line, monkeypatch) -> int:
    monkeypatch.setattr(sys, "argv", ["nexus", *line])
    return run(line)


def test_labels_are_written_whole_or_not_at_all(folder, trained, here, monkeypatch, capsys):
    line = ["label", str(trained.folder), str(folder / "clips/labels.csv"), "--out", "l.csv"]
    for owner, name, at in (
        (labelling, "load_probe_folder", 1),
        (labelling, "read_videos", 1),
        (VideoClassifier, "_probabilities", 3),
    ):
        with monkeypatch.context() as patch:
            stop(patch, owner, name, at)
            assert run(line) == 130
        loading = name == "load_probe_folder"
        kept = "stopped; to go on, give the same command again"
        kept = kept if loading else "nothing is written to l.csv; the same command starts over"
        assert told(capsys) == f"{kept}\n", name
        assert not any(here.iterdir())
    assert run(line) == 0 and Path("l.csv").exists()


def test_every_command_answers_before_its_job_begins_and_while_it_works(
    folder, here, monkeypatch, capsys
):
    trained, listed = str(folder / "run"), str(folder / "clips/labels.csv")
    for line, owner, name in (
        (["check", listed], contents, "content_problems"),
        (["plan-run", listed], fitting, "plan_for"),
        (["report", trained], page, "read_run"),
        (["convert", trained, "--to", "meta", "--out", "w"], conversion, "load"),
        (["probe", trained], jobs, "__getattr__"),
        (["embed", trained, listed, "--out", "f.parquet"], jobs, "__getattr__"),
    ):
        with monkeypatch.context() as patch:
            stop(patch, owner, name)
            assert command(line, monkeypatch) == 130
        assert told(capsys) == "stopped; to go on, give the same command again\n", name
    assert not any(here.iterdir())


@pytest.mark.parametrize(
    ("owner", "name", "missing"),
    [
        (RunDirectory, "finish", pretraining.RESULTS),
        (pretraining, "write_pictures", pretraining.RESULTS),
        (pretraining, "measure_arms", pretraining.RESULTS[2:]),
        (pretraining, "find_neighbours", pretraining.RESULTS[4:]),
        (pretraining, "write_report", ()),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_a_trained_run_goes_on_with_what_was_not_measured(
    folder, here, monkeypatch, capsys, owner, name, missing
):
    monkeypatch.setattr(LivePage, "update", lambda self, _seconds: self.draw())
    with monkeypatch.context() as patch:
        stop(patch, owner, name)
        line = [*PRETRAIN, str(folder / "clips/labels.csv"), *TINY]
        assert command(line, monkeypatch) == 130
    said = told(capsys)
    assert said.startswith("the run in run is trained to its end and kept; what is measured after")
    assert read_run("run").info.status == "finished"
    lacks = {one for one in pretraining.RESULTS if not Path("run/results", one).exists()}
    assert lacks == set(missing)
    page = Path("run/report.html").read_text("utf-8")
    assert "being measured" not in page and 'http-equiv="refresh"' not in page
    assert ("No probe has been run on these features yet" in page) == ("probes.json" in missing)
    assert ("have not been coloured yet" in page) == ("pca.npz" in missing)
    only_coloured = "neighbours.json" in missing and "pca.npz" not in missing
    assert ("has not been looked at yet" in page) == only_coloured
    if name == "measure_arms":
        assert nexus.probe("run", label="speed", kinds=("knn",))[0].role == "trained"
    again = said.strip().splitlines()[-1]
    assert again == f"  {shlex.join(['nexus', *line])} --resume"
    assert command(shlex.split(again)[1:], monkeypatch) == 0
    assert f"Report: {Path('run/report.html')}" in capsys.readouterr().out
    assert all(Path("run/results", one).exists() for one in pretraining.RESULTS)


def test_what_was_measured_of_a_shorter_run_is_not_shown_of_a_longer_one(
    folder, here, monkeypatch, capsys
):
    line = [*PRETRAIN, str(folder / "clips/labels.csv"), *TINY]
    assert command(line, monkeypatch) == 0
    with monkeypatch.context() as patch:
        stop(patch, pretraining, "write_pictures")
        resumed = ["pretrain", "--resume", "--out", "run", "--steps", "3"]
        assert command(resumed, monkeypatch) == 130
    assert told(capsys).strip().endswith("nexus pretrain --resume --out run --steps 3")
    assert read_run("run").probes is None
    page = Path("run/report.html").read_text("utf-8")
    assert "No probe has been run on these features yet" in page


def test_before_the_first_step_nothing_is_kept(folder, here, monkeypatch, capsys):
    stop(monkeypatch, pretraining, "read_videos")
    assert run([*PRETRAIN, str(folder / "clips/labels.csv"), *TINY]) == 130
    assert told(capsys) == "nothing is kept yet; the same command starts over\n"


def test_an_adaptation_goes_on_and_prints_its_page(folder, here, monkeypatch, capsys):
    line = ["adapt", str(folder / "clips/labels.csv"), "--init", str(folder / "w.pt")]
    line += ["--out", "sweep", "--label", "speed", "--lr", "1e-3", "--ema", "0.9"]
    line += ["training.steps=1", "training.batch_size=4", "training.threads=1", "data.clip.fps=8"]
    for owner, name, at in (
        (sweep, "measure_encoder", 2),
        (RunDirectory, "finish", 1),
        (adaptation, "diagnose", 1),
    ):
        if name == "finish":  # at the very end of a training
            shutil.rmtree("sweep")
        with monkeypatch.context() as patch:
            stop(patch, owner, name, at)
            assert command(line, monkeypatch) == 130
        kept = "what is finished is kept in sweep/runs; the same command goes on with it\n"
        assert told(capsys) == kept, name
        assert not Path("sweep/report.html").exists()
    assert command(line, monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "Report: sweep/report.html" in shown and Path("sweep/report.html").exists()


def test_a_demo_goes_on(folder, here, monkeypatch, capsys):
    monkeypatch.setattr(pretraining, "toy_world", lambda *_, **__: folder / "clips/labels.csv")
    monkeypatch.setattr(pretraining, "TOY_TASKS", ("speed",))
    real = pretraining.pretrain

    def small(*given, minutes, **settings):
        if not settings["resume"]:
            settings |= {"recipe": "small", "overrides": [*TINY, "training.steps=2"]}
        return real(*given, **settings)

    monkeypatch.setattr(pretraining, "pretrain", small)
    with monkeypatch.context() as patch:
        stop(patch, pretraining, "measure_arms")
        assert run(["demo"]) == 130
    assert told(capsys).strip().endswith("\n  nexus demo --out demo --seed 0")
    assert not Path("demo/report.html").exists()
    assert run(["demo"]) == 0
    assert "random init" in capsys.readouterr().out and Path("demo/report.html").exists()
