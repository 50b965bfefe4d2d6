"""Runs that nexus 0.1.0 made: they open, their page is right, new results go beside theirs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import nexus
from nexus.reports.verdict import verdict
from nexus.runs.folder import RunDirectory, data_of, find_run, is_finished
from nexus.runs.read import read_run
from nexus.runs.schema import ProbeTable

V01 = Path(__file__).parents[1] / "assets/v0.1"
pytestmark = pytest.mark.usefixtures("undrawn")
ROLES = {
    ("vjepa", "linear"): "trained",
    ("vjepa", "knn"): "trained",
    ("vjepa", "attentive"): "trained",
    ("random init", "linear"): "untrained",
    ("random init", "knn"): "untrained",
    ("raw pixels", "linear"): "baseline",
    ("raw pixels", "knn"): "lookup",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work in: the runs name their videos from here."""
    monkeypatch.chdir(shutil.copytree(V01, tmp_path / "v0.1"))
    return tmp_path / "v0.1"


def test_a_finished_run_opens() -> None:
    run = read_run(V01 / "finished")
    assert run.notes == () and run.problems == () and run.adaptation is None
    assert (run.info.status, run.info.steps_done, run.info.seed) == ("finished", 6, 3)
    assert run.info.data.fingerprint == "2f5dff5ae7713307" and run.info.init is None
    assert run.journal.steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert run.recipe is not None and run.recipe.startswith("name: small\n")
    assert run.probes is not None and len(run.probes.rows) == 13
    assert {(row.arm, row.probe): row.role for row in run.probes.rows} == ROLES
    assert run.horizon is not None and run.horizon.unit.startswith("mean squared error")
    (row,) = run.horizon.rows
    assert (row.steps_ahead, row.seconds_ahead, row.error) == (1, 0.25, 0.9092124195378855)
    assert run.colours is not None and run.colours.frames.shape == (4, 4, 16, 16, 3)
    assert run.colours.colours.shape == (4, 2, 2, 2, 3) and run.colours.colours.dtype == np.uint8
    assert run.colours.names[0].endswith(".mp4") and len(run.colours.explained) == 3


@pytest.mark.parametrize(
    ("name", "status", "kind", "steps"),
    [("interrupted", "interrupted", "vjepa", 4), ("pixels", "finished", "pixels", 3)],
)
def test_other_runs_open(name: str, status: str, kind: str, steps: int) -> None:
    run = read_run(V01 / name)
    assert run.notes == () and run.problems == ()
    assert (run.info.status, run.info.model.kind, run.info.steps_done) == (status, kind, steps)
    assert len(run.journal.rows) == steps
    assert run.probes is run.horizon is run.colours is None
    assert is_finished(V01 / name) == (status == "finished")
    assert find_run(next((V01 / name / "checkpoints").glob("step_*"))) == V01 / name
    assert data_of(V01 / name / "checkpoints") == "videos/labels.csv"


def test_the_page_says_what_the_rows_say(here: Path) -> None:
    finished, healthy, worth = verdict(read_run("finished"))
    assert (finished.short, healthy.short) == ("Finished", "Not collapsed")
    assert (worth.level, worth.short) == ("warn", "Above every baseline on none of 2 labels")
    # That raw pixels are ahead is not sure: their interval is wide.
    assert "33.3 points below raw pixels with knn (intervals overlap)" in str(worth.lines[0])
    assert [[rival.arm for rival in line.rivals] for line in worth.lines] == [
        ["random init", "raw pixels"],
        ["random init", "raw pixels"],
    ]
    page = nexus.report("finished").read_text(encoding="utf-8")
    assert worth.short in page
    assert "No baseline was probed beside them" not in page
    for name in ("interrupted", "pixels"):
        text = nexus.report(name).read_text(encoding="utf-8")
        assert "No probe has looked at them yet" in text
    assert "Stopped at step 4 of 6" in (here / "interrupted/report.html").read_text("utf-8")


def test_new_rows_are_added_beside_the_old_ones(here: Path) -> None:
    table = here / "finished/results/probes.json"
    before = ProbeTable.read(table, own="vjepa")
    rows = nexus.probe("finished", label="shape", kinds=("knn",))
    held = json.loads(table.read_text(encoding="utf-8"))
    assert held["format"] == 2 and all("role" in row for row in held["rows"])
    after = ProbeTable.read(table)
    assert after.rows == (*before.rows, *rows)
    assert {row.role for row in rows} == {"trained", "untrained", "lookup"}


def test_a_run_of_the_pixel_model_is_its_own_arm_and_no_baseline(here: Path) -> None:
    rows = nexus.probe("pixels", label="direction", kinds=("linear",))
    assert [(row.arm, row.role) for row in rows] == [
        ("pixels", "trained"),
        ("random init", "untrained"),
        ("raw pixels", "baseline"),
        ("frame differences", "baseline"),
    ]
    assert verdict(read_run("pixels"))[2].lines[0].row.arm == "pixels"


def test_what_is_written_to_an_old_run_has_todays_format(here: Path) -> None:
    run = RunDirectory("interrupted")
    run.info = before = run.read_info()
    run.finish("failed", "as a test")
    held = json.loads((here / "interrupted/run.json").read_text())
    old = json.loads((V01 / "interrupted/run.json").read_text())
    assert held.pop("format") == 2
    assert held["data"].pop("clips") is None, "0.1.0 did not say"
    changed = {key for key in held if held[key] != old.get(key)}
    assert changed == {"status", "ended", "error"}
    assert run.read_info() == before.with_changes(
        status="failed", ended=run.info.ended, error="as a test"
    )
