"""The drawing surface: matplotlib figures as inline SVG that follows the page's theme.

A figure is drawn in the light colours below; in the SVG each of them becomes a CSS variable of the
same name, so the page alone decides what it looks like. No pyplot, no global state.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2933", "#5d6b7a", "#dfe4ea"
BLUE, ORANGE, GREEN, PURPLE = "#2b6cb0", "#c2570c", "#2f855a", "#805ad5"
CARD = "#fefefe"  # the ground that a plot stands on
GREY, WARN, BAD = "#8592a0", "#b7791f", "#c53030"
_VARIABLES = {
    INK: "--ink", MUTED: "--muted", GRID: "--grid", BLUE: "--blue", ORANGE: "--orange",
    GREEN: "--green", PURPLE: "--purple", CARD: "--card", GREY: "--grey", WARN: "--warn",
    BAD: "--bad",
}  # fmt: skip
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nexus",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 1.4,
    "legend.borderaxespad": 0.2,
}
_POINTS = 400  # a curve needs no more: about one per pixel of its width


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure, undone on leaving."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The browser has letters that matplotlib's font lacks; text stays text in the SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def canvas(width: float = 5.4, height: float = 3.1) -> tuple[Figure, Axes]:
    """One axis on a figure of so many inches; call inside `style()`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def to_svg(figure: Figure, name: str, alt: str) -> Markup:
    """The figure as one `<svg>` element without any outside reference.

    `name` keeps the ids of several figures on one page apart; `alt` is read out in its place.
    """
    buffer = StringIO()
    figure.savefig(buffer, format="svg")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ([^;\"]*?)(px|pt) [^;\"]*", r"font: \1px var(--sans)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert size is not None, "matplotlib writes a viewBox"
    head = f'<svg class="plot" role="img" aria-label="{escape(alt)}" viewBox="{size[0][9:-1]}">'
    return Markup(head + text[text.index(">") + 1 :])


def thin(x: np.ndarray, y: np.ndarray, limit: int = _POINTS) -> tuple[np.ndarray, ...]:
    """At most `limit` points of a curve: x, mean, lowest and highest y of each stretch.

    NaNs are left out of a stretch; a stretch of nothing else stays NaN, a gap in the curve.
    """
    if len(x) <= limit:
        return x, y, y, y
    starts = np.linspace(0, len(x), limit + 1).astype(int)[:-1]
    stretch = np.searchsorted(starts, np.arange(len(x)), side="right")
    points = pd.DataFrame({"x": x, "y": np.where(np.isfinite(y), y, np.nan)}).groupby(stretch)
    curve = points.agg({"x": "max", "y": ["mean", "min", "max"]})
    return tuple(column.to_numpy() for _, column in curve.items())


def smooth(y: np.ndarray, share: float = 0.04) -> np.ndarray:
    """A moving mean centred on each point, over `share` of the curve; NaNs are left out."""
    half, good = int(len(y) * share / 2), np.isfinite(y)
    known = pd.Series(np.where(good, y, np.nan))
    means = known.rolling(2 * half + 1, center=True, min_periods=1).mean()
    return np.where(good, means, np.nan)
