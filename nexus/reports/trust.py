"""The section of a page on whether to plan with a world model: its tables, plots and films."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from nexus.reports import canvas
from nexus.reports.plots import Picture
from nexus.reports.strips import FilmStrip, film_strip
from nexus.reports.tables import significant
from nexus.runs.world import Measured, WorldFilms, WorldLandscape, WorldReport

Lines = list[tuple[str, ...]]


@dataclass(frozen=True)
class TrustTable:
    """A table: its name, what its numbers mean, and its lines, the headings first."""

    name: str
    legend: str
    lines: Callable[[WorldReport], Lines]
    """Empty: the report holds nothing of the kind."""


def _errors(report: WorldReport) -> Lines:
    states = any(row.state_vs_copy for row in report.errors)
    heads = ("steps ahead", "error", "of a copy's", "of others' actions'", "of the mean action's")
    lines: Lines = [(*heads, *(("state, of a copy's",) if states else ()), "in training")]
    for row in report.errors:
        cells = [str(row.steps), significant(row.error.value)]
        cells += [_ratio(each) for each in (row.vs_copy, row.vs_shuffled, row.vs_mean)]
        cells += [_ratio(row.state_vs_copy)] if states else []
        lines.append((*cells, significant(row.training)))
    return lines


def _ranks(report: WorldReport) -> Lines:
    if not report.ranks:
        return []
    terms = list(dict.fromkeys(row.term for row in report.ranks))
    lines: Lines = [("steps ahead", *terms)]
    for steps in sorted({row.steps for row in report.ranks}):
        known = {row.term: _share(row.rank) for row in report.ranks if row.steps == steps}
        lines.append((str(steps), *(known.get(term, "–") for term in terms)))
    return lines


def _places(report: WorldReport) -> Lines:
    if not report.places:
        return []
    steps = range(1, len(report.places[0].dynamics) + 1)
    shown = sorted({steps[0], steps[len(steps) // 2], steps[-1]}) if steps else []
    heads = [f"foretold, {step} ahead" for step in shown]
    lines: Lines = [("what", "spread", "seen", "R²", *heads, "copied, the same")]
    for row in report.places:
        name = f"{row.name}, {row.unit}" if row.unit else row.name
        cells = [name, significant(row.spread), significant(row.perception), f"{row.r2:.2f}"]
        cells += [significant(row.dynamics[step - 1]) for step in shown]
        copied = significant(row.copied[shown[-1] - 1]) if shown else "–"
        lines.append((*cells, copied))
    return lines


def _actions(report: WorldReport) -> Lines:
    if not report.actions:
        return []
    lines: Lines = [
        ("dimension", "read from frames, R²", "effect, correlation", "turned round", "")
    ]
    for row in report.actions:
        name = f"{row.name}, {row.unit}" if row.unit else row.name
        inverse = "–" if row.inverse_r2 is None else f"{row.inverse_r2:.2f}"
        word = "flipped" if row.flipped else ""
        lines.append((name, inverse, _ratio(row.effect), _ratio(row.reversed), word))
    return lines


TABLES = (
    TrustTable(
        "Error by how far ahead",
        "Mean squared error of latents on new episodes, and in parts of what needs no knowledge: "
        "the last frame again, the same model with the actions of other excerpts, or with the mean "
        "action. Below 1 is better; in brackets 95 % intervals over episodes.",
        _errors,
    ),
    TrustTable(
        "Rank of the true actions",
        "The goal is the frame so many steps later. The share of random actions that the model "
        "takes for nearer to it than the true ones, by each term of the cost: 0 % is always best, "
        "50 % chance. Things that nothing touches stay where they are whatever is done, and rank "
        "by chance then.",
        _ranks,
    ),
    TrustTable(
        "Where things are",
        "A ridge regression from latents, in the number's units (root mean square). Seen: from "
        "real latents, which is perception. Foretold: from predicted ones, which is dynamics. "
        "Copied: from the last real latent, for the last of these steps.",
        _places,
    ),
    TrustTable(
        "What each dimension of the action does",
        "Read from frames: the action from two neighbouring real latents. Effect: whether what the "
        "model says of the dimension points where the truth lies (1 right, 0 nothing, below 0 the "
        "opposite). Turned round: the error with its sign changed, in parts of the error as it is.",
        _actions,
    ),
)


def tables(report: WorldReport) -> list[tuple[TrustTable, Lines]]:
    """Those that hold something, with their lines."""
    return [(table, lines) for table in TABLES if (lines := table.lines(report))]


def pictures(report: WorldReport) -> list[Picture]:
    """Errors by how far ahead, ranks, and the landscapes."""
    drawn = [_error_picture(report)]
    if report.ranks:
        drawn.append(_rank_picture(report))
    return [*drawn, *(_landscape(each, n) for n, each in enumerate(report.landscapes))]


def imagined(films: WorldFilms | None) -> list[FilmStrip]:
    """Film strips: what was seen, and below it what was imagined."""
    if films is None:
        return []
    return [
        film_strip(
            name,
            {"real": real, "imagined": np.concatenate([real[:1], dreamt])},
            tuple(range(len(real))),
        )
        for name, real, dreamt in zip(films.names, films.real, films.imagined, strict=True)
    ]


def _error_picture(report: WorldReport) -> Picture:
    steps = [row.steps for row in report.errors]
    lines = {
        "a copy's": ([row.vs_copy for row in report.errors], canvas.BLUE, "o"),
        "with others' actions": ([row.vs_shuffled for row in report.errors], canvas.ORANGE, "s"),
        "with the mean action": ([row.vs_mean for row in report.errors], canvas.GREEN, "^"),
    }
    with canvas.style():
        figure, axis = canvas.canvas()
        for label, (numbers, colour, marker) in lines.items():
            _with_interval(axis, steps, numbers, label, colour, marker)
        axis.axhline(1, color=canvas.GREY, linewidth=1, linestyle=(0, (4, 3)))
        axis.set_ylim(bottom=0)
        axis.set_xticks(steps)
        axis.set_title("Error in parts of …")
        axis.set_xlabel("model steps ahead")
        axis.legend(loc="best")
        alt = "Error in parts of " + "; ".join(
            f"{label} {significant(numbers[0].value)} to {significant(numbers[-1].value)}"
            for label, (numbers, _, _) in lines.items()
        )
        caption = "Below the dashed line: better. Shaded: 95 % intervals over episodes."
        return Picture("Error ahead", canvas.to_svg(figure, "trust-errors", alt), alt, caption)


def _rank_picture(report: WorldReport) -> Picture:
    colours = {"picture": canvas.BLUE, "things": canvas.PURPLE, "proprioception": canvas.GREEN}
    with canvas.style():
        figure, axis = canvas.canvas()
        parts = []
        for term in dict.fromkeys(row.term for row in report.ranks):
            rows = [row for row in report.ranks if row.term == term]
            shares = [_times(row.rank, 100) for row in rows]
            colour = colours.get(term, canvas.GREY)
            _with_interval(axis, [row.steps for row in rows], shares, term, colour, "o")
            parts.append(f"{term} {', '.join(_share(row.rank) for row in rows)}")
        axis.axhline(50, color=canvas.GREY, linewidth=1, linestyle=(0, (4, 3)))
        axis.set_ylim(0, 100)
        axis.set_xticks(sorted({row.steps for row in report.ranks}))
        axis.set_title("Random actions taken for better than the true ones")
        axis.set_xlabel("model steps ahead")
        axis.set_ylabel("share, %")
        axis.legend(loc="best")
        alt = "Rank of the true actions: " + "; ".join(parts)
        return Picture("Rank", canvas.to_svg(figure, "trust-ranks", alt), alt, "Dashed: chance.")


def _landscape(each: WorldLandscape, number: int) -> Picture:
    with canvas.style():
        figure, axis = canvas.canvas(4.2, 3.5)
        axis.grid(visible=False)
        drawn = axis.contourf(each.x, each.y, np.array(each.energy), levels=14, cmap="cividis")
        figure.colorbar(drawn, ax=axis, label="goal energy")
        axis.plot(*each.true, "x", color=canvas.BAD, markersize=9, markeredgewidth=2.4)
        axis.plot(*each.best, "o", color=canvas.CARD, markersize=7, markeredgecolor=canvas.INK)
        axis.set_xlabel(each.names[0])
        axis.set_ylabel(each.names[1])
        where = f"episode {each.episode}, frame {each.frame}"
        axis.set_title(f"Energy, {where}")
        at = [", ".join(significant(v) for v in point) for point in (each.true, each.best)]
        alt = f"Goal energy of {where}: true action at {at[0]}, lowest at {at[1]}"
        caption = "One step ahead. Cross: the true action. Circle: the lowest energy."
        svg = canvas.to_svg(figure, f"trust-land{number}", alt)
        return Picture("Energy", svg, alt, caption)


def _with_interval(
    axis: Axes, x: Sequence[int], numbers: Sequence[Measured], label: str, colour: str, marker: str
) -> None:
    low, high = zip(*(each.ci95 for each in numbers), strict=True)
    axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    values = [each.value for each in numbers]
    axis.plot(x, values, color=colour, marker=marker, markersize=5, label=label)


def _times(number: Measured, factor: float) -> Measured:
    low, high = number.ci95
    return Measured(value=factor * number.value, ci95=(factor * low, factor * high))


def _ratio(number: Measured | None) -> str:
    if number is None:
        return "–"
    return f"{number.value:.2f} ({number.ci95[0]:.2f} to {number.ci95[1]:.2f})"


def _share(number: Measured) -> str:
    low, high = (100 * end for end in number.ci95)
    return f"{100 * number.value:.0f} % ({low:.0f} to {high:.0f})"
