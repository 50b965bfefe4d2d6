"""The rule that stops a run, and the list that names the files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.data.catalog.catalog import Problem
from nexus.errors import DataError
from nexus.training.failures import FailureLedger


def bad(name: str, kind: str = "decode_failed", fatal: bool = True) -> Problem:
    return Problem(path=name, kind=kind, reason=f"{name} is broken", fatal=fatal)


def stops(ledger: FailureLedger) -> bool:
    try:
        ledger.raise_if_too_many()
    except DataError:
        return True
    return False


@given(st.integers(1, 300), st.integers(0, 300), st.floats(0, 1), st.integers(1, 10))
def test_the_rule_as_written(total, failed, limit, floor):
    failed = min(failed, total)
    ledger = FailureLedger(total, limit, floor)
    ledger.add([bad(f"{i}.mp4") for i in range(failed)])
    assert stops(ledger) == (failed == total or (failed >= floor and failed > limit * total))


def test_a_few_bad_files_of_a_small_folder_stop_nothing():
    ledger = FailureLedger(8)
    ledger.add([bad("a.mp4")])
    ledger.add([bad("b.mp4")])
    ledger.raise_if_too_many()
    ledger.add([bad("c.mp4")])
    with pytest.raises(DataError, match=r"3 of 8 files failed while training, 37\.5%"):
        ledger.raise_if_too_many()


def test_the_limit_itself_is_allowed():
    ledger = FailureLedger(100, limit=0.05)
    ledger.add([bad(f"{i}.mp4") for i in range(5)])
    ledger.raise_if_too_many()
    ledger.add([bad("5.mp4")])
    assert stops(ledger)


def test_scan_problems_and_harmless_ones_are_listed_but_do_not_count():
    ledger = FailureLedger(4)
    ledger.add([bad(f"{i}.mp4", "truncated") for i in range(50)], stage="check")
    ledger.add([bad(f"{i}.mp4", "odd", fatal=False) for i in range(4)])
    ledger.raise_if_too_many()
    assert ledger.failed_files == ()
    assert len(ledger.rows()) == 54


def test_repeats_count_as_occurrences_not_as_files():
    ledger = FailureLedger(20)
    for _ in range(7):
        ledger.add([bad("a.mp4"), bad("a.mp4", "too_short"), bad("b.mp4")])
    assert ledger.failed_files == ("a.mp4", "b.mp4")
    ledger.raise_if_too_many()
    assert [(row["path"], row["kind"], row["count"]) for row in ledger.rows()] == [
        ("a.mp4", "decode_failed", 7),
        ("a.mp4", "too_short", 7),
        ("b.mp4", "decode_failed", 7),
    ]


def test_the_error_names_twenty_files_and_counts_the_rest():
    ledger = FailureLedger(100)
    ledger.add([bad(f"clip{i:03}.mp4") for i in range(27)])
    with pytest.raises(DataError) as caught:
        ledger.raise_if_too_many()
    text = str(caught.value)
    assert "27 of 100" in text and "27.0%" in text and "at most 5.0% may" in text
    assert "clip000.mp4: decode_failed: clip000.mp4 is broken" in text
    assert "clip019.mp4" in text and "clip020.mp4" not in text and "and 7 more" in text


def test_state_survives_json_and_rows_fit_the_problem_file():
    ledger = FailureLedger(30)
    ledger.add([bad("ä b.mp4"), bad("ä b.mp4")])
    ledger.add([bad("c.mp4", "variable_frame_rate", fatal=False)], stage="check")
    copy = FailureLedger(30)
    copy.load_state_dict(json.loads(json.dumps(ledger.state_dict())))
    assert copy.rows() == ledger.rows()
    copy.add([bad("ä b.mp4")])
    assert copy.rows()[0]["count"] == 3 and ledger.rows()[0]["count"] == 2
    assert set(copy.rows()[0]) == {"path", "kind", "reason", "fatal", "stage", "count"}


@pytest.mark.parametrize("arguments", [(0,), (5, 1.5), (5, -0.1), (5, 0.1, 0)])
def test_impossible_rules_are_refused(arguments):
    with pytest.raises(ValueError, match="expected at least"):
        FailureLedger(*arguments)


def test_a_problem_names_its_file_once() -> None:
    problem = Problem("/v/a.mp4", "unreadable", "/v/a.mp4: no frame decodes", fatal=True)
    assert problem.reason == "no frame decodes"
    assert Problem("/v/a.mp4", "odd", "like /v/a.mp4: odd", fatal=False).reason[:4] == "like"
