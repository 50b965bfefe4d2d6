"""The page of a run, and the page of a study: one HTML file each, nothing outside it."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import yaml

from nexus.atomic import write_text
from nexus.report import health, tables
from nexus.report.intervals import probe_pictures
from nexus.report.plots import LOSS, RATE, SCHEDULES, THROUGHPUT, Chart, Picture, draw, horizon
from nexus.report.read import ProbeTable, RunFiles, as_table, read_run
from nexus.report.strips import strips
from nexus.report.verdict import diagnosis, health_spans, horizon_words, main_arm, verdict

_KINDS = {
    "empty_file": "empty file",
    "unreadable": "not readable as video",
    "truncated": "cut short",
    "no_video_stream": "no picture in it",
    "too_short": "too short",
    "variable_frame_rate": "variable frame rate",
    "odd": "odd",
    "missing": "missing",
    "decode_failed": "failed while training",
}
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("nexus.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(
    count=tables.count,
    duration=tables.duration,
    interval=tables.interval,
    problem_kind=lambda kind: _KINDS.get(kind, kind),
    metric_title=tables.metric_title,
    shown=tables.shown,
    significant=lambda value: "–" if value is None else tables.significant(value),
)


def write_report(run: str | Path, out: str | Path | None = None) -> Path:
    """Write the page of a run directory, `RUN/report.html` unless `out` names another file.

    Parts that the run does not hold (no probes yet, ...) are said in a sentence with the command
    that makes them.

    Raises:
        ReportError: `run` is not a run directory.
    """
    files = read_run(run)
    out = files.folder / "report.html" if out is None else Path(out)
    write_text(out, _render("report.html.j2", **_contents(files)))
    return out


def write_study_report(
    results: Mapping[str, Any] | Sequence[Any] | ProbeTable,
    out: str | Path,
    *,
    title: str = "Study",
    command: str | None = None,
    machine: str | None = None,
    date: str | None = None,
) -> Path:
    """Write the page of a study: its arms on its tasks as tables and interval plots.

    `results` are rows as in `results/probes.json`, or a mapping with `rows` and `notes`.

    Raises:
        ReportError: there are no rows, or one of them is not a result.
    """
    table = as_table(results)
    facts = {"Command": command, "Machine": machine, "Date": date}
    page = _render(
        "study.html.j2",
        title=title,
        facts={name: value for name, value in facts.items() if value},
        pictures=probe_pictures(table.rows),
        markdown=tables.markdown_table(table),
        **_probe_parts(table, None),
    )
    write_text(out, page)
    return Path(out)


def _render(template: str, **values: Any) -> str:
    return _ENVIRONMENT.get_template(template).render(**values)


def _contents(run: RunFiles) -> dict[str, Any]:
    info, folder = run.info, str(run.folder)
    again = info.command
    kind = str(info.model.get("kind", "")) or None
    return {
        "name": run.folder.resolve().name,
        "folder": folder,
        "lead": _lead(run),
        "info": info,
        "notes": run.notes,
        "answers": verdict(run),
        "loss": _drawn((LOSS, RATE), run),
        "health": health.pictures(run),
        "diagnosis": diagnosis(run.journal),
        "alarms": health_spans(run.journal),
        "schedules": _drawn(SCHEDULES, run),
        "throughput": _drawn(THROUGHPUT, run),
        "speed": _speed(run),
        "probes": None if run.probes is None or not run.probes.rows else run.probes,
        "probe_pictures": probe_pictures(run.probes.rows) if run.probes else [],
        "horizon": run.horizon if run.horizon and run.horizon.rows else None,
        "horizon_picture": horizon(run.horizon) if run.horizon else None,
        "horizon_words": horizon_words(run.horizon) if run.horizon else "",
        "strips": strips(run.colours) if run.colours else [],
        "explained": run.colours.explained if run.colours else (),
        "problems": run.problems,
        "bad_files": _bad_files(run),
        "recipe": run.recipe,
        "resume": f"{again} --resume" if again and "--resume" not in again else again,
        "probe_command": f"nexus probe {shlex.quote(folder)}",
        "facts": _facts(run),
        "data": _data(run),
        "check_command": f"nexus check {shlex.quote(str(info.data.get('source', 'DATA')))}",
        **_probe_parts(run.probes, kind),
    }


def _probe_parts(table: ProbeTable | None, kind: str | None) -> dict[str, Any]:
    if table is None or not table.rows:
        return {"grid": None, "rows": (), "own": None, "legend": "", "table_notes": ()}
    grid = tables.grid_of(table.rows)
    return {
        "grid": grid,
        "rows": table.rows,
        "own": main_arm(table.rows, kind),
        "legend": tables.legend(grid),
        "table_notes": table.notes,
    }


def _drawn(charts: Sequence[Chart], run: RunFiles) -> list[Picture]:
    pictures = (draw(chart, run.journal) for chart in charts)
    return [picture for picture in pictures if picture is not None]


def _speed(run: RunFiles) -> str:
    """Throughput over the whole run in one sentence, empty when nothing was logged."""
    parts = []
    if run.info.clips_seen and run.info.train_seconds:
        rate = tables.significant(run.info.clips_seen / run.info.train_seconds)
        clips = tables.count(run.info.clips_seen)
        took = tables.duration(run.info.train_seconds)
        parts.append(f"{clips} clips in {took}: {rate} clips/s over the whole run.")
    if run.journal.has("data_wait"):
        waits = run.journal.column("data_wait")
        waits = waits[waits == waits]
        parts.append(f"On average {100 * waits.mean():.1f} % of a step went into waiting for data.")
    return " ".join(parts)


def _lead(run: RunFiles) -> str:
    """What was run, in a line under the name."""
    info = run.info
    said = {"": info.model.get("kind"), "recipe ": info.recipe, "seed ": info.seed}
    said |= {"on ": info.device, "started ": _moment(info.started)}
    named = {word: value for word, value in said.items() if isinstance(value, str | int)}
    return " · ".join(f"{word}{value}" for word, value in named.items())


def _bad_files(run: RunFiles) -> str:
    """How many files were left out and how many were used in spite of a remark."""
    problems = run.problems or ()
    left_out = len({it.path for it in problems if it.fatal})
    kept = len({it.path for it in problems} - {it.path for it in problems if it.fatal})
    parts = [f"{tables.count(left_out)} left out"] if left_out else []
    parts += [f"{tables.count(kept)} used in spite of a remark"] if kept else []
    videos = run.info.data.get("videos")
    beside = f", beside {tables.count(videos)} usable videos" if videos else ""
    return " and ".join(parts) + beside + "."


def _facts(run: RunFiles) -> dict[str, str]:
    """Environment and settings of the machine, name to value."""
    info = run.info
    facts = {"device": info.device, "precision": info.precision, "threads": info.threads}
    facts |= {"seed": info.seed, "started": _moment(info.started), "ended": _moment(info.ended)}
    facts |= {name.replace("_", " "): value for name, value in info.environment.items()}
    return {name: _plain(value) for name, value in facts.items() if value not in (None, "")}


def _data(run: RunFiles) -> dict[str, str]:
    data, model = run.info.data, run.info.model
    facts: dict[str, str] = {}
    if data.get("source"):
        facts["source"] = _plain(data["source"])
    if data.get("videos") is not None:
        facts["videos"] = tables.count(data["videos"])
    if data.get("seconds") is not None:
        facts["total length"] = tables.duration(data["seconds"])
    for column, values in dict(data.get("labels") or {}).items():
        facts[f"label “{column}”"] = _labels(values)
    if model.get("kind"):
        facts["model"] = _plain(model["kind"])
    for key, name in (("parameters", "parameters"), ("encoder_parameters", "… of the encoder")):
        if model.get(key) is not None:
            facts[name] = tables.count(model[key])
    return facts


def _labels(values: Any) -> str:
    if isinstance(values, Mapping):
        return ", ".join(f"{name} ({number})" for name, number in values.items())
    if isinstance(values, Sequence) and not isinstance(values, str):
        return f"{len(values)} values: " + ", ".join(map(str, values))
    return f"{values} values" if isinstance(values, int) else str(values)


def _moment(value: str | float | None) -> str | None:
    """A time as `2026-11-22 10:02 UTC`, from ISO text or seconds since 1970."""
    if value is None:
        return None
    try:
        moment = datetime.fromtimestamp(float(value), UTC)
    except ValueError:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            return str(value)
    return moment.strftime("%Y-%m-%d %H:%M %Z").strip()


def _plain(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True).strip()
    return str(value)
