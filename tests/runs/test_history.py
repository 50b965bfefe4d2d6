"""What earlier versions wrote: roles out of names, and what a later version wrote is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from run_builder import Builder, probe_rows, run_info, table_of

from nexus.errors import DataError, RunError
from nexus.runs.folder import RunDirectory
from nexus.runs.history import FORMAT, upgraded
from nexus.runs.read import read_run
from nexus.runs.results import write_probe_rows
from nexus.runs.schema import ProbeRow, RunInfo


def old(arm: str, probe: str = "linear") -> dict[str, Any]:
    return {"arm": arm, "task": "direction", "probe": probe, "mean": 0.5}


@pytest.mark.parametrize(
    ("arm", "probe", "role"),
    [
        ("vjepa", "knn", "trained"),
        ("random init", "linear", "untrained"),
        ("no adaptation", "linear", "start"),
        ("raw pixels", "knn", "lookup"),
        ("raw pixels", "linear", "baseline"),
        ("raw pixels", "ridge", "baseline"),
        ("pixel prediction, raw", "knn", "baseline"),
        ("vjepa, EMA only", "linear", "baseline"),
    ],
)
def test_a_row_without_a_role_gets_it_from_its_name(arm: str, probe: str, role: str) -> None:
    table = table_of([old("vjepa"), old(arm, probe)], own="vjepa")
    assert table.rows[1].role == role


def test_a_role_that_is_there_stays_whatever_the_name_says() -> None:
    rows = [{**old("random walks"), "role": "trained"}, old("vjepa"), old("pixels")]
    assert [row.role for row in table_of(rows, own="vjepa").rows] == [
        *("trained", "trained", "baseline"),
    ]


def test_new_rows_say_which_old_arm_is_the_run_itself(tmp_path: Path) -> None:
    path = tmp_path / "probes.json"
    path.write_text(json.dumps({"rows": [old("pixels"), old("random init"), old("raw pixels")]}))
    fresh = ProbeRow(arm="pixels", role="trained", task="shape", probe="linear")
    write_probe_rows(path, [fresh])
    held = json.loads(path.read_text())
    assert held["format"] == FORMAT
    roles = [(row["arm"], row["task"], row["role"]) for row in held["rows"]]
    assert roles == [
        ("pixels", "direction", "trained"),
        ("random init", "direction", "untrained"),
        ("raw pixels", "direction", "baseline"),
        ("pixels", "shape", "trained"),
    ]


def test_todays_files_are_left_alone() -> None:
    content = {"format": FORMAT, "rows": probe_rows(), "notes": ["a"]}
    assert upgraded(content) == content
    assert upgraded([1, 2]) == [1, 2]


def test_a_run_of_a_later_version_is_refused_in_words(build: Builder) -> None:
    run = build(info=run_info(format=FORMAT + 1), journal=[])
    told = rf"run\.json is written in format {FORMAT + 1}, .* reads formats up to {FORMAT}; use a"
    with pytest.raises(RunError, match=told):
        read_run(run)
    with pytest.raises(RunError, match=told):
        RunDirectory(run).read_info()
    with pytest.raises(RunError, match="written in format 'x'"):
        upgraded({"format": "x", "rows": probe_rows()})


def test_a_table_of_a_later_version_is_neither_read_nor_added_to(build: Builder) -> None:
    run = build(journal=[])
    path = run / "results/probes.json"
    path.write_text(json.dumps({"format": FORMAT + 1, "rows": []}))
    row = ProbeRow(arm="a", role="trained", task="t", probe="linear")
    before = path.read_bytes()
    for call in (lambda: read_run(run), lambda: write_probe_rows(path, [row])):
        with pytest.raises(RunError, match=r"probes\.json is written in format"):
            call()
    assert path.read_bytes() == before
    path.write_text('{"format": 2, "rows": [{"arm": "a", "role": "king"}]}')
    with pytest.raises(DataError, match=r"rows\.0\.role: got 'king'"):
        write_probe_rows(path, [row])


def test_what_code_writes_is_checked() -> None:
    info = RunInfo(steps_total=5).with_changes(status="running", steps_done=3)
    assert (info.status, info.steps_done, info.steps_total) == ("running", 3, 5)
    with pytest.raises(ValueError, match="RunInfo has no entry steps_dun"):
        info.with_changes(steps_dun=3)
    with pytest.raises(ValueError, match="steps_done"):
        info.with_changes(steps_done="three")
    with pytest.raises(ValueError, match="status"):
        info.with_changes(status="done")


def test_a_file_of_names_that_are_no_unicode_comes_back_as_it_was(tmp_path: Path) -> None:
    """A run can be resumed, and probed, on the folder that it was trained on."""
    odd = RunInfo.model_validate({"data": {"source": "caf\udce9", "labels": {"\udce9": {"a": 1}}}})
    odd.save(tmp_path / "run.json")
    assert RunInfo.read(tmp_path / "run.json") == odd
