"""The command line itself: help, exit codes and errors."""

import errno
import subprocess
import sys
import types
from pathlib import Path

import pytest

import nexus
from nexus.cli.main import run
from nexus.errors import DataError

COMMANDS = [
    *("demo", "check", "plan-run", "pretrain", "adapt", "probe", "train-probe", "label", "embed"),
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
    assert "Error: runs/a/state.pt: no space left on device" in capsys.readouterr().err
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
