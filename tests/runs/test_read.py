"""Reading a run directory: whole lines count, damage becomes a note, nothing is a crash."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_builder import Builder, journal_rows, probe_rows

from nexus.errors import DataError
from nexus.runs.read import read_run
from nexus.runs.results import write_probe_rows

PARTS = ("recipe", "problems", "probes", "horizon", "colours")
FILES = {
    "recipe.yaml": "recipe",
    "problems.json": "problems",
    "results/probes.json": "probes",
    "results/horizon.json": "horizon",
    "results/pca.npz": "colours",
}


def test_a_whole_run_is_read_as_it_was_written(build: Builder) -> None:
    run = read_run(build())
    rows = journal_rows()
    assert run.notes == ()
    assert run.info.status == "finished"
    assert run.info.data.videos == 2000
    assert run.journal.column("loss").tolist() == [row["loss"] for row in rows]
    assert np.isnan(run.journal.column("no such column")).all()
    assert run.probes is not None
    assert [row.mean for row in run.probes.rows] == [row["mean"] for row in probe_rows()]
    assert run.colours is not None
    assert run.colours.colours.shape == (4, 8, 8, 8, 3)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [b"", b"\xff\xfe{", b"[1, 2", b'{"rows": [{"arm": 3}]}'])
def test_a_damaged_part_is_noted_and_the_rest_is_read(
    build: Builder, name: str, damage: bytes
) -> None:
    folder = build(journal=[])
    (folder / name).write_bytes(damage)
    run = read_run(folder)
    if name == "recipe.yaml" and damage != b"\xff\xfe{":
        assert run.recipe == damage.decode(), "any text is shown as it is"
        assert run.notes == ()
        return
    assert len(run.notes) == 1
    assert run.notes[0].startswith(f"{Path(name).name} could not be read and is left out: ")
    there = {part: getattr(run, part) is not None for part in PARTS}
    assert there == {part: part != FILES[name] for part in PARTS}


@pytest.mark.parametrize("changes", [{"frames": np.zeros((2, 4, 8, 8, 3))}, {"pca": None}])
def test_colours_of_another_shape_or_type_are_noted(build: Builder, changes: dict) -> None:
    folder = build(journal=[], parts=())
    whole = {"frames": np.zeros((2, 4, 8, 8, 3), np.uint8), "pca": np.zeros((2, 2, 2, 2, 3), "u1")}
    kept = {name: array for name, array in {**whole, **changes}.items() if array is not None}
    np.savez(folder / "results/pca.npz", **kept)
    run = read_run(folder)
    assert run.colours is None
    assert "pca.npz could not be read" in run.notes[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 100_000))
def test_a_journal_cut_anywhere_keeps_its_whole_lines(tmp_path: Path, cut: int) -> None:
    """What a kill leaves behind is a prefix of the file."""
    rows = journal_rows(steps=60)
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    left = text[: cut % (len(text) + 1)]
    (tmp_path / "journal.jsonl").write_bytes(left)
    run = read_run(tmp_path)
    lines = left.split(b"\n")
    torn = lines[-1] != b"" and json.dumps(rows[len(lines) - 1]).encode() != lines[-1]
    assert list(run.journal.rows) == rows[: len(lines) - 1 + (lines[-1] != b"" and not torn)]
    assert [f"breaks off in line {len(lines)}," in note for note in run.notes] == [True] * torn


def test_steps_that_were_logged_twice_count_once(build: Builder) -> None:
    """As after a kill between two checkpoints, where the run went on from the first."""
    rows = journal_rows(steps=60)
    again = [{**row, "loss": 9.0} for row in rows[3:5]]
    run = read_run(build(journal=rows[:5] + again, parts=()))
    assert run.journal.steps.tolist() == [10, 20, 30, 40, 50]
    assert run.journal.column("loss").tolist()[3:] == [9.0, 9.0]


def test_a_bad_line_in_the_middle_costs_that_line_only(build: Builder) -> None:
    folder = build(journal=journal_rows(steps=30), parts=())
    lines = (folder / "journal.jsonl").read_text().splitlines()
    (folder / "journal.jsonl").write_text("\n".join([lines[0], lines[1][:50], "7", "", lines[2]]))
    run = read_run(folder)
    assert run.journal.steps.tolist() == [10, 30]
    assert [note[:7] for note in run.notes] == ["Line 2 ", "Line 3 "]


def test_the_journal_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    run = read_run(tmp_path)
    assert run.info.status == "unknown"
    assert run.journal.column("loss").tolist() == [2.5]


def test_a_table_says_what_a_row_lacks(tmp_path: Path) -> None:
    path = tmp_path / "probes.json"
    path.write_text(json.dumps({"rows": [probe_rows()[0], {"arm": "x", "probe": "linear"}]}))
    with pytest.raises(DataError, match=r"rows\.1\.task: .*Field required"):
        write_probe_rows(path, [])
