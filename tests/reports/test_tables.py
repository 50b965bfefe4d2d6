"""Numbers as text, and the Markdown table of the README."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_builder import probe_rows, table_of

from nexus.errors import RunError
from nexus.reports.tables import count, duration, grid_of, markdown_table, shown, significant
from nexus.runs.schema import ProbeRow


def cells(markdown: str) -> list[list[str]]:
    """A Markdown table, split at the bars that are not escaped."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]] for line in lines
    ]


def test_the_markdown_table_holds_every_number_of_its_rows() -> None:
    rows = probe_rows()
    text = markdown_table(table_of(rows).rows)
    head, rule, *body = cells(text)
    assert set(rule[1:]) == {"---:"}
    assert head[1] == "direction, linear (chance 12.5)"
    found = {
        (line[0], column): cell.replace("**", "")
        for line in body
        for column, cell in zip(head, line, strict=True)
    }
    for row in rows:
        column = f"{row['task']}, {row['probe']} (chance {100 * row['chance']:.1f})"
        low, high = (f"{100 * end:.1f}" for end in row["ci95"])
        assert found[row["arm"], column] == f"{100 * row['mean']:.1f} [{low} to {high}]"
    assert found["V-JEPA", "training"] == "7 min 43 s"
    assert found["random init", "training"] == "–"
    assert text.endswith(
        "\n\nAccuracies in %; mean over 3 training seeds, with its 95 % interval; 400 test files.\n"
    )


def test_the_best_of_each_column_is_bold() -> None:
    head, _, *body = cells(markdown_table(table_of(probe_rows()).rows))
    for column in range(1, len(head) - 1):
        means = {line[0]: float(re.findall(r"[\d.]+", line[column])[0]) for line in body}
        bold = [line[0] for line in body if line[column].startswith("**")]
        assert bold == [max(means, key=lambda arm: means[arm])]


def test_one_probe_can_be_chosen() -> None:
    head, *_ = cells(markdown_table(table_of(probe_rows()).rows, probe="kNN"))
    assert len(head) == 1 + 2 + 1
    with pytest.raises(RunError, match="no rows"):
        markdown_table(table_of(probe_rows()).rows, probe="quantum")


def test_one_seed_says_that_its_interval_is_over_test_files() -> None:
    rows = [{**row, "values": row["values"][:1], "seeds": [0]} for row in probe_rows()]
    assert "one training seed, with the 95 % interval over test files" in markdown_table(
        table_of(rows).rows
    )


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), min_size=1))
def test_no_name_breaks_the_table(name: str) -> None:
    rows = [{"arm": name, "task": name, "probe": "linear", "mean": 0.5, "ci95": (0.4, 0.6)}]
    table = cells(markdown_table(table_of(rows).rows))
    assert len(table) == 3
    assert len({len(line) for line in table}) == 1


def test_an_arm_that_was_not_asked_has_a_dash() -> None:
    rows = [ProbeRow(**row) for row in probe_rows()[:-1]]
    grid = grid_of(rows)
    last = grid.arms[-1]
    assert [last not in column.rows for column in grid.columns] == [False, False, False, True]
    assert cells(markdown_table(rows))[-1][4] == "–"


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.6843, "accuracy", "68.4"),
        (1.0, "accuracy", "100.0"),
        (0.8449, "r2", "0.84"),
        (-0.09, "r2", "−0.09"),
        (None, "accuracy", "–"),
    ],
)
def test_scores(value: float | None, metric: str, text: str) -> None:
    assert shown(value, metric) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.24, "0.2 s"),
        (42, "42 s"),
        (59.7, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (7800, "2 h 10 min"),
        (None, "–"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.123456, "0.123"),
        (1234.5, "1\u202f230"),
        (5.000000001, "5"),
        (2e-05, "2.00e-05"),
        (-0.5, "-0.5"),
    ],
)
def test_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_counts_are_grouped() -> None:
    assert count(64000) == "64\u202f000"
    assert count(None) == "–"
