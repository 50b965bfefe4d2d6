"""The README's picture of a run: what the features see beside what they are worth.

    python docs/images/overview.py runs/motion docs/images/overview.png direction zoom

The labels to show come last; without any, the first two. `save_overview` draws other clips.
"""

import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure, SubFigure

from nexus.atomic import atomic_path
from nexus.errors import RunError
from nexus.reports import canvas
from nexus.reports.intervals import draw_intervals, legend_above
from nexus.reports.strips import Film, films
from nexus.runs.read import read_run
from nexus.runs.schema import ProbeRow

_HEIGHT = 4.6  # inches


def save_overview(
    run: str | Path,
    png: str | Path,
    *,
    clips: int = 2,
    tasks: int | Sequence[str] = 2,
    dpi: int = 150,
) -> Path:
    """Draw film strips with their feature colours and, beside them, the probe intervals as a PNG.

    A part that the run does not hold is left out of the picture. `tasks` names the tasks of
    the probe table to draw, or how many of the first ones.

    Raises:
        RunError: not a run directory, or a run with neither colours nor probes; or an unknown task.
    """
    files = read_run(run)
    strips = films(files.colours, clips, columns=6) if files.colours else []
    rows = files.probes.rows if files.probes else ()
    names = list(dict.fromkeys((row.task, row.metric) for row in rows))
    if isinstance(tasks, int):
        names = names[:tasks]
    else:
        known = [task for task, _ in names]
        if unknown := [task for task in tasks if task not in known]:
            raise RunError(f"{run} has no task {unknown[0]!r}; it has {', '.join(known)}")
        names = [name for task in tasks for name in names if name[0] == task]
    panels = [[row for row in rows if (row.task, row.metric) == name] for name in names]
    if not strips and not panels:
        raise RunError(
            f"{run} holds neither results/pca.npz nor results/probes.json, so there is nothing to "
            f"draw; run `nexus probe {run}` first"
        )
    with canvas.style():
        left, right = _strip_width(strips), 5.6 if panels else 0.0
        figure = Figure((left + right, _HEIGHT), layout="constrained", facecolor="white")
        if strips and panels:
            halves = figure.subfigures(1, 2, width_ratios=(left, right), wspace=0.03, squeeze=False)
            _draw_strips(halves[0, 0], strips)
            _draw_panels(halves[0, 1], panels)
        elif strips:
            _draw_strips(figure, strips)
        else:
            _draw_panels(figure, panels)
        # Through a buffer: matplotlib adds `.png` to a temporary name that does not end so.
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    with atomic_path(png) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return Path(png)


def _strip_width(strips: list[Film]) -> float:
    """Inches that the strips need beside one another's height, title and margins taken off."""
    if not strips:
        return 0.0
    _, height, width, _ = strips[0].frames.shape
    columns = max(len(film.frames) for film in strips)
    row = (_HEIGHT - 0.45) / (2 * len(strips))
    return max(3.2, row * columns * width / height + 0.1)


def _draw_strips(figure: Figure | SubFigure, strips: list[Film]) -> None:
    figure.suptitle("Frames, and what the features see", x=0.01, ha="left", weight="bold", size=11)
    axes = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    for axis, film in zip(axes, strips, strict=True):
        axis.set_axis_off()
        axis.set_anchor("W")
        axis.imshow(np.concatenate([_row(film.frames), _row(film.overlay)]))


def _row(images: np.ndarray, gap: int = 5) -> np.ndarray:
    """Pictures side by side on white, a white gap after each and below."""
    padded = np.pad(images, ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)


def _draw_panels(figure: Figure | SubFigure, panels: list[list[ProbeRow]]) -> None:
    figure.suptitle("What they are worth", x=0.01, ha="left", weight="bold", size=11)
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, rows in zip(axes, panels, strict=True):
        draw_intervals(axis, rows)
        axis.set_title(rows[0].task, weight="normal")
    legend_above(figure, axes[0])


if __name__ == "__main__":
    save_overview(sys.argv[1], sys.argv[2], tasks=sys.argv[3:] or 2)
