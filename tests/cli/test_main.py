"""The command line itself: help, exit codes, errors, and what is handed to the jobs."""

import errno
import subprocess
import sys
import types
from pathlib import Path

import pytest

import nexus
import nexus.studies
from nexus.cli.main import run
from nexus.errors import DataError

COMMANDS = [
    *("demo", "check", "pretrain", "adapt", "probe", "train-probe", "label", "embed"),
    *("convert", "report", "version"),
]


class Jobs(types.ModuleType):
    """Stands in for `nexus.jobs`: records each call and does what `answer` says."""

    def __init__(self):
        super().__init__("nexus.jobs")
        self.calls = []
        self.answer = None

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args, **kwargs):
            self.calls.append((name, args, kwargs))
            if isinstance(self.answer, BaseException):
                raise self.answer
            return self.answer

        return call


@pytest.fixture
def jobs(monkeypatch):
    fake = Jobs()
    monkeypatch.setitem(sys.modules, "nexus.jobs", fake)
    monkeypatch.setattr(nexus, "jobs", fake, raising=False)
    return fake


def result(status="finished", report="runs/a/report.html"):
    return types.SimpleNamespace(
        out=Path("runs/a"),
        report=Path(report) if report else None,
        status=status,
        health="healthy",
        summary="2 steps [done]",
    )


def test_help_lists_every_command(capsys):
    assert run(["--help"]) == 0
    printed = capsys.readouterr().out
    for name in [*COMMANDS, "study"]:
        assert f" {name} " in printed


@pytest.mark.parametrize("command", [[name] for name in COMMANDS] + [["study", "toy"]])
def test_every_command_has_help_with_an_example_that_parses(command, capsys):
    assert run([*command, "-h"]) == 0
    printed = capsys.readouterr().out
    assert f"nexus {' '.join(command)}" in printed.split("Examples")[1]


