"""Probe results as tables: numbers with sensible digits, a Markdown table, a grid of cells.

The README's table is printed by `markdown_table` from the same file that the page reads.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nexus.errors import RunError
from nexus.runs.schema import ProbeRow

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


def numbers(values: Sequence[int]) -> str:
    """Sorted whole numbers, those in a row as one: `0 to 4, 9`."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )


def significant(value: float | None, digits: int = 3) -> str:
    """A quantity with so many significant digits and no needless exponent; a dash for none."""
    if value is None:
        return "–"
    if value == 0 or not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}" if value else "0"
    return f"{float(f'{value:.{digits}g}'):,.10g}".replace(",", "\u202f")


@dataclass(frozen=True)
class Column:
    """A question that was put to the arms, and the row of each arm that was asked."""

    task: str
    probe: str
    metric: str
    rows: Mapping[str, ProbeRow]

    @property
    def chance(self) -> float | None:
        """The score of an answer that knows nothing, where a row says it."""
        return next((row.chance for row in self.rows.values() if row.chance is not None), None)

    @property
    def best(self) -> str | None:
        """The arm with the highest mean."""
        means = {arm: row.mean for arm, row in self.rows.items() if row.mean is not None}
        return max(means, key=lambda arm: means[arm]) if means else None


@dataclass(frozen=True)
class Grid:
    """Arms down, questions across."""

    arms: tuple[str, ...]
    columns: tuple[Column, ...]

    def seconds(self, arm: str) -> float | None:
        """The training time of an arm, where any of its rows says it."""
        own = (column.rows[arm] for column in self.columns if arm in column.rows)
        return next((row.train_seconds for row in own if row.train_seconds), None)


def grid_of(rows: Iterable[ProbeRow]) -> Grid:
    """Rows as a grid, arms and questions in the order in which they first appear."""
    arms: dict[str, None] = {}
    columns: dict[tuple[str, str, str], dict[str, ProbeRow]] = {}
    for row in rows:
        arms[row.arm] = None
        columns.setdefault((row.task, row.probe, row.metric), {})[row.arm] = row
    return Grid(tuple(arms), tuple(Column(*key, own) for key, own in columns.items()))


def markdown_table(rows: Sequence[ProbeRow], *, probe: str | None = None) -> str:
    """A Markdown table of probe rows: an arm a line, a task and probe a column, the best in bold.

    `probe` keeps the columns of one probe only. The last line says what the numbers are.

    Raises:
        RunError: there are no (matching) rows.
    """
    grid = grid_of(row for row in rows if probe is None or row.probe == probe)
    if not grid.arms:
        raise RunError("the table of results holds no rows; expected at least one arm")
    timed = any(grid.seconds(arm) for arm in grid.arms)
    lines = [["arm", *map(_heading, grid.columns), *(["training"] if timed else [])]]
    lines.append(["---", *["---:"] * (len(lines[0]) - 1)])
    for arm in grid.arms:
        line = [_plain(arm)]
        for column in grid.columns:
            bold = column.best == arm and len(grid.arms) > 1
            line.append(_cell(column.rows.get(arm), bold))
        lines.append(line + ([duration(grid.seconds(arm))] if timed else []))
    return f"{piped(lines)}\n\n{legend(grid)}\n"


def piped(lines: Iterable[Sequence[str]]) -> str:
    """Lines of cells as the lines of a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def legend(grid: Grid) -> str:
    """The sentence under a table: unit, interval, number of values a cell."""
    present = [row for column in grid.columns for row in column.rows.values()]
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
