"""The toy study: what V-JEPA adds, beside every arm that could explain its result away.

All arms see the same clips of one toy world, in the same order for a given seed, for the same
number of steps, through the same trainer; they differ in the objective alone.

The weight of the anti-collapse term is chosen for each arm that has one beside another objective,
by the linear probe on the *validation* split, with the first training seed; the test accuracies of
the weights that were not chosen are not looked at.
"""

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from nexus.atomic import check_writable, write_json, write_text
from nexus.config import merge
from nexus.errors import ConfigError
from nexus.jobs.opening import read_videos
from nexus.jobs.pretraining import TOY_TASKS, toy_world
from nexus.jobs.sweep import Sweep
from nexus.models.ssl import PixelConfig
from nexus.probes.pixel_arms import PIXEL_ARMS, measure_pixels, pixel_rows
from nexus.probes.results import RANDOM_ARM, probe_rows
from nexus.probes.suite import Measured
from nexus.reports.page import write_study_report
from nexus.reports.tables import markdown_table
from nexus.runs.folder import RunDirectory
from nexus.runs.schema import ProbeRow, ProbeTable, Role
from nexus.toy.world import ToyConfig
from nexus.training.environment import describe_environment
from nexus.training.recipe import Recipe, load_recipe

RECIPE = "small"
WEIGHTS = (0.03, 0.1, 0.3)
"""Weights of the anti-collapse term to choose from."""
CHOICE = ("direction", "linear")
"""The task and the probe whose validation accuracy chooses the weight."""
PROBES = ("linear", "knn")
WORLD_SEED = 0


@dataclass(frozen=True)
class Arm:
    """One objective: changes to the recipe; `weighted` arms get their weight by validation.

    All but V-JEPA itself are what it has to be better than: another objective, or a part of its own
    that might do as well alone. Trained as long as it, they are still its baselines.
    """

    changes: Mapping[str, Any]
    weighted: bool = False
    role: Role = "baseline"


ARMS: dict[str, Arm] = {
    "vjepa": Arm({}, weighted=True, role="trained"),
    "vjepa, EMA only": Arm({"model": {"regularizer": "none"}}),
    "anti-collapse only": Arm({"model": {"prediction_weight": 0.0}}),
    "pixel prediction, raw": Arm({"model": {"kind": "pixels", "target": "raw"}}, weighted=True),
    "pixel prediction, normalised": Arm(
        {"model": {"kind": "pixels", "target": "normalised"}}, weighted=True
    ),
    RANDOM_ARM: Arm({"training": {"steps": 0}}, role="untrained"),
    **dict.fromkeys(PIXEL_ARMS, Arm({})),
}


def run(
    out: str | Path,
    *,
    seeds: int = 3,
    steps: int | None = None,
    arms: Sequence[str] | None = None,
    world: ToyConfig | None = None,
    weights: Sequence[float] = WEIGHTS,
    tasks: Sequence[str] = TOY_TASKS,
) -> Path:
    """Run the study, or what is left of it; returns `out/table.md`.

    Every finished training run in `out` is kept and used again, so an interrupted study goes on
    where it stopped.

    Args:
        out: folder of the world, the runs and the tables.
        seeds: training seeds of each arm, 0 to `seeds - 1`.
        steps: training steps of each arm; default: the recipe's.
        arms: names out of `ARMS`; default: all.
        world: the toy world; default: the demo's.
        weights: of the anti-collapse term, to choose from.
        tasks: the labels that are probed.

    Raises:
        ConfigError: an unknown arm.
    """
    out = Path(out)
    check_writable(out)
    chosen = choose_arms(arms)
    world = world or ToyConfig.from_mapping({})
    catalog = read_videos(toy_world(out / "videos", world, seed=WORLD_SEED))
    command = f"nexus study toy --out {shlex.quote(str(out))}"
    sweep = Sweep(out, catalog, catalog, tasks, PROBES, command)
    study = Study(sweep, range(seeds), steps, weights)
    rows, notes = [], []
    for name in chosen:
        found, told = study.arm(name)
        rows += found
        notes += told
    table = ProbeTable(rows=tuple(rows), notes=tuple(notes))
    table.save(out / "results.json")
    return study.write(table, world)


def choose_arms(names: Sequence[str] | None) -> list[str]:
    """The arms to run, in the order of the table.

    Raises:
        ConfigError: an unknown name; the message lists the known ones.
    """
    unknown = [name for name in names or () if name not in ARMS]
    if unknown:
        raise ConfigError(f"unknown arm {unknown[0]!r}; known arms: {'; '.join(ARMS)}")
    return [name for name in ARMS if names is None or name in names]


