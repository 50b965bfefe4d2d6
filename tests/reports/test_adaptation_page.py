"""The table of an adaptation sweep: on the page of the picked run, and as Markdown."""

import json
from pathlib import Path
from typing import Any

import pytest
from run_builder import Builder, run_info

from nexus.reports.adaptation import markdown, words
from nexus.reports.facts import data_and_model, repeat_command, resume_command
from nexus.reports.page import write_report
from nexus.reports.verdict import verdict
from nexus.runs.read import read_run
from nexus.runs.schema import Adaptation

INIT = {"source": "weights/<vitl>.pt", "sha256": "ab" * 32, "notes": ["the predictor is new"]}


def row(arm: str, scores: tuple[float, float], **more: Any) -> dict[str, Any]:
    validation = dict(zip(("action", "speed"), scores, strict=True))
    return {"arm": arm, "validation": validation, "score": sum(scores) / 2, **more}


def sweep(chosen: str = "lr 1e-05, EMA 0.99", **changes: Any) -> dict[str, Any]:
    low = {"lr": 1e-5, "ema_momentum": 0.99, "loss": 0.41, "train_seconds": 3723.0}
    high = {"lr": 4e-5, "ema_momentum": 0.99, "loss": 0.32, "train_seconds": 3700.0}
    return {
        "init": INIT,
        "probe": "linear, ridge",
        "metrics": {"action": "accuracy", "speed": "r2"},
        "rows": [
            row("no adaptation", (0.512, 0.25)),
            row("lr 1e-05, EMA 0.99", (0.634, 0.5), **low, health="healthy"),
            row("lr 4e-05, EMA 0.99", (0.601, 0.31), **high, health="collapsing"),
        ],
        "chosen": chosen,
        "notes": ["4 of the 40 labelled samples were also trained on"],
        **changes,
    }


def with_sweep(run: Path, content: Any) -> Path:
    (run / "results/adaptation.json").write_text(json.dumps(content))
    return run


def test_the_words_say_what_picked_and_what_the_loss_would_have_picked() -> None:
    told = words(Adaptation.model_validate(sweep()))
    assert told == (
        "Picked by the linear, ridge probe on the validation split of action, speed: lr 1e-05, "
        "EMA 0.99. The loss, which says little, would have picked lr 4e-05, EMA 0.99."
    )
    agreed = words(Adaptation.model_validate(sweep(chosen="lr 4e-05, EMA 0.99")))
    assert "loss" not in agreed
    none = words(Adaptation.model_validate(sweep(chosen="no adaptation")))
    assert none.endswith("No run of the sweep is better: use the weights as they are.")


def test_the_markdown_table_holds_every_number() -> None:
    lines = markdown(Adaptation.model_validate(sweep())).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:5]]
    assert cells[0] == [
        "run", "learning rate", "EMA momentum", "action (accuracy, %)", "speed (R²)", "last loss",
        "health", "training",
    ]  # fmt: skip
    assert cells[2] == ["no adaptation", "–", "–", "51.2", "0.25", "–", "–", "–"]
    assert cells[3] == [
        "**lr 1e-05, EMA 0.99**", "1.00e-05", "0.99", "63.4", "0.50", "0.41", "healthy",
        "1 h 02 min",
    ]  # fmt: skip
    assert lines[-1].startswith("Picked by")


FAILED = {
    "arm": "lr 1, EMA 0.99", "lr": 1.0, "ema_momentum": 0.99, "loss": 0.01, "health": "collapsed",
    "failed": "step 7: loss | gradient\nwas not finite 26 times. The weights were left",
}  # fmt: skip


def test_a_failed_run_is_a_row_that_is_not_compared(build: Builder) -> None:
    rows = sweep()["rows"]
    found = Adaptation.model_validate(sweep(rows=[*rows, FAILED]))
    lines = markdown(found).splitlines()
    assert lines[5] == (
        "| lr 1, EMA 0.99 | 1 | 0.99 | – | – | 0.01 | failed: step 7: loss \\| gradient was not "
        "finite 26 times | – |"
    )
    assert words(found).endswith(
        "would have picked lr 4e-05, EMA 0.99. 1 of 3 runs failed: lr 1, EMA 0.99."
    )
    run = with_sweep(build(parts=(), journal=[]), sweep(rows=[*rows, FAILED]))
    page = write_report(run).read_text("utf-8")
    assert "failed: step 7: loss | gradient was not finite 26 times</td>" in page
    alone = Adaptation.model_validate(sweep("no adaptation", rows=[rows[0], FAILED]))
    assert words(alone) == (
        "Every run of the sweep failed (lr 1, EMA 0.99): use the weights as they are, or try lower "
        "learning rates."
    )


def test_the_page_shows_the_sweep_of_its_run(build: Builder) -> None:
    run = with_sweep(build(info=run_info(init=INIT), parts=()), sweep())
    page = write_report(run).read_text(encoding="utf-8")
    section = page[page.index('<section id="adaptation">') : page.index('<section id="loss">')]
    for text in ("no adaptation", "63.4", "0.50", "would have picked", "4 of the 40 labelled"):
        assert text in section
    assert "weights/&lt;vitl&gt;.pt" in section and "<vitl>" not in page
    assert '<tr class="own"><th scope="row">lr 1e-05, EMA 0.99' in section
    assert '<a href="#adaptation">' in page
    facts = data_and_model(read_run(run))
    assert facts["started from"] == INIT["source"] and facts["… notes"] == "the predictor is new."


def test_other_runs_have_no_such_section(build: Builder) -> None:
    page = write_report(build(journal=[])).read_text(encoding="utf-8")
    assert "adaptation" not in page.lower() and "started from" not in page


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        sweep(chosen="another"),
        sweep(rows=[{"arm": "no score"}]),
        sweep(rows=[*sweep()["rows"], {"arm": "neither a score nor a reason"}]),
        sweep("lr 1, EMA 0.99", rows=[*sweep()["rows"], FAILED]),
    ],
)
def test_a_damaged_sweep_is_noted_and_left_out(build: Builder, content: Any) -> None:
    files = read_run(with_sweep(build(parts=(), journal=[]), content))
    assert files.adaptation is None
    assert any(note.startswith("adaptation.json could not be read") for note in files.notes)
    write_report(files.folder)


def test_the_weights_as_they_were_are_the_first_rival(build: Builder) -> None:
    rows = [
        {"arm": arm, "task": "action", "probe": "linear", "mean": mean, "ci95": ci}
        for arm, mean, ci in (
            ("vjepa", 0.60, (0.55, 0.65)),
            ("no adaptation", 0.58, (0.53, 0.63)),
            ("random init", 0.2, (0.15, 0.25)),
        )
    ]
    answer = verdict(read_run(build(rows=rows, journal=[], parts=("probes",))))[2]
    assert answer.short == "2.0 points above no adaptation on action (intervals overlap)"
    assert answer.level == "warn"  # the intervals overlap: not surely better than before


def test_how_to_go_on_and_how_to_repeat(build: Builder) -> None:
    command = "nexus adapt videos --init w.pt --out sweep"
    run = build(info=run_info(command=command, status="interrupted"))
    assert resume_command(read_run(run)) == command
    again = repeat_command(read_run(build(name="b", info=run_info(init=INIT, command=None))))
    assert "--init 'weights/<vitl>.pt' --out NEW_FOLDER" in again
