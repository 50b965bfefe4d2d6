"""The README.md of converted weights: what they are, where from, trained on what, worth what."""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from nexus.checkpoints.clips import PRETRAINING_FPS
from nexus.checkpoints.load import TITLES, Loaded
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.batch import MEAN_AND_STD
from nexus.reports.tables import markdown_table
from nexus.runs.folder import find_run
from nexus.runs.read import RunFiles, read_run
from nexus.version import nexus_version

FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
CARD_FILE = "README.md"
TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("nexus.jobs"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
"""Of all that jobs write for people to read on."""


def model_card(
    loaded: Loaded,
    *,
    source: str,
    to: str,
    which: str,
    clip: tuple[int, int, int] | None,
    shown: ClipSpec,
    notes: Sequence[str] = (),
) -> str:
    """The README.md, Markdown with the hub's front matter.

    Args:
        source: as the user named it.
        to: the format.
        which: the encoder that was written, where the format has one.
        clip: frames, rows and columns, where the format is for clips of one size.
        shown: how clips are cut and shown.
        notes: of the conversion.
    """
    folder = find_run(loaded.path) if loaded.kind == "nexus" else None
    run = read_run(folder) if folder else None
    probes = run.probes.rows if run and run.probes else ()
    return TEMPLATES.get_template("model_card.md.j2").render(
        source=source,
        to=to,
        which=which,
        clip=clip,
        notes=[*loaded.notes, *notes],
        licence=licence_of(loaded.path),
        layout=TITLES[loaded.kind],
        revision=loaded.revision,
        config=loaded.model.config,
        report=loaded.report.explain(),
        version=nexus_version(),
        date=time.strftime("%Y-%m-%d"),
        run=run,
        training=_training(run) if run else {},
        rate=_rate(folder, shown),
        shown=shown,
        mean_and_std=MEAN_AND_STD.get(loaded.model.config.in_chans, MEAN_AND_STD[3]),
        metrics=markdown_table(probes).strip() if probes else "",
    )


def licence_of(folder: Path) -> str | None:
    """The licence that the README.md of a source's folder names, if there is one."""
    try:
        head = FRONT_MATTER.match((folder / CARD_FILE).read_text(encoding="utf-8"))
        front = yaml.safe_load(head[1]) if head else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    licence = front.get("license") if isinstance(front, dict) else None
    return licence if isinstance(licence, str) else None


def _training(run: RunFiles) -> dict[str, Any]:
    """How a run was trained."""
    info = run.info
    return {
        "data": ", ".join(map(_code, info.data.sources)) or None,
        "videos": info.data.videos,
        "steps": info.steps_done,
        "clips seen": info.clips_seen,
        "seed": info.seed,
        "command": _code(info.command) if info.command else None,
    }


def _rate(run: Path | None, shown: ClipSpec) -> str:
    """How fast clips were in training."""
    if shown.fps:
        told = f"{shown.fps:g} frames a second, {shown.num_frames / shown.fps:.3g} s a clip"
        known = run is not None or shown.fps != PRETRAINING_FPS
        return told if known else f"{told}, as V-JEPA 2's, unless its source says otherwise"
    return f"every frame of a video, {shown.stride} apart" if shown.stride > 1 else "every frame"


def _code(text: str) -> str:
    return f"`{text.replace('`', '').replace('|', '&#124;')}`"


TEMPLATES.filters["code"] = _code
