"""The page of a run at work: seldom enough to cost nothing, and never the end of a run."""

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from run_builder import Builder, journal_rows, run_info

from nexus.checkpoints.weights import read_weights
from nexus.errors import TrainingError
from nexus.reports.page import write_report
from nexus.runs.folder import RunDirectory
from nexus.training import live_page, loop
from nexus.training.live_page import LivePage
from nexus.training.loop import train

pytestmark = pytest.mark.usefixtures("undrawn")


class Eager(LivePage):
    """Draws at every call, whatever it costs."""

    def update(self, seconds: float) -> None:
        self.draw()


@pytest.fixture
def eager(monkeypatch):
    monkeypatch.setattr(loop, "LivePage", Eager)


def run_of(build: Builder, status: str = "running", **more):
    info = run_info(status=status, steps_done=200, **more)
    log = [{**row, "seconds": row["step"] / 4} for row in journal_rows(steps=400)]
    return build(info=info, journal=log)


@given(
    st.lists(st.floats(0.01, 30), min_size=1, max_size=60),
    st.lists(st.floats(0.1, 9), min_size=60, max_size=60),
)
def test_pages_take_their_share_of_the_time_at_most(
    tmp_path_factory, waits: list[float], costs: list[float]
) -> None:
    """Whatever a page costs, by the time that the next one is drawn it has been paid off."""
    now, drawn = [0.0], []

    class Timed(LivePage):
        def draw(self) -> None:
            begun = now[0]
            now[0] += costs[len(drawn)]
            drawn.append((begun, costs[len(drawn)]))
            self._cost = costs[len(drawn) - 1]

    page = Timed(tmp_path_factory.getbasetemp(), print, share=0.05)
    for wait in waits:
        now[0] += wait
        page.update(now[0])
    spent = 0.0
    for begun, cost in drawn:
        assert spent <= 0.05 * begun + 1e-9
        spent += cost


def test_a_page_of_a_run_at_work_says_how_far_it_is_and_renews_itself(build: Builder) -> None:
    run = run_of(build)
    page = write_report(run, live=True).read_text("utf-8")
    assert '<meta http-equiv="refresh" content="30">' in page
    assert re.search(r"Step 400 of 2\u202f000 at \d\d:\d\d:\d\d \w+, about 6 min 40 s to go", page)
    assert '<p class="short">Running</p>' in page and "… at work" in page
    assert "measured at the end of the run" in page and "--resume" not in page
    for section in ("worth", "features", "horizon", "next"):
        assert f'id="{section}"' not in page and f"#{section}" not in page
    assert page.count("<svg") >= 8 and "Criteria of health" in page


@pytest.mark.parametrize(("status", "renews"), [("finished", 1), ("interrupted", 0), ("failed", 0)])
def test_a_page_renews_itself_only_as_long_as_more_is_to_come(
    build: Builder, status: str, renews: int
) -> None:
    page = write_report(run_of(build, status), live=True).read_text("utf-8")
    assert page.count('http-equiv="refresh"') == page.count("That is being measured") == renews


def test_a_page_that_somebody_asks_for_does_not_renew_itself(build: Builder) -> None:
    page = write_report(run_of(build)).read_text("utf-8")
    assert 'http-equiv="refresh"' not in page and "still at work, or killed" in page


def test_what_goes_wrong_with_the_page_is_said_once_and_ends_nothing(
    tmp_path, world, tiny, quiet, monkeypatch, eager
) -> None:
    def broken(*_: object, **__: object) -> Path:
        raise ValueError("no ink")

    monkeypatch.setattr(live_page, "write_report", broken)
    result = train(tiny(), world, tmp_path / "run", console=quiet, live_page=True)
    assert result.status == "finished" and not (tmp_path / "run/report.html").exists()
    assert quiet.file.getvalue().count("the page cannot be drawn (no ink); training goes on") == 1


def test_the_page_changes_nothing_in_what_is_learned(tmp_path, world, tiny, quiet, eager) -> None:
    recipe = tiny("training.steps=3")
    with_page, without = (
        train(recipe, world, tmp_path / name, console=quiet, live_page=live)
        for name, live in (("with", True), ("without", False))
    )
    assert (tmp_path / "with/report.html").exists()
    assert not (tmp_path / "without/report.html").exists()
    assert quiet.file.getvalue().count("The page so far: ") == 1
    ours, theirs = (
        read_weights(each.checkpoint / "model.safetensors") for each in (with_page, without)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_page_of_a_run_that_fails_says_so(tmp_path, world, tiny, quiet, eager) -> None:
    recipe = tiny("optim.lr=1e30", "training.max_skipped_steps=0", "training.steps=20")
    with pytest.raises(TrainingError):
        train(recipe, world, tmp_path / "run", console=quiet, live_page=True)
    page = (tmp_path / "run/report.html").read_text("utf-8")
    assert '<p class="short">Failed</p>' in page and "not finite" in page
    assert 'http-equiv="refresh"' not in page
    assert RunDirectory(tmp_path / "run").read_info().status == "failed"


def test_short_runs_draw_no_page_at_all(tmp_path, world, tiny, quiet) -> None:
    train(tiny("training.steps=2"), world, tmp_path / "run", console=quiet, live_page=True)
    assert not (tmp_path / "run/report.html").exists()


def test_a_page_that_is_there_is_brought_up_to_date_unless_one_hurries(build: Builder) -> None:
    run = run_of(build, "interrupted")
    for error, drawn in ((KeyboardInterrupt, False), (ValueError, True)):
        (run / "report.html").write_text("old")
        with pytest.raises(error), LivePage(run, print):
            raise error
        assert ((run / "report.html").read_text("utf-8") != "old") == drawn