def test_help_does_not_wait_for_heavy_libraries():
    code = (
        "import sys; from nexus.cli.main import run; assert run(['pretrain', '--help']) == 0; "
        "heavy = {'torch', 'av', 'sklearn', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_console_script_is_installed():
    script = Path(sys.executable).with_name("nexus")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("nexus ")


def test_pretrain_hands_everything_over(jobs, capsys, monkeypatch):
    jobs.answer = result()
    line = ["pretrain", "my videos", "--out", "runs/a", "optim.lr=3e-4", "--resume"]
    line += ["--seed", "7", "model.mask=tube", "--recipe", "seed", "--label", "action"]
    line += ["--init", "w.pt"]
    monkeypatch.setattr(sys, "argv", ["nexus", *line])
    assert run(line) == 0
    [(name, args, kwargs)] = jobs.calls
    assert (name, args) == ("pretrain", ("my videos", Path("runs/a")))
    assert kwargs == {
        "recipe": "seed",
        "overrides": ("optim.lr=3e-4", "model.mask=tube"),
        "init": "w.pt",
        "resume": True,
        "seed": 7,
        "label": "action",
        "report": True,
        "command": "nexus pretrain 'my videos' --out runs/a optim.lr=3e-4 --resume --seed 7 "
        "model.mask=tube --recipe seed --label action --init w.pt",
    }
    printed = capsys.readouterr().out
    assert "2 steps [done]" in printed
    assert "runs/a/report.html" in printed


def test_adapt_hands_everything_over(jobs, capsys, monkeypatch):
    jobs.answer = result()
    line = ["adapt", "videos", "training.steps=9", "--init", "w.pt", "--out", "s", "--labels"]
    line += ["l.csv", "--label", "a", "--label", "b", "--lr", "1e-5", "--ema", "0.99", "--ema"]
    line += ["0.999", "--probe", "knn", "--seed", "3"]
    monkeypatch.setattr(sys, "argv", ["nexus", *line])
    assert run(line) == 0
    [(name, args, kwargs)] = jobs.calls
    assert (name, args) == ("adapt", ("videos", Path("s")))
    assert kwargs == {
        "init": "w.pt",
        "labels": "l.csv",
        "label": ["a", "b"],
        "overrides": ("training.steps=9",),
        "lrs": (1e-5,),
        "momenta": (0.99, 0.999),
        "probe": "knn",
        "seed": 3,
        "command": " ".join(["nexus", *line]),
    }
    assert "runs/a/report.html" in capsys.readouterr().out


def test_demo_and_embed_hand_everything_over(jobs):
    jobs.answer = result()
    assert run(["demo"]) == 0
    jobs.answer = Path("f.npz")
    line = "embed runs/a videos --out f.npz --frames 8 --fps 4 --overlap 0.5 --pooling tokens"
    assert run([*line.split(), "--which", "context"]) == 0
    assert jobs.calls == [
        ("demo", (Path("demo"),), {"seed": 0}),
        (
            "embed",
            ("runs/a", "videos", Path("f.npz")),
            {
                "num_frames": 8,
                "fps": 4.0,
                "pad": False,
                "img_size": None,
                "overlap": 0.5,
                "pooling": "tokens",
                "layers": (),
                "probe": None,
                "images": False,
                "which": "context",
                "precision": "fp32",
            },
        ),
    ]


def test_embed_hands_published_weights_and_layers_over(jobs, capsys):
    jobs.answer = Path("f.npz")
    line = "embed org/name a.jpg --out f.npz --images --layers 5,11 --precision bf16 --size 64"
    assert run([*line.split(), "--pooling", "attentive", "--probe", "p", "--pad"]) == 0
    [(_, args, kwargs)] = jobs.calls
    assert args == ("org/name", "a.jpg", Path("f.npz"))
    given = {"images": True, "layers": (5, 11), "precision": "bf16", "img_size": 64, "pad": True}
    given |= {"pooling": "attentive", "probe": Path("p")}
    assert {key: kwargs[key] for key in given} == given
    assert run([*line.replace("5,11", "5;11").split()]) == 2
    assert "expected block numbers" in capsys.readouterr().err


def test_study_prints_its_table(monkeypatch, capsys, tmp_path):
    calls = []
    table = tmp_path / "table.md"
    table.write_text("| arm | [9.0 to 9.5] |\n")
    toy = types.ModuleType("nexus.studies.toy")
    toy.run = lambda out, **kwargs: calls.append((out, kwargs)) or table
    monkeypatch.setitem(sys.modules, "nexus.studies.toy", toy)
    monkeypatch.setattr(nexus.studies, "toy", toy, raising=False)
    line = ["study", "toy", "--arm", "vjepa, EMA only", "--arm", "random init"]
    assert run([*line, "--steps", "5", "--seeds", "1"]) == 0
    assert run(["study", "toy", "--out", "x"]) == 0
    assert calls == [
        (
            Path("runs/study-toy"),
            {"seeds": 1, "steps": 5, "arms": ["vjepa, EMA only", "random init"]},
        ),
        (Path("x"), {"seeds": 3, "steps": None, "arms": None}),
    ]
    assert "| arm | [9.0 to 9.5] |" in capsys.readouterr().out


def test_an_error_is_one_message_without_traceback(jobs, capsys):
    jobs.answer = DataError("got [bold]nothing[/bold], expected videos")
    assert run(["pretrain", "x", "--out", "y"]) == 1
    shown = capsys.readouterr()
    assert shown.err.strip() == "Error: got [bold]nothing[/bold], expected videos"
    assert shown.out == ""


@pytest.mark.parametrize("line", [["--debug", "report", "r"], ["report", "r", "--debug"]])
def test_debug_shows_the_traceback(jobs, capsys, line):
    jobs.answer = DataError("no videos")
    assert run(line) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err
    assert run(["report", "r"]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_full_disk_is_the_users_matter_and_a_bug_is_not(jobs, capsys):
    jobs.answer = OSError(errno.ENOSPC, "No space left on device", "runs/a/state.pt")
    assert run(["report", "r"]) == 1
    assert "No space left" in capsys.readouterr().err
    jobs.answer = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        run(["report", "r"])


def test_interruptions_exit_with_130(jobs, capsys):
    jobs.answer = KeyboardInterrupt()
    assert run(["pretrain", "x", "--out", "y"]) == 130
    jobs.answer = result("interrupted", report=None)
    assert run(["pretrain", "x", "--out", "y"]) == 130
    assert "Report" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", [["nonsense"], ["pretrain", "x"], ["embed", "r", "x"], ["demo", "--seed", "-1"]]
)
def test_a_wrong_command_line_exits_with_2(jobs, capsys, line):
    assert run(line) == 2
    assert "Usage" in capsys.readouterr().err
    assert jobs.calls == []


def test_version_names_what_a_bug_report_needs(capsys):
    assert run(["version"]) == 0
    printed = capsys.readouterr().out
    assert "nexus " in printed and "torch " in printed and "python " in printed
