"""The page of a comparison of control policies: one HTML file, nothing outside it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from nexus.atomic import check_writable, write_text
from nexus.reports import canvas
from nexus.reports.control_table import (
    HEADINGS,
    cells,
    control_legend,
    control_markdown,
    headline,
    share,
    span,
)
from nexus.reports.page import render
from nexus.reports.plots import Picture
from nexus.runs.control import ControlTable, PolicyRow


@dataclass(frozen=True)
class Film:
    """The first episodes of a policy: a moving picture as a data URI."""

    title: str
    image: str
    alt: str


def write_planning_report(table: ControlTable, out: str | Path) -> Path:
    """Write the page of a comparison; films are looked for beside `out`, and left out if missing.

    Raises:
        OutputError: the page cannot be written.
    """
    out = Path(out)
    check_writable(out, folder=False)
    told = {"Command": table.command, "Machine": table.machine, "Date": table.date}
    page = render(
        "planning.html.j2",
        table=table,
        headings=HEADINGS,
        lines=[(row, cells(row)) for row in table.rows],
        legend=control_legend(table),
        sentences=headline(table),
        picture=success_picture(table.rows),
        films=[film for row in table.rows if (film := _film(row, out.parent)) is not None],
        facts={name: value for name, value in told.items() if value},
        markdown=control_markdown(table),
    )
    write_text(out, page)
    return out


def success_picture(rows: Sequence[PolicyRow]) -> Picture:
    """A bar a policy and world: success at the end with its interval, a line for success ever."""
    names = [cells(row)[0] for row in rows]
    with canvas.style():
        figure, axis = canvas.canvas(7.4, 0.9 + 0.32 * len(rows))
        for line, row in enumerate(rows):
            ends = [100 * end for end in row.interval_at_end]
            colour = canvas.GREY if row.shift is not None else canvas.BLUE
            axis.barh(line, 100 * row.success_at_end, height=0.62, color=colour, alpha=0.55)
            axis.plot(ends, [line, line], color=canvas.INK, linewidth=1.6)
            axis.plot([100 * row.success_ever] * 2, [line - 0.31, line + 0.31], color=canvas.ORANGE)
        axis.set_yticks(range(len(rows)), names)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.tick_params(axis="y", labelsize=10, labelcolor=canvas.INK)
        axis.grid(visible=False, axis="y")
        axis.set_xlim(0, 101)
        axis.set_xlabel("success at the end, %")
        alt = "; ".join(
            f"{name} {share(row.success_at_end)} % ({span(row.interval_at_end)})"
            for name, row in zip(names, rows, strict=True)
        )
        caption = "Black: 95 % interval. Orange: reached at any time. Grey: under a shift."
        return Picture("Success", canvas.to_svg(figure, "success", alt), alt, caption)


def _film(row: PolicyRow, folder: Path) -> Film | None:
    if row.film is None or not (folder / row.film).is_file():
        return None
    coded = base64.b64encode((folder / row.film).read_bytes()).decode()
    first = row.episodes[:10]
    reached = sum(one.success_at_end for one in first)
    alt = f"The first {len(first)} episodes; {reached} end at their goal"
    return Film(cells(row)[0], Markup(f"data:image/webp;base64,{coded}"), alt)
