"""The curves of a run: loss, health, schedules, throughput, error by how far ahead it lies.

Each function answers a `Picture` or None where the run holds nothing to draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from nexus.reports import canvas
from nexus.reports.tables import significant
from nexus.runs.journal import Journal
from nexus.runs.schema import Horizon


@dataclass(frozen=True)
class Picture:
    """An inline image, its caption, and what a listener hears in its place."""

    title: str
    image: Markup
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """Journal columns, each with its label, on one axis; what is in % is a share in the journal.

    `thresholds` names limits to draw, `smooth` draws a moving mean over the values, `log` is for
    ratios: twice and half are equally far from 1.
    """

    title: str
    unit: str
    curves: Mapping[str, str]
    caption: str = ""
    from_zero: bool = True
    log: bool = False
    thresholds: Mapping[str, str] = field(default_factory=dict)
    smooth: bool = False
    colours: Sequence[str] = (canvas.BLUE, canvas.ORANGE, canvas.GREEN)

    @property
    def factor(self) -> int:
        """By what values are multiplied to be shown."""
        return 100 if self.unit.endswith("%") else 1


LOSS = Chart(
    "Training loss",
    "loss (no unit)",
    {"loss": "total", "prediction_loss": "prediction", "regularizer_loss": "anti-collapse term"},
    "Thick: moving mean. A low loss alone proves nothing: a collapsed encoder has the lowest.",
    smooth=True,
)
RATE = Chart("Learning rate", "learning rate", {"lr": "learning rate"})
SCHEDULES = (
    Chart("Weight decay", "weight decay", {"weight_decay": "weight decay"}),
    Chart(
        "Momentum of the target encoder", "momentum τ", {"momentum": "momentum"}, from_zero=False
    ),
    Chart("Gradient norm", "norm, before clipping", {"grad_norm": "gradient norm"}, smooth=True),
    Chart("Clip length", "frames per clip", {"num_frames": "frames"}),
    Chart("Picture size", "height, pixels", {"height": "height"}),
)
THROUGHPUT = (
    Chart("Throughput", "clips per second", {"clips_per_second": "clips/s"}, smooth=True),
    Chart(
        "Time spent waiting for data",
        "share of step time, %",
        {"data_wait": "data wait"},
        smooth=True,
        colours=(canvas.ORANGE,),
    ),
)


def draw(
    chart: Chart,
    journal: Journal,
    thresholds: Mapping[str, float] | None = None,
    spans: Sequence[tuple[float, float, str]] = (),
) -> Picture | None:
    """A chart over the steps of a journal; None when none of its columns was logged.

    `thresholds` are drawn where the chart names them; `spans` (first step, last step, status) are
    shaded in the colour of their status.
    """
    present = {
        label: (chart.factor * journal.column(column), colour)
        for (column, label), colour in zip(chart.curves.items(), chart.colours, strict=False)
        if journal.has(column)
    }
    if not present:
        return None
    with canvas.style():
        figure, axis = canvas.canvas()
        _shade(axis, spans)
        told = []
        for label, (values, colour) in present.items():
            _line(axis, journal.steps, values, label, colour, chart.smooth)
            told.append(f"{label} {_story(journal.steps, values)}")
        if chart.log:
            axis.set_yscale("log")
        _limits(axis, chart, thresholds or {}, np.array([values for values, _ in present.values()]))
        axis.set_title(chart.title)
        axis.set_xlabel("optimizer step")
        axis.set_ylabel(chart.unit)
        axis.set_xlim(0, max(1.0, float(journal.steps[-1])) * 1.015)
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        if len(present) > 1:
            axis.legend(loc="best", ncols=len(present))
        alt = f"{chart.title} against the optimizer step: {'; '.join(told)}."
        return Picture(
            chart.title, canvas.to_svg(figure, next(iter(chart.curves)), alt), alt, chart.caption
        )


def horizon(table: Horizon) -> Picture | None:
    """Prediction error by how far ahead the predicted patch lies, beside the trivial predictors."""
    rows = sorted(table.rows, key=lambda row: row.steps_ahead)
    if not rows:
        return None
    timed = all(row.seconds_ahead is not None for row in rows)
    ahead = [row.seconds_ahead if timed else row.steps_ahead for row in rows]
    with canvas.style():
        figure, axis = canvas.canvas()
        lines = (
            ("the mean feature", [row.mean_error for row in rows], canvas.GREY, "--", "^"),
            ("copy of the last frame", [row.copy_error for row in rows], canvas.ORANGE, "--", "s"),
            ("this model", [row.error for row in rows], canvas.BLUE, "-", "o"),
        )
        for label, values, colour, line, marker in lines:
            numbers = [np.nan if value is None else value for value in values]
            if np.isfinite(numbers).any():
                axis.plot(
                    np.array(ahead, dtype=float), numbers, line, color=colour, marker=marker,
                    markersize=5, label=label,
                )  # fmt: skip
        axis.set_ylim(bottom=0)
        axis.set_title("Prediction error by how far ahead")
        axis.set_xlabel("seconds ahead" if timed else "token time steps ahead")
        axis.set_ylabel("prediction error")
        if len(ahead) <= 12:
            axis.set_xticks(np.array(ahead, dtype=float), [significant(a or 0) for a in ahead])
        axis.legend(loc="best")
        alt = "Prediction error by how far ahead it lies: " + "; ".join(
            f"{significant(a or 0)} {'s' if timed else 'steps'} ahead {significant(row.error)}"
            for a, row in zip(ahead, rows, strict=True)
        )
        caption = f"Unit of the error: {table.unit}." if table.unit else ""
        return Picture("Prediction by horizon", canvas.to_svg(figure, "horizon", alt), alt, caption)


def _line(
    axis: Axes, x: np.ndarray, y: np.ndarray, label: str, colour: str, smoothed: bool
) -> None:
    places, mean, low, high = canvas.thin(x, y)
    marker = "o" if np.isfinite(mean).sum() == 1 else ""
    if not smoothed or len(mean) < 12:
        axis.plot(places, mean, color=colour, marker=marker, label=label)
        return
    if len(places) < len(x):
        axis.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
    else:
        axis.plot(places, mean, color=colour, alpha=0.35, linewidth=0.9)
    axis.plot(places, canvas.smooth(mean), color=colour, label=label)


def _limits(axis: Axes, chart: Chart, thresholds: Mapping[str, float], curves: np.ndarray) -> None:
    """Draw the limits, each with its label where the curves leave room, and set the y range."""
    known = [(key, text) for key, text in chart.thresholds.items() if key in thresholds]
    unit = "\u202f%" if chart.factor == 100 else ""
    low, high = axis.get_ylim()
    for place, (key, text) in enumerate(known):
        value = chart.factor * thresholds[key]
        axis.axhline(value, color=canvas.BAD, linewidth=1, linestyle=(0, (4, 3)))
        thirds = [np.abs(part - value) for part in np.array_split(curves, 3, axis=1)]
        free = [np.nanmin(part) if np.isfinite(part).any() else np.inf for part in thirds]
        left = free[0] > free[-1] and len(known) == 1
        axis.annotate(
            f"{text} {significant(value)}{unit}", (0 if left else 1 - 0.38 * place, value),
            xycoords=("axes fraction", "data"), xytext=(3 if left else -3, 3.5),
            textcoords="offset points", ha="left" if left else "right", fontsize=8.5,
            color=canvas.BAD,
            bbox={"facecolor": canvas.CARD, "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
        )  # fmt: skip
        low, high = min(low, value), max(high, value)
    if chart.log:
        axis.set_ylim(low / 1.1, high * 1.1)
        decades = np.log10(high / low)
        rounds = LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,))
        axis.yaxis.set_major_locator(rounds if decades > 0.7 else MaxNLocator(5))
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        return
    if chart.from_zero and np.nanmin(curves) >= 0:
        low = 0
    axis.set_ylim(low, high + 0.08 * (high - low))


def _shade(axis: Axes, spans: Sequence[tuple[float, float, str]]) -> None:
    for first, last, status in spans:
        colour = canvas.BAD if status == "collapsed" else canvas.WARN
        axis.axvspan(first, last, color=colour, alpha=0.14, linewidth=0)


def _story(steps: np.ndarray, values: np.ndarray) -> str:
    good = np.isfinite(values)
    first, last = values[good][0], values[good][-1]
    from_step, to_step = steps[good][0], steps[good][-1]
    return (
        f"from {significant(first)} at step {from_step:,.0f} "
        f"to {significant(last)} at step {to_step:,.0f}"
    )
