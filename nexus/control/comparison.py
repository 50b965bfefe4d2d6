"""Policies compared: each acts from the same starts to the same goals, in the world and its shifts.

What is finished lies in the folder, a file a policy and shift, and is not computed again as long as
everything that it depends on is the same. Policies are made when they are needed: one that is
finished is not trained, or loaded, again.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nexus.atomic import check_writable
from nexus.control.evaluation import TIMED_STEPS, evaluate
from nexus.control.films import write_film
from nexus.control.playing import Make
from nexus.control.policy import Policy
from nexus.control.results import policy_row
from nexus.control.seeds import check_unseen
from nexus.digest import digest
from nexus.runs.control import ControlTable, PolicyRole, PolicyRow

PARTS = "policies"
"""The folder of what is finished, in that of the comparison."""


@dataclass(frozen=True)
class Entrant:
    """A policy that takes part.

    Args:
        name: for people; no two alike.
        make: makes the policy, of this name, for a world like the given one. It is asked anew for
            each shift; what is trained for all of them is better kept.
        settings: all that the policy depends on, as JSON: other settings, another result.
        shifted: whether it also acts in the shifts.
        training_seeds: of the episodes that it was made from, a range a recording.
    """

    name: str
    role: PolicyRole
    make: Callable[[Make], Policy]
    settings: Mapping[str, Any] = field(default_factory=dict)
    shifted: bool = True
    training_seeds: Sequence[range] = ()


@dataclass(frozen=True)
class Comparison:
    """The starts, the goals and the worlds that all policies are given.

    Args:
        environment: its name, for people and for telling results apart.
        worlds: what makes an environment, by the name of the shift; None: as it is.
        timed_steps: see `evaluate`.
    """

    environment: str
    worlds: Mapping[str | None, Make]
    seeds: Sequence[int]
    steps: int
    timed_steps: int = TIMED_STEPS

    def run(
        self,
        entrants: Sequence[Entrant],
        folder: Path,
        *,
        about: Mapping[str, Any] | None = None,
        started: Callable[[str], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> ControlTable:
        """Let everyone act who has not yet.

        Args:
            folder: for the rows and films.
            about: `command`, `machine`, `date`, `notes` of the table.
            started: told who acts next, and where.

        Raises:
            DataError: a policy was trained on seeds of the evaluation.
            SimulatorError: see `evaluate`.
            OutputError: the folder cannot be written.
        """
        check_writable(folder)
        for entrant in entrants:
            check_unseen(self.seeds, entrant.training_seeds)
        rows = []
        for shift, make in self.worlds.items():
            for entrant in entrants:
                if shift is None or entrant.shifted:
                    say = started or (lambda _: None)
                    rows.append(self._row(entrant, shift, make, folder, say, progress))
        return ControlTable(
            environment=self.environment, steps=self.steps, rows=tuple(rows), **(about or {})
        )

    def _row(
        self,
        entrant: Entrant,
        shift: str | None,
        make: Make,
        folder: Path,
        started: Callable[[str], None],
        progress: Callable[[int, int], None] | None,
    ) -> PolicyRow:
        # One file a policy and world, and another for each way to ask for it.
        settings = {
            **entrant.settings,
            "environment": self.environment,
            "seeds": [self.seeds[0], len(self.seeds)],
            "steps": self.steps,
        }
        asked = digest([entrant.name, entrant.role, shift, settings])[:8]
        name = _plain(entrant.name if shift is None else f"{entrant.name} {shift}")
        film = f"{PARTS}/{name}-{asked}.webp"
        place = folder / PARTS / f"{name}-{asked}.json"
        kept = _finished(place)
        if kept is not None and (folder / film).exists():
            return kept
        started(entrant.name if shift is None else f"{entrant.name}, other {shift}")
        result = evaluate(
            entrant.make(make),
            make,
            self.seeds,
            steps=self.steps,
            timed_steps=self.timed_steps,
            progress=progress,
        )
        write_film(folder / film, result.films)
        row = policy_row(
            result, role=entrant.role, shift=shift, film=film, settings=settings
        ).with_changes(policy=entrant.name)
        ControlTable(environment=self.environment, steps=self.steps, rows=(row,)).save(place)
        return row


def _finished(place: Path) -> PolicyRow | None:
    """The row that lies there, if it is whole."""
    try:
        return ControlTable.read(place).rows[0]
    except (OSError, ValueError, IndexError):
        return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