def arm_recipe(name: str, *, seed: int, steps: int | None, weight: float | None = None) -> Recipe:
    """The recipe of an arm: the small recipe with the arm's changes."""
    base = load_recipe(RECIPE).to_mapping()
    changes = ARMS[name].changes
    if changes.get("model", {}).get("kind") == "pixels":
        shared = PixelConfig.model_fields
        base["model"] = {key: base["model"][key] for key in base["model"] if key in shared}
    own: dict[str, Any] = {"name": f"toy study: {name}", "training": {"seed": seed}}
    if steps is not None:
        # The warm-up stays the same share of the run.
        share = base["optim"]["warmup_steps"] / base["training"]["steps"]
        own["training"]["steps"] = steps
        own["optim"] = {"warmup_steps": max(1, round(share * steps))}
    if weight is not None:
        own["model"] = {"regularizer_weight": weight}
    return Recipe.from_mapping(merge(merge(base, own), changes))


@dataclass
class Study:
    """The arms of the study in one folder."""

    sweep: Sweep
    seeds: Sequence[int]
    steps: int | None
    weights: Sequence[float]

    def recipe(self, name: str, seed: int, weight: float | None) -> Recipe:
        """The recipe of one run; decoded frames are kept on disk for the other runs."""
        recipe = arm_recipe(name, seed=seed, steps=self.steps, weight=weight)
        cache = {"data": {"cache": {"kind": "disk", "folder": str(self.sweep.out / "frames")}}}
        return Recipe.from_mapping(merge(recipe.to_mapping(), cache))

    def arm(self, name: str) -> tuple[list[ProbeRow], list[str]]:
        """Probe rows of one arm over all seeds, and notes."""
        if name in PIXEL_ARMS:
            source = self.recipe(name, 0, None).evaluation_source(self.sweep.catalog)
            kept = self.sweep.out / "features"
            pixels = measure_pixels(
                source, self.sweep.columns, arms=(name,), kinds=PROBES, cache_dir=kept
            )
            return pixel_rows(pixels, 0), []
        weight, notes = self.choose_weight(name)
        by_seed, seconds = {}, []
        for seed in self.seeds:
            measured, spent = self.measure(name, seed, weight)
            by_seed[seed] = measured.results
            seconds.append(spent)
        mean = sum(seconds) / len(seconds)
        return probe_rows(name, ARMS[name].role, by_seed, train_seconds=mean or None), notes

    def choose_weight(self, name: str) -> tuple[float | None, list[str]]:
        """The weight that validates best at the first seed; None: there is nothing to choose."""
        if not ARMS[name].weighted:
            return None, []
        scores = {}
        for weight in self.weights:
            measured, _ = self.measure(name, self.seeds[0], weight)
            scores[weight] = measured.results[CHOICE][0].validation
        best = max(scores, key=lambda weight: scores[weight])
        tried = ", ".join(f"{weight:g}: {100 * score:.1f}" for weight, score in scores.items())
        return best, [
            f"{name}: weight {best:g} of the anti-collapse term, chosen by the validation accuracy "
            f"of the {CHOICE[1]} probe on {CHOICE[0]} at seed {self.seeds[0]} ({tried})"
        ]

    def measure(self, name: str, seed: int, weight: float | None) -> tuple[Measured, float]:
        """Train one run of an arm unless it is there, and probe it; also its training seconds."""
        recipe = self.recipe(name, seed, weight)
        tried = "" if weight is None else f"-w{weight:g}"
        folder = self.sweep.folder(f"{name.replace(',', '').replace(' ', '-')}{tried}-seed{seed}")
        title = f"{name}, seed {seed}, weight {weight}"
        if not self.sweep.train(title, folder, recipe):
            raise KeyboardInterrupt
        spent = RunDirectory(folder).read_info().train_seconds or 0.0
        return self.sweep.measure(title, folder, recipe), spent

    def write(self, table: ProbeTable, world: ToyConfig) -> Path:
        """Write `table.md`, `study.json` and `study.html`."""
        out, environment = self.sweep.out, describe_environment()
        command = f"{self.sweep.command} --seeds {len(self.seeds)}"
        if self.steps is not None:
            command += f" --steps {self.steps}"
        facts = {
            "command": command,
            "date": date.today().isoformat(),
            "machine": f"{environment.get('cpu', platform.processor())}, "
            f"{environment.get('cores')} cores",
            "environment": environment,
            "world": world.to_mapping(),
            "world_seed": WORLD_SEED,
            "steps": self.steps or load_recipe(RECIPE).training.steps,
        }
        write_json(out / "study.json", facts)
        named = {key: facts[key] for key in ("command", "machine", "date")}
        write_study_report(table, out / "study.html", title="The toy study", **named)
        told = [
            f"`{command}`, {facts['steps']} steps, {facts['machine']}, {facts['date']}.",
            markdown_table(table.rows, probe="linear"),
            *(f"- {note}" for note in table.notes),
        ]
        write_text(out / "table.md", "\n\n".join(told) + "\n")
        return out / "table.md"
