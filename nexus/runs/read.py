"""Reads a run directory: whatever is there, whole or not, becomes values; the rest becomes notes.

A run may be young (no probes yet), interrupted, or killed in the middle of a line. None of that is
an error here: a part that is missing is `None`, a part that is damaged is `None` with a note.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from nexus.errors import RunError
from nexus.runs.colours import PatchColours
from nexus.runs.journal import Journal
from nexus.runs.predictions import Neighbours, Predictions
from nexus.runs.results import read_problems
from nexus.runs.schema import Adaptation, Horizon, ProbeTable, ProblemRow, RunInfo, reason_of
from nexus.runs.world import WORLD, WORLD_FILMS, WorldFilms, WorldReport

T = TypeVar("T")


@dataclass(frozen=True)
class RunFiles:
    """All that a run directory holds for a reader."""

    folder: Path
    info: RunInfo = field(default_factory=RunInfo)
    recipe: str | None = None
    journal: Journal = field(default_factory=Journal)
    problems: tuple[ProblemRow, ...] | None = None
    probes: ProbeTable | None = None
    horizon: Horizon | None = None
    adaptation: Adaptation | None = None
    colours: PatchColours | None = None
    predictions: Predictions | None = None
    neighbours: Neighbours | None = None
    world: WorldReport | None = None
    world_films: WorldFilms | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_world(self) -> bool:
        """Whether it is a run of a world model, which is trusted or not, and never probed."""
        return self.info.model.kind == "world"


def read_run(folder: str | Path) -> RunFiles:
    """Read a run directory.

    Raises:
        RunError: the folder does not exist, or holds neither `run.json` nor `journal.jsonl`; or a
            later version of nexus wrote it.
    """
    folder = Path(folder)
    if not (folder / "run.json").exists() and not (folder / "journal.jsonl").exists():
        what = "holds no run.json and no journal.jsonl" if folder.is_dir() else "is not a folder"
        raise RunError(
            f"{folder} {what}; expected a run directory, the folder that was given to "
            "`nexus pretrain --out`"
        )
    damage: list[str] = []

    def part(name: str, read: Callable[[Path], T]) -> T | None:
        path = folder / name
        if not path.exists():
            return None
        try:
            return read(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            damage.append(f"{path.name} could not be read and is left out: {reason_of(error)}")
            return None

    journal = part("journal.jsonl", Journal.read) or Journal()
    info = part("run.json", RunInfo.read) or RunInfo()
    return RunFiles(
        folder=folder,
        info=info,
        recipe=part("recipe.yaml", lambda path: path.read_text(encoding="utf-8")),
        journal=journal,
        problems=part("problems.json", read_problems),
        probes=part("results/probes.json", lambda path: ProbeTable.read(path, own=info.model.kind)),
        horizon=part("results/horizon.json", Horizon.read),
        adaptation=part("results/adaptation.json", Adaptation.read),
        colours=part("results/pca.npz", PatchColours.read),
        predictions=part("results/predictions.json", Predictions.read),
        neighbours=part("results/neighbours.json", Neighbours.read),
        world=part(WORLD, WorldReport.read),
        world_films=part(WORLD_FILMS, WorldFilms.read),
        notes=(*journal.notes, *damage),
    )
