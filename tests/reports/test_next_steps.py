"""What the page says is to be done next: it fits how the run ended, and the commands exist."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from run_builder import Builder, journal_rows, probe_rows, run_info

from nexus.cli.main import app
from nexus.reports.next_steps import next_steps
from nexus.reports.page import write_report
from nexus.runs.read import read_run
from nexus.training.health import thresholds

COMMANDS = typer.main.get_command(app)


def steps_of(build: Builder, health: str = "healthy", *, steps: int = 2000, **changes: Any):
    """The next steps of a finished run whose doctor had this last word."""
    log = [{**row, **changes, "health": health} for row in journal_rows(steps=steps, alarm=False)]
    info = run_info(steps_done=steps, health_thresholds=thresholds())
    info["data"]["labels"].pop("speed")
    run = build(journal=log, info=info)
    return run, next_steps(read_run(run))


CASES = {
    "healthy": ({}, ""),
    "unproven, few steps": ({"steps": 100, "health": "unproven"}, "--steps 400"),
    "unproven, few directions": ({"rank_share": 0.03, "health": "unproven"}, "--steps 4000"),
    "not learning": ({"error_vs_copy": 1.2, "health": "not learning"}, "nexus pretrain "),
    "collapsed": ({"context_spread": 0.01, "health": "collapsed"}, "regularizer_weight=0.03"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_first_step_answers_what_is_wrong(build: Builder, case: str) -> None:
    changes, first = CASES[case]
    _, found = steps_of(build, **changes)
    assert first in found[0].command
    assert "nexus embed" in found[-1].command


def test_a_run_of_a_recipe_that_did_not_fit_is_planned_anew(build: Builder) -> None:
    _, found = steps_of(build, "not learning", error_vs_copy=1.2)
    assert "--recipe" not in found[0].command and "NEW_FOLDER" in found[0].command


def test_published_weights_are_the_way_on_from_a_run_that_shows_nothing(build: Builder) -> None:
    def adapts(run: Path) -> int:
        return sum("nexus adapt" in it.command for it in next_steps(read_run(run)))

    log = journal_rows(alarm=False)
    ahead = probe_rows({"V-JEPA": (0.684, 0.556), "random init": (0.152, 0.301)})
    behind = probe_rows({"V-JEPA": (0.684, 0.556), "random init": (0.752, 0.601)})
    info = run_info(init={"source": "vitl.pt"})
    assert adapts(build(name="good", journal=log, rows=ahead)) == 0
    assert adapts(build(name="poor", journal=log, rows=behind)) == 1
    assert adapts(build(name="adapted", journal=log, rows=behind, info=info)) == 0


@pytest.mark.parametrize("case", CASES)
def test_every_command_is_one_that_nexus_takes(build: Builder, case: str) -> None:
    """As typed: the real command line parses it, placeholders and all."""
    _, found = steps_of(build, **CASES[case][0])
    commands = [shlex.split(it.command) for it in found if it.command]
    assert len(commands) >= 4
    for name, command, *arguments in commands:
        assert name == "nexus"
        COMMANDS.commands[command].make_context(command, arguments)  # type: ignore[attr-defined]


def test_a_regularized_run_that_collapsed_is_told_something_else(build: Builder) -> None:
    run, _ = steps_of(build, "collapsed", context_spread=0.01)
    (run / "recipe.yaml").write_text("model:\n  regularizer: variance_covariance\n")
    first = next_steps(read_run(run))[0]
    assert "ema_momentum=0.999" in first.command and "regularizer" not in first.command


def test_few_videos_are_said_without_a_command(build: Builder) -> None:
    info = run_info(health_thresholds=thresholds())
    info["data"]["videos"] = 3
    log = [{**row, "health": "unproven"} for row in journal_rows(alarm=False)]
    first = next_steps(read_run(build(journal=log, info=info)))[0]
    assert "fewer than 20" in first.why and first.command == ""


def test_without_labels_the_weights_are_trained_on_and_not_swept(build: Builder) -> None:
    info = run_info(health_thresholds=thresholds())
    info["data"]["labels"] = {}
    log = [{**row, "health": "not learning"} for row in journal_rows(alarm=False)]
    run = build(journal=log, info=info, parts=("recipe",))
    commands = [it.command for it in next_steps(read_run(run))]
    assert any("--recipe adapt" in it for it in commands)
    assert any(it.endswith("LABELLED.csv --label COLUMN") for it in commands)
    assert not any("nexus adapt" in it or "nexus label" in it for it in commands)


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_a_run_that_is_not_finished_has_to_go_on_first(build: Builder, status: str) -> None:
    run = build(info=run_info(status=status), parts=(), journal=[])
    assert next_steps(read_run(run)) == []
    page = write_report(run).read_text("utf-8")
    assert 'id="next"' not in page and "#next" not in page and "--resume" in page


def test_the_page_shows_them_ready_to_paste(build: Builder) -> None:
    run, found = steps_of(build, "not learning", error_vs_copy=1.2)
    page = write_report(run).read_text("utf-8")
    section = page[page.index('<section id="next">') :]
    assert section.count('<pre class="command">') == sum(bool(it.command) for it in found)
