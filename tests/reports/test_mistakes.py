"""What a probe takes for what, and what is alike, on the page."""

import json
import re
from pathlib import Path

import pytest
from run_builder import Builder, run_info

from nexus.reports import mistakes as module
from nexus.reports.mistakes import mistakes
from nexus.reports.page import write_report
from nexus.runs.predictions import (
    Answers,
    Neighbour,
    NeighbourRow,
    Neighbours,
    ProbePredictions,
    ShownClip,
    write_predictions,
)
from nexus.runs.read import read_run

pytestmark = pytest.mark.usefixtures("undrawn")


def clip(key: str, size: int = 8) -> ShownClip:
    return ShownClip(key=key, labels={"shape": "<disc>"}, jpeg="A" * size)


def table(classes: int = 3, probe: str = "linear", task: str = "shape", **more):
    """Class 0 once right and once taken for 1, class 1 right, class 2 never in the test split."""
    names = tuple(f"<{number}>" for number in range(classes))
    given = Answers(
        classes=names, samples=("a.mp4", "b & c.mp4", "d.mp4"), truth=(0, 0, 1), guess=(0, 1, 1),
        confidence=(0.9, 0.8, 0.7),
    )  # fmt: skip
    settings = {"arm": "V-JEPA", "mistakes": (clip("b & c.mp4"),), **more}
    return ProbePredictions(task=task, probe=probe, answers=given, **settings)


def with_results(run: Path, *tables: ProbePredictions, near: int = 0) -> Path:
    if tables:
        write_predictions(run / "results/predictions.json", tables)
    if near:
        rows = [
            NeighbourRow(
                clip=clip(f"query {number}"),
                neighbours=tuple(
                    Neighbour(clip=clip(f"near {number} {place}"), cosine=0.9 - 0.1 * place)
                    for place in range(2)
                ),
            )
            for number in range(near)
        ]
        Neighbours(rows=tuple(rows), searched=1234).save(run / "results/neighbours.json")
    return run


def page_of(run: Path) -> str:
    return write_report(run).read_text("utf-8")


def test_the_matrix_holds_every_answer_and_each_class_its_share(build: Builder) -> None:
    run = with_results(build(journal=[]), table())
    (found,) = mistakes(read_run(run))
    assert [(line.name, line.samples, line.right) for line in found.lines] == [
        ("<0>", 2, 0.5), ("<1>", 1, 1.0), ("<2>", 0, None),
    ]  # fmt: skip
    assert found.errors == 1 and found.mixed_up == (("<0>", "<1>", 1),)
    page = page_of(run)
    section = page[page.index('class="confusion"') : page.index('class="wrong"')]
    cells = re.findall(r"<td[^>]*>(?:<strong>)?([^<]*)", section)
    assert cells == ["1", "1", "·", "50.0", "2", "·", "1", "·", "100.0", "1", *"···", "–", "0"]
    assert "&lt;0&gt;</strong> taken for <strong>&lt;1&gt;" in page and "<0>" not in page
    assert 'alt="First, middle and last frame of b &amp; c.mp4"' in page
    assert page.count("data:image/jpeg;base64,AAAAAAAA") == 1


def test_many_classes_are_listed_and_not_squared(build: Builder) -> None:
    page = page_of(with_results(build(journal=[]), table(module.MATRIX_CLASSES + 1)))
    assert 'class="confusion"' not in page and page.count('<table class="recall">') == 2
    assert "recognised worst, of 17 classes" in page and "mixed up most often" in page


def test_the_probe_that_the_page_compares_by_speaks(build: Builder) -> None:
    tables = (table(probe="knn"), table(), table(probe="knn", task="speed"), table(arm="another"))
    found = mistakes(read_run(with_results(build(journal=[]), *tables)))
    assert [(each.task, each.probe) for each in found] == [("shape", "linear"), ("speed", "knn")]


def test_neighbours_are_shown_with_their_cosine(build: Builder) -> None:
    page = page_of(with_results(build(journal=[], parts=()), near=2))
    section = page[page.index('<section id="neighbours">') : page.index('<section id="horizon">')]
    assert section.count("<img") == 6 and "<strong>0.80</strong>" in section
    assert "1\u202f234 that were looked through" in section and "&lt;disc&gt;" in section
    assert '<a href="#neighbours">' in page


def test_pictures_are_bounded_and_the_first_of_each_task_come_first(
    build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PICTURE_BYTES", 6500)
    wrong = tuple(clip(key, 1000) for key in ("a.mp4", "b & c.mp4", "d.mp4"))
    tables = [table(task=task, mistakes=wrong) for task in ("shape", "direction", "speed")]
    run = with_results(build(journal=[], parts=("probes",)), *tables, near=1)
    page = page_of(run)
    pictures = re.findall(r"base64,(A+)", page)
    assert sorted(map(len, pictures)) == [8] * 3 + [1000] * 6  # not the third of each task
    assert page.count("taken for <strong>") == 9, "the words of all of them are there"


def test_runs_without_them_and_runs_at_work_show_nothing(build: Builder) -> None:
    bare = page_of(build(name="bare", journal=[]))
    assert "takes for what" not in bare and "neighbours" not in bare.lower()
    info = run_info(status="running")
    run = with_results(build(name="live", info=info, journal=[]), table(), near=1)
    live = write_report(run, live=True).read_text("utf-8")
    assert "takes for what" not in live and 'id="neighbours"' not in live


@pytest.mark.parametrize("name", ["predictions", "neighbours"])
def test_a_damaged_file_is_noted_and_left_out(build: Builder, name: str) -> None:
    run = build(journal=[])
    (run / f"results/{name}.json").write_text(json.dumps({"tables": 3, "rows": 3}))
    files = read_run(run)
    assert getattr(files, name) is None
    assert any(note.startswith(f"{name}.json could not be read") for note in files.notes)
    page_of(run)
