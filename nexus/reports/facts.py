"""Facts of a run as words: what ran on what data, how fast, on which machine."""

import shlex
from collections.abc import Mapping
from datetime import datetime

from nexus.reports import tables
from nexus.reports.architecture import architecture, clips
from nexus.runs.folder import how_to_continue
from nexus.runs.read import RunFiles


def speed(run: RunFiles) -> str:
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


def probe_command(run: RunFiles) -> str:
    """How to measure the features; a run on unlabelled videos needs a list that has labels."""
    command = f"nexus probe {shlex.quote(str(run.folder))}"
    return command if run.info.data.labels else f"{command} LABELLED.csv --label COLUMN"


def trust_command(run: RunFiles) -> str:
    """How to see whether a world model can be trusted."""
    return f"nexus world report {shlex.quote(str(run.folder))}"


def title(run: RunFiles) -> str:
    """The run's folder with the one that it lies in, and what it was trained on."""
    folder = run.folder.resolve()
    name = "/".join(part for part in (folder.parent.name, folder.name) if part)
    sources = ", ".join(run.info.data.sources)
    return f"{name} on {sources}" if sources else name


def lead(run: RunFiles) -> str:
    """What was run, in a line under the name."""
    info = run.info
    said = {"": info.model.kind, "recipe ": info.recipe, "seed ": info.seed}
    said |= {"on ": info.device, "started ": _moment(info.started)}
    return " · ".join(f"{word}{value}" for word, value in said.items() if value is not None)


def bad_files(run: RunFiles) -> str:
    """How many files were left out and how many were used in spite of a remark."""
    problems = run.problems or ()
    left_out = len({it.path for it in problems if it.fatal})
    kept = len({it.path for it in problems} - {it.path for it in problems if it.fatal})
    parts = [f"{tables.count(left_out)} left out"] if left_out else []
    parts += [f"{tables.count(kept)} used in spite of a remark"] if kept else []
    videos = run.info.data.videos
    beside = f", beside {tables.count(videos)} usable videos" if videos else ""
    return " and ".join(parts) + beside + "."


def machine(run: RunFiles) -> dict[str, str]:
    """Environment and settings of the machine, name to value."""
    info = run.info
    facts = {"device": info.device, "precision": info.precision, "threads": info.threads}
    facts |= {"seed": info.seed, "started": _moment(info.started), "ended": _moment(info.ended)}
    facts |= {name.replace("_", " "): value for name, value in info.environment.items()}
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


def data_and_model(run: RunFiles) -> dict[str, str]:
    """What was trained on what, name to value; what the run does not say is left out."""
    data, model = run.info.data, run.info.model
    facts = {
        "source": ", ".join(data.sources),
        "videos": tables.count(data.videos),
        "total length": tables.duration(data.seconds),
        "clips": data.clips or clips(run.recipe),
    }
    facts |= {f"label “{column}”": _labels(values) for column, values in data.labels.items()}
    if plan := run.info.plan:
        names = ("clips, as chosen", "size, as chosen", "length, as chosen")
        facts |= dict(zip(names, plan.lines, strict=False))
        facts["… against it"] = plan.objections
    facts |= {
        "model": model.kind or "",
        "parameters": tables.count(model.parameters),
        "… of the encoder": tables.count(model.encoder_parameters),
        **architecture(run.recipe),
        "trained for": trained_for(run),
        "on": processor(run),
    }
    if init := run.info.init:
        facts["started from"] = init.source
        facts["… sha256 of its tensors"] = init.sha256 or ""
        facts["… notes"] = " ".join(note.rstrip(".") + "." for note in init.notes)
    return {name: value for name, value in facts.items() if value not in ("", "–")}


def trained_for(run: RunFiles) -> str:
    """Steps, clips and time of the training so far."""
    info = run.info
    known = {" steps": info.steps_done, " clips": info.clips_seen}
    parts = [f"{tables.count(value)}{unit}" for unit, value in known.items() if value]
    parts += [tables.duration(info.train_seconds)] if info.train_seconds else []
    return ", ".join(parts)


def processor(run: RunFiles) -> str:
    """What it was trained on, in a line."""
    info, machine = run.info, run.info.environment
    if info.device == "cuda" and machine.get("gpu"):
        return str(machine["gpu"])
    cores = f", {machine['cores']} cores" if machine.get("cores") else ""
    return f"{machine['cpu']}{cores}" if machine.get("cpu") else info.device or ""


def data_name(run: RunFiles) -> str:
    """The data as a command takes it."""
    return run.info.data.source if isinstance(run.info.data.source, str) else "DATA"


def check_command(run: RunFiles) -> str:
    """How to look for bad files in the data of a run."""
    return shlex.join(["nexus", "check", *(run.info.data.sources or ["DATA"])])


def resume_command(run: RunFiles) -> str:
    """How to go on with a run; of a finished one this makes the pictures that are missing."""
    if run.info.command:
        return how_to_continue(run.info.command.replace(" --no-report", ""))
    return _pretrain(run, "--out", str(run.folder), "--resume")


def repeat_command(run: RunFiles) -> str:
    """How to make a run again from its recipe, where it does not say itself how it was made."""
    init = ["--init", run.info.init.source] if run.info.init else []
    return _pretrain(run, *init, "--out", "NEW_FOLDER")


def _pretrain(run: RunFiles, *options: str) -> str:
    source = data_name(run)
    recipe = str(run.folder / "recipe.yaml")
    return shlex.join(["nexus", "pretrain", source, "--recipe", recipe, *options])


def _labels(values: Mapping[str, int]) -> str:
    """Label values with the number of videos of each; of many values the first few."""
    listed = [f"{name} ({number})" for name, number in values.items()]
    if len(listed) <= 24:
        return ", ".join(listed)
    return f"{tables.count(len(listed))} values: {', '.join(listed[:6])}, …"


def _moment(value: str | None) -> str | None:
    """A time as `2026-11-22 10:02 UTC`, from ISO text."""
    try:
        moment = datetime.fromisoformat(value or "")
    except ValueError:
        return value
    return moment.strftime("%Y-%m-%d %H:%M %Z").strip()
