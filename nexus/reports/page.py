"""The page of a run, and the page of a study: one HTML file each, nothing outside it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2

from nexus.atomic import check_writable, write_text
from nexus.reports import adaptation, facts, health, tables, trust
from nexus.reports.criteria import criteria
from nexus.reports.intervals import probe_pictures
from nexus.reports.mistakes import mistakes, within
from nexus.reports.next_steps import next_steps
from nexus.reports.plots import LOSS, RATE, SCHEDULES, THROUGHPUT, Chart, Picture, draw, horizon
from nexus.reports.strips import films
from nexus.reports.verdict import LEVELS, diagnosis, health_spans, live_verdict, verdict
from nexus.reports.worth import doubtful, horizon_words, main_arm
from nexus.runs.read import RunFiles, read_run
from nexus.runs.schema import ProbeTable

PAGE = "report.html"
"""The page of a run in its folder."""
RENEW_SECONDS = 30
"""How often a page that is open renews itself while its run is at work."""
_KINDS = {
    "unreadable": "not readable as video",
    "truncated": "cut short",
    "no_video_stream": "no picture in it",
    "decode_failed": "failed while training",
}
"""Of bad files, where their names do not say it."""
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("nexus.reports"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(
    count=tables.count,
    duration=tables.duration,
    interval=tables.interval,
    problem_kind=lambda kind: _KINDS.get(kind, kind.replace("_", " ")),
    metric_title=tables.metric_title,
    numbers=tables.numbers,
    run_state=adaptation.state,
    shown=tables.shown,
    significant=tables.significant,
)


def write_report(run: str | Path, out: str | Path | None = None, *, live: bool = False) -> Path:
    """Write the page of a run directory, `RUN/report.html` unless `out` names another file.

    Parts that the run does not hold (no probes yet, ...) are said in a sentence with the command
    that makes them.

    Args:
        live: the run is at work: a page that renews itself, of what there is so far.

    Raises:
        RunError: `run` is not a run directory.
        OutputError: the page cannot be written.
    """
    files = read_run(run)
    out = files.folder / PAGE if out is None else Path(out)
    check_writable(out, folder=False)
    live = live and files.info.status in ("running", "finished")  # else nothing more comes
    if live:  # what there is of results is of an earlier state of the run
        results = ("probes", "predictions", "neighbours", "horizon", "adaptation", "colours")
        results += ("world", "world_films")
        files = replace(files, **dict.fromkeys(results))
    contents = _contents(files, live)
    write_text(out, render("report.html.j2", **contents, **_probe_parts(files.probes)))
    return out


def write_study_report(
    table: ProbeTable,
    out: str | Path,
    *,
    title: str = "Study",
    command: str | None = None,
    machine: str | None = None,
    date: str | None = None,
) -> Path:
    """Write the page of a study: its arms on its tasks as tables and interval plots.

    Raises:
        RunError: there are no rows.
    """
    told = {"Command": command, "Machine": machine, "Date": date}
    page = render(
        "study.html.j2",
        title=title,
        facts={name: value for name, value in told.items() if value},
        pictures=probe_pictures(table.rows),
        markdown=tables.markdown_table(table.rows),
        **_probe_parts(table),
    )
    write_text(out, page)
    return Path(out)


def render(template: str, **values: Any) -> str:
    """A page from one of our templates."""
    text = _ENVIRONMENT.get_template(template).render(**values)
    return text.encode("utf-8", "replace").decode()  # a folder's name need not be Unicode


def _contents(run: RunFiles, live: bool) -> dict[str, Any]:
    wrong = mistakes(run)
    return {
        "run": run,
        "info": run.info,
        "facts": facts,
        "renew": RENEW_SECONDS if live else None,
        "answers": live_verdict(run, RENEW_SECONDS) if live else verdict(run),
        "levels": LEVELS,
        "loss": _drawn((LOSS, RATE), run),
        "health": health.pictures(run),
        "diagnosis": diagnosis(run.journal),
        "criteria": criteria(run),
        "alarms": health_spans(run.journal),
        "schedules": [] if live else _drawn(SCHEDULES, run),
        "throughput": _drawn(THROUGHPUT, run),
        "probe_pictures": probe_pictures(run.probes.rows) if run.probes else [],
        "horizon": run.horizon if run.horizon and run.horizon.rows else None,
        "horizon_picture": horizon(run.horizon) if run.horizon else None,
        "horizon_words": horizon_words(run.horizon) if run.horizon else "",
        "strips": films(run.colours) if run.colours else [],
        "mistakes": wrong,
        "pictured": within(run, wrong),
        "neighbours": run.neighbours,
        "trust_tables": trust.tables(run.world) if run.world else [],
        "trust_pictures": trust.pictures(run.world) if run.world else [],
        "imagined": trust.imagined(run.world_films) if run.world else [],
        "next_steps": [] if live else next_steps(run),
        "adaptation": run.adaptation,
        "adaptation_words": adaptation.words(run.adaptation) if run.adaptation else "",
    }


def _probe_parts(table: ProbeTable | None) -> dict[str, Any]:
    if table is None or not table.rows:
        empty: dict[str, Any] = {"grid": None, "rows": (), "own": None, "doubtful": ()}
        return {**empty, "legend": "", "table_notes": ()}
    grid = tables.grid_of(table.rows)
    return {
        "grid": grid,
        "rows": table.rows,
        "own": main_arm(table.rows),
        "doubtful": doubtful(table.rows),
        "legend": tables.legend(grid),
        "table_notes": table.notes,
    }


def _drawn(charts: Sequence[Chart], run: RunFiles) -> list[Picture]:
    pictures = (draw(chart, run.journal) for chart in charts)
    return [picture for picture in pictures if picture is not None]
