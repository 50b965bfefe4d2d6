"""The dot-and-interval plot: every arm on every task, with its confidence interval and chance."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from nexus.reports import canvas
from nexus.reports.plots import Picture
from nexus.reports.tables import grid_of, interval, is_share, metric_title, scaled, shown
from nexus.runs.schema import ProbeRow

_COLOURS = (canvas.BLUE, canvas.ORANGE, canvas.GREEN, canvas.PURPLE)
_MARKERS = ("o", "s", "D", "^")


def probe_pictures(rows: Sequence[ProbeRow], name: str = "probes") -> list[Picture]:
    """A dot-and-interval picture per task and metric, arms in the order of the rows."""
    groups = dict.fromkeys((row.task, row.metric) for row in rows)
    return [
        _picture([row for row in rows if (row.task, row.metric) == group], f"{name}{number}")
        for number, group in enumerate(groups)
    ]


def draw_intervals(axis: Axes, rows: Sequence[ProbeRow]) -> None:
    """Arms down, the score across; a colour and marker per probe, pale dots for single seeds."""
    grid = grid_of(rows)
    probes = list(dict.fromkeys(column.probe for column in grid.columns))
    for number, column in enumerate(grid.columns):
        if number == 0 and column.chance is not None:
            axis.axvline(
                scaled(column.chance, column.metric),
                color=canvas.GREY,
                linewidth=1.2,
                linestyle=(0, (4, 3)),
                label="chance" if is_share(column.metric) else "knowing nothing",
            )
        place = probes.index(column.probe)
        colour, marker = _COLOURS[place % 4], _MARKERS[place % 4]
        shift = 0.0 if len(probes) == 1 else (place / (len(probes) - 1) - 0.5) * 0.42
        label: str | None = column.probe
        for line, arm in enumerate(grid.arms):
            row = column.rows.get(arm)
            if row is None or row.mean is None or not math.isfinite(row.mean):
                continue
            y = line + shift
            if row.ci95 is not None:
                ends = [scaled(value, row.metric) for value in row.ci95]
                axis.plot(ends, [y, y], color=colour, linewidth=2.2, alpha=0.75)
            if len(row.values) > 1:
                dots = [scaled(value, row.metric) for value in row.values]
                axis.plot(dots, [y] * len(dots), "|", color=colour, markersize=8, alpha=0.8)
            centre = scaled(row.mean, row.metric)
            axis.plot([centre], [y], marker, color=colour, markersize=7, label=label, linestyle="")
            label = None
    for line in range(1, len(grid.arms)):
        axis.axhline(line - 0.5, color=canvas.GRID, linewidth=0.8)
    axis.set_yticks(range(len(grid.arms)), [_short(arm) for arm in grid.arms])
    axis.set_ylim(len(grid.arms) - 0.4, -0.6)
    axis.tick_params(axis="y", labelsize=10, labelcolor=canvas.INK)
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(metric_title(grid.columns[0].metric))
    if is_share(grid.columns[0].metric):
        axis.set_xlim(0, max(axis.get_xlim()[1], 50))
        axis.set_xlim(0, min(axis.get_xlim()[1], 101))


def legend_above(figure: Figure | SubFigure, axis: Axes) -> None:
    """The legend on one line over the plot, where no point can lie under it."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))


def _picture(rows: Sequence[ProbeRow], name: str) -> Picture:
    arms, probes = {row.arm for row in rows}, {row.probe for row in rows}
    task = rows[0].task
    with canvas.style():
        height = 1.25 + len(arms) * max(0.3, 0.17 * len(probes) + 0.08)
        figure, axis = canvas.canvas(5.4, height)
        draw_intervals(axis, rows)
        axis.set_title(_short(task, 40))
        legend_above(figure, axis)
        alt = f"{task}: " + "; ".join(
            f"{row.arm}, {row.probe} {shown(row.mean, row.metric)}"
            + (f" ({interval(row)})" if row.ci95 else "")
            for row in rows
        )
        return Picture(task, canvas.to_svg(figure, name, alt), alt)


def _short(text: str, limit: int = 30) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
