"""Probe results as tables: numbers with sensible digits, a Markdown table, a grid of cells.

The README's table is printed by `markdown_table` from the same file that the page reads.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nexus.runs.results import as_table
from nexus.runs.schema import ProbeRow, ProbeTable

_SHARES = ("accuracy", "top1", "top5", "balanced_accuracy", "recall")


def is_share(metric: str) -> bool:
    """Whether a metric is a share of right answers, shown in percent."""
    return metric.lower() in _SHARES


def scaled(value: float, metric: str) -> float:
    """The number as it is shown: percent for shares, unchanged otherwise."""
    return 100 * value if is_share(metric) else value


def shown(value: float | None, metric: str, unit: bool = False) -> str:
    """One decimal for percentages, two for everything else; a dash where there is no number."""
    if value is None:
        return "–"
    if is_share(metric):
        return f"{100 * value:.1f}" + ("\u202f%" if unit else "")
    return f"{value:.2f}".replace("-", "−")


def interval(row: ProbeRow) -> str:
    """The 95 % interval of a row, `64.1 to 72.0`, or a dash when it has none."""
    if row.ci95 is None:
        return "–"
    return f"{shown(row.ci95[0], row.metric)} to {shown(row.ci95[1], row.metric)}"


def metric_title(metric: str) -> str:
    """The name of a metric with its unit."""
    name = {"r2": "R²"}.get(metric.lower(), metric.replace("_", " "))
    return f"{name}, %" if is_share(metric) else name


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds is None:
        return "–"
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(value: float | None) -> str:
    """A whole number with thousands separated by a narrow space."""
    return "–" if value is None else f"{round(value):,}".replace(",", "\u202f")


def significant(value: float | None, digits: int = 3) -> str:
    """A quantity with so many significant digits and no needless exponent; a dash for none."""
    if value is None:
        return "–"
    if value == 0 or not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}" if value else "0"
    return f"{float(f'{value:.{digits}g}'):,.10g}".replace(",", "\u202f")


@dataclass(frozen=True)
class Column:
    """A question that was put to every arm."""

    task: str
    probe: str
    metric: str
    chance: float | None


@dataclass(frozen=True)
class Grid:
    """Arms down, questions across; a cell is None where an arm was not asked."""

    arms: tuple[str, ...]
    columns: tuple[Column, ...]
    cells: tuple[tuple[ProbeRow | None, ...], ...]

    def best(self, column: int) -> str | None:
        """The arm with the highest mean in a column."""
        rows = [line[column] for line in self.cells]
        means = {row.arm: row.mean for row in rows if row is not None and row.mean is not None}
        return max(means, key=lambda arm: means[arm]) if means else None

    def seconds(self, arm: str) -> float | None:
        """The training time of an arm, where any of its rows says it."""
        line = self.cells[self.arms.index(arm)]
        known = [row.train_seconds for row in line if row is not None and row.train_seconds]
        return known[0] if known else None


def grid_of(rows: Iterable[ProbeRow]) -> Grid:
    """Rows as a grid, arms and questions in the order in which they first appear."""
    rows = list(rows)
    arms = tuple(dict.fromkeys(row.arm for row in rows))
    by_place = {(row.arm, row.task, row.probe, row.metric): row for row in rows}
    columns = []
    for task, probe, metric in dict.fromkeys((row.task, row.probe, row.metric) for row in rows):
        same = [r for r in rows if (r.task, r.probe, r.metric) == (task, probe, metric)]
        chances = [row.chance for row in same if row.chance is not None]
        columns.append(Column(task, probe, metric, chances[0] if chances else None))
    cells = tuple(
        tuple(by_place.get((arm, c.task, c.probe, c.metric)) for c in columns) for arm in arms
    )
    return Grid(arms, tuple(columns), cells)


def markdown_table(
    rows: Mapping[str, Any] | Sequence[Any] | ProbeTable, *, probe: str | None = None
) -> str:
    """A Markdown table of probe rows: an arm a line, a task and probe a column, the best in bold.

    `rows` are mappings or `ProbeRow`s as in `results/probes.json`, or that file's whole mapping.
    `probe` keeps the columns of one probe only. The last line says what the numbers are.

    Raises:
        RunError: there are no (matching) rows or a row is not one.
    """
    kept = [row for row in as_table(rows).rows if probe is None or row.probe == probe]
    grid = grid_of(as_table(kept).rows)
    timed = any(grid.seconds(arm) for arm in grid.arms)
    lines = [["arm", *map(_heading, grid.columns), *(["training"] if timed else [])]]
    lines.append(["---", *["---:"] * (len(lines[0]) - 1)])
    for arm, cells in zip(grid.arms, grid.cells, strict=True):
        line = [_plain(arm)]
        for index, row in enumerate(cells):
            line.append(_cell(row, bold=grid.best(index) == arm and len(grid.arms) > 1))
        lines.append(line + ([duration(grid.seconds(arm))] if timed else []))
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{body}\n\n{legend(grid)}\n"


def legend(grid: Grid) -> str:
    """The sentence under a table: unit, interval, number of values a cell."""
    present = [row for line in grid.cells for row in line if row is not None]
    numbers = sorted({len(row.values) for row in present if row.values})
    tests = sorted({row.n_test for row in present if row.n_test})
    shares = any(is_share(column.metric) for column in grid.columns)
    parts = ["Accuracies in %"] if shares else []
    if numbers and numbers[-1] > 1:
        parts.append(f"mean over {_span(numbers)} training seeds, with its 95 % interval")
    elif numbers:
        parts.append("one training seed, with the 95 % interval over test files")
    if tests:
        parts.append(f"{_span(tests)} test files")
    return "; ".join(parts) + "." if parts else ""


def _span(numbers: Sequence[int]) -> str:
    """Sorted numbers as `3` or `1 to 3`."""
    ends = dict.fromkeys((numbers[0], numbers[-1]))
    return " to ".join(count(number) for number in ends)


def _heading(column: Column) -> str:
    name = f"{_plain(column.task)}, {_plain(column.probe)}"
    if not is_share(column.metric):
        name += f" ({metric_title(column.metric)})"
    if column.chance is not None:
        name += f" (chance {shown(column.chance, column.metric)})"
    return name


def _cell(row: ProbeRow | None, bold: bool) -> str:
    if row is None:
        return "–"
    mean = shown(row.mean, row.metric)
    mean = f"**{mean}**" if bold else mean
    return mean if row.ci95 is None else f"{mean} [{interval(row)}]"


def _plain(text: str) -> str:
    """Text that cannot break a Markdown table or turn into markup."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    for mark in "\\`*|[]":
        text = text.replace(mark, "\\" + mark)
    return text
