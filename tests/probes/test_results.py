"""Rows of the probe table: which interval, what is averaged, what the file holds."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nexus.errors import DataError
from nexus.probes.columns import ClassTask
from nexus.probes.metrics import wilson_interval
from nexus.probes.results import ProbeResult, class_result, probe_row, vote_accuracy
from nexus.probes.splits import Part, Parts
from nexus.runs.results import write_probe_rows

RESULT = ProbeResult(
    task="direction",
    probe="linear",
    metric="accuracy",
    value=0.7,
    validation=0.72,
    ci95=(0.6, 0.78),
    chosen={"strength": 0.1},
    chance=0.125,
    n_train=300,
    n_validation=100,
    n_test=100,
    seed=0,
)


def test_one_pretraining_seed_has_the_test_sets_interval() -> None:
    row = probe_row("vjepa", "trained", {7: [RESULT]}, train_seconds=12.5)
    assert (row.values, row.seeds, row.mean) == ((0.7,), (7,), 0.7)
    assert row.ci95 == pytest.approx(wilson_interval(70, 100))
    assert row.train_seconds == 12.5


def test_probe_seeds_are_averaged_before_pretraining_seeds_are_compared() -> None:
    group = [replace(RESULT, value=value, seed=seed) for seed, value in enumerate((0.6, 0.8))]
    row = probe_row("vjepa", "trained", {0: group})
    assert row.values == pytest.approx((0.7,))
    assert row.ci95 == pytest.approx(wilson_interval(70, 100))

    row = probe_row(
        "vjepa",
        "trained",
        {0: group, 1: [replace(RESULT, value=0.5)], 2: [replace(RESULT, value=0.6)]},
    )
    assert row.values == pytest.approx((0.7, 0.5, 0.6))
    expected = stats.t.interval(0.95, 2, 0.6, stats.sem([0.7, 0.5, 0.6]))
    assert row.mean == pytest.approx(0.6)
    assert row.ci95 == pytest.approx(expected)


def test_an_accuracys_interval_stays_within_its_range_but_an_r_squareds_need_not() -> None:
    seeds = {0: [replace(RESULT, value=0.99)], 1: [replace(RESULT, value=0.5)]}
    assert probe_row("vjepa", "trained", seeds).ci95 == (0.0, 1.0)
    regressions = {seed: [replace(result, metric="r2")] for seed, [result] in seeds.items()}
    low, high = probe_row("vjepa", "trained", regressions).ci95
    assert low < 0 and high > 1
    single = replace(RESULT, metric="r2", ci95=(-0.1, 0.3))
    assert probe_row("vjepa", "trained", {0: [single]}).ci95 == (-0.1, 0.3)


def test_results_of_different_kinds_do_not_mix() -> None:
    with pytest.raises(ValueError, match="one row holds one task"):
        probe_row("vjepa", "trained", {0: [RESULT], 1: [replace(RESULT, probe="knn")]})
    with pytest.raises(ValueError, match="at least one result"):
        probe_row("vjepa", "trained", {})
    with pytest.raises(ValueError, match="at least one result"):
        probe_row("vjepa", "trained", {0: []})


def test_the_file_keeps_other_rows_and_replaces_its_own(tmp_path: Path) -> None:
    path = tmp_path / "results" / "probes.json"
    write_probe_rows(
        path,
        [
            probe_row("vjepa", "trained", {0: [RESULT]}),
            probe_row("random", "untrained", {0: [RESULT]}),
        ],
        notes=["a"],
    )
    better = replace(RESULT, value=0.9)
    write_probe_rows(path, [probe_row("vjepa", "trained", {0: [better]})], notes=["a", "b"])
    held = json.loads(path.read_text())
    assert [row["arm"] for row in held["rows"]] == ["vjepa", "random"]
    assert [row["mean"] for row in held["rows"]] == [0.9, 0.7]
    assert held["notes"] == ["a", "b"]
    assert set(held["rows"][0]) == {
        *("arm", "role", "task", "probe", "metric", "values", "seeds", "mean", "ci95", "chance"),
        *("n_train", "n_validation", "n_test", "n_test_seen", "train_seconds"),
    }
    assert np.ndim(held["rows"][0]["ci95"]) == 1
    assert held["rows"][0]["train_seconds"] is None


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": [{"arm": 1}]}'])
def test_a_file_that_is_no_probe_table_is_not_overwritten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "probes.json"
    path.write_text(text)
    with pytest.raises(DataError, match="not a probe table"):
        write_probe_rows(path, [probe_row("vjepa", "trained", {0: [RESULT]})])
    assert path.read_text() == text


def test_accuracy_confusion_and_recall_by_hand() -> None:
    labels, guess = [0, 1, 2, 0, 0, 0, 1, 1], [0, 0, 1, 1, 2]  # three to train on, five to test
    rows = [np.array(rows) for rows in ([0, 1, 2], [0, 1, 2], [3, 4, 5, 6, 7])]
    parts = Parts(*(Part(one, np.arange(len(one))) for one in rows), notes=("told",))
    task = ClassTask("class", ("a", "b", "c"), np.array(labels), parts, np.array(list("abcdefgh")))
    scores = np.eye(3)[guess]
    result = class_result(task, probe="x", scores=scores, validation=0.5, chosen={})
    assert result.value == vote_accuracy(task, parts.test, scores) == 3 / 5
    assert result.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 0))
    assert result.recall[:2] == pytest.approx((2 / 3, 1 / 2))
    assert math.isnan(result.recall[2])
    assert result.ci95 == wilson_interval(3, 5) and result.chance == 3 / 5
    answers = result.answers
    assert answers is not None and answers.samples == tuple("defgh")
    assert (answers.truth, answers.guess) == ((0, 0, 0, 1, 1), tuple(guess))
    assert answers.confidence == (1.0,) * 5 and answers.classes == ("a", "b", "c")
    assert answers.confusion.tolist() == [list(row) for row in result.confusion]
