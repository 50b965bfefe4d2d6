"""`adapt`: continue published weights on one's own videos, a few ways, and keep what probes best.

    OUT/runs/no-adaptation/       the weights as they are: a run of no steps
    OUT/runs/lr3e-05-ema0.9955/   ... a run for each learning rate and EMA momentum
    OUT/adaptation.json table.md  all runs, and which one was picked
    OUT/report.html               the page of that one

The pick is made on the validation split. Test scores are looked at for the picked run and for the
weights as they are, and for no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nexus.atomic import write_json, write_text
from nexus.config import merge, parse_overrides
from nexus.data.catalog import Catalog
from nexus.errors import DataError
from nexus.evaluation.columns import label_columns
from nexus.evaluation.pictures import write_pictures
from nexus.evaluation.results import ProbeRow, probe_row, write_probe_rows
from nexus.evaluation.source import ClipSource
from nexus.evaluation.suite import Measured, check_kinds, measure_encoder
from nexus.jobs.console import messages, progress, say_problems
from nexus.jobs.pretraining import RunResult
from nexus.jobs.probing import PIXELS_ARM, RANDOM_ARM, probe_arms
from nexus.jobs.runs import clip_source, frames_needed, is_finished, load_run, read_videos
from nexus.jobs.starting import read_start, start_of
from nexus.models.encoder import VideoEncoder
from nexus.models.ssl import SelfSupervisedModel
from nexus.report import adaptation as wording
from nexus.report.page import write_report
from nexus.report.read import read_run
from nexus.report.schema import Adaptation
from nexus.training.environment import choose_device
from nexus.training.feed import training_part
from nexus.training.loop import train
from nexus.training.recipe import Recipe, load_recipe
from nexus.training.reference import grid
from nexus.training.run_directory import RunDirectory
from nexus.training.start import Start

RECIPE = "adapt"
BASELINE = "no adaptation"
RESULT = "adaptation.json"


@dataclass(frozen=True)
class Arm:
    """One run of the sweep; the baseline has neither rate nor momentum."""

    lr: float | None = None
    momentum: float | None = None

    @property
    def name(self) -> str:
        """How it is called in tables."""
        return BASELINE if self.lr is None else f"lr {self.lr:g}, EMA {self.momentum:g}"

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return "no-adaptation" if self.lr is None else f"lr{self.lr:g}-ema{self.momentum:g}"


@dataclass(frozen=True)
class Outcome:
    """A finished run and its probes."""

    arm: Arm
    folder: Path
    measured: Measured

    @property
    def validation(self) -> dict[str, float]:
        """The validation score of each task, the mean over the probe's seeds."""
        return {
            task: sum(each.validation for each in found) / len(found)
            for (task, _), found in self.measured.results.items()
        }

    @property
    def score(self) -> float:
        """What runs are compared by: the mean over the tasks."""
        return sum(self.validation.values()) / len(self.validation)


def adapt(
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    init: str | Path,
    labels: str | Path | None = None,
    label: str | Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    lrs: Sequence[float] = (),
    momenta: Sequence[float] = (),
    probe: str = "linear",
    seed: int | None = None,
    command: str = "",
) -> RunResult:
    """Adapt weights to videos with a small grid of settings; pick by probes, never by the loss.

    Called again with the same arguments it uses finished runs and goes on with interrupted ones.

    Args:
        data: the videos to train on, as for `pretrain`.
        out: folder of the sweep.
        init: the weights, as for `pretrain`; no longer needed once the baseline is there.
        labels: a list with labels to probe by; default: `data`.
        label: label column(s); default: every one.
        overrides: changes to recipe `adapt`.
        lrs, momenta: the grid; default: the recipe's own values and gentler ones.
        probe: kind of probe, see `probe`.
        seed: of the runs.

    Returns:
        The picked run, with its page.

    Raises:
        DataError: no usable videos or labels, or an unknown kind of probe.
        ConfigError: an override that is not acceptable or contradicts the weights.
        CheckpointError: the weights cannot be read.
        TrainingError: `out` holds a sweep from other weights or with another recipe.
    """
    check_kinds([probe])
    changes = parse_overrides(overrides)
    if seed is not None:
        changes = merge(changes, {"training": {"seed": seed}})
    sweep = prepare(data, Path(out), init, labels, label, changes, probe, command)
    outcomes = []
    for arm in sweep.arms(lrs, momenta):
        if not sweep.train(arm):
            return RunResult(sweep.folder(arm), None, "interrupted", "unknown", "")
        outcomes.append(sweep.measure(arm))
    return sweep.finish(outcomes)


def prepare(
    data: str | Path | Sequence[str | Path],
    out: Path,
    init: str | Path,
    labels: str | Path | None,
    label: str | Sequence[str] | None,
    changes: Mapping[str, Any],
    probe: str,
    command: str,
) -> "Sweep":
    """Read weights, videos and labels: whatever can be wrong is found before any training."""
    baseline = out / "runs" / Arm().folder
    start, weights = start_of(init, baseline, resume=(baseline / "run.json").exists())
    assert weights is not None, "there are weights to start from"
    frames = frames_needed(load_recipe(RECIPE, changes, weights=weights))
    catalog = read_videos(data, frames)
    labelled = catalog if labels is None else read_videos(labels, frames)
    columns = label_columns(labelled, [label] if isinstance(label, str) else label)
    if not columns:
        raise DataError(
            f"{labelled.source} has no label columns, and a sweep is judged by probes; give a .csv "
            "or .jsonl list with labels: --labels LIST. To train without: "
            f"nexus pretrain DATA --recipe {RECIPE} --init {init}"
        )
    say_problems(catalog)
    return Sweep(out, start, weights, catalog, labelled, columns, changes, probe, command)


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep in one folder."""

    out: Path
    given: Start | None
    """The weights, unless the baseline has them already."""
    weights: Mapping[str, Any]
    """The settings of their model."""
    catalog: Catalog
    labelled: Catalog
    columns: Sequence[str]
    changes: Mapping[str, Any]
    probe: str
    command: str

    def folder(self, arm: Arm) -> Path:
        """Where the run of an arm is."""
        return self.out / "runs" / arm.folder

    def recipe(self, arm: Arm) -> Recipe:
        """The recipe of an arm."""
        own: dict[str, Any] = {"training": {"steps": 0}}
        if arm.lr is not None:
            own = {"optim": {"lr": arm.lr}, "model": {"ema_momentum": arm.momentum}}
        return load_recipe(RECIPE, merge(self.changes, own), weights=self.weights)

    def arms(self, lrs: Sequence[float], momenta: Sequence[float]) -> list[Arm]:
        """The baseline, then the grid, the gentlest first: of equals, the first one is picked."""
        scaled = load_recipe(RECIPE, self.changes, weights=self.weights)
        rates, keeps = grid(scaled.optim.lr, scaled.model["ema_momentum"])
        pairs = {(lr, momentum) for lr in lrs or rates for momentum in momenta or keeps}
        return [Arm(), *(Arm(*pair) for pair in sorted(pairs, key=lambda it: (it[0], -it[1])))]

    def train(self, arm: Arm) -> bool:
        """Train an arm unless it is there; whether it came to its end."""
        folder, recipe = self.folder(arm), self.recipe(arm)
        there = (folder / "run.json").exists()
        if is_finished(folder):
            RunDirectory(folder).reopen(recipe)  # raises if it was made with other settings
            return True
        messages().print(f"{arm.name}:", markup=False)
        start = self.given if arm.lr is None else self.kept
        done = train(recipe, self.catalog, folder, resume=there, start=start, command=self.command)
        return done.status == "finished"

    @cached_property
    def kept(self) -> Start:
        """The weights as the baseline has them, parts that started afresh included."""
        return replace(read_start(self.folder(Arm())), facts=self.origin())

    def origin(self) -> dict[str, Any]:
        """What the baseline's records say of the weights."""
        return dict(RunDirectory(self.folder(Arm())).read_info()["init"])

    def measure(self, arm: Arm) -> Outcome:
        """Probe a run.

        Raises:
            DataError: not one label column can be learned.
        """
        folder = self.folder(arm)
        _, encoder, source = self.subject(arm)
        with progress(f"probing {arm.name}") as tick:
            measured = measure_encoder(
                encoder,
                source,
                self.columns,
                kinds=[self.probe],
                cache_dir=folder / "results" / "features",
                progress=tick,
            )
        if not measured.results:
            raise DataError(f"no label column can be learned: {'; '.join(measured.notes)}")
        return Outcome(arm, folder, measured)

    def subject(self, arm: Arm) -> tuple[SelfSupervisedModel, VideoEncoder, ClipSource]:
        """A run's model and the encoder that is judged, on the run's device, and the clips."""
        recipe = self.recipe(arm)
        model, _ = load_run(self.folder(arm))
        model.to(choose_device(recipe.training.device))
        return model, model.evaluation_encoder(), clip_source(recipe, self.labelled)

    def finish(self, outcomes: Sequence[Outcome]) -> RunResult:
        """Pick a run, write what was found and the page of the picked one."""
        best = max(outcomes, key=lambda outcome: outcome.score)
        found = self.result(outcomes, best)
        results = best.folder / "results"
        for path in (self.out / RESULT, results / RESULT):
            write_json(path, found.model_dump(mode="json"))
        table = wording.markdown(found)
        write_text(self.out / "table.md", table)
        model, encoder, source = self.subject(best.arm)
        notes = write_pictures(model, encoder, source, results)
        rows, more = probe_arms(
            best.folder, self.recipe(best.arm), encoder, source, self.columns, [self.probe], 3,
            strict=False,
        )  # fmt: skip
        untouched = [] if best.arm.lr is None else self.untouched(outcomes[0])
        own = [row for row in rows if row.arm not in (RANDOM_ARM, PIXELS_ARM)]
        rows = [*own, *untouched, *rows[len(own) :]]
        write_probe_rows(results / "probes.json", rows, notes=more)
        page = write_report(best.folder)
        write_text(self.out / "report.html", page.read_text(encoding="utf-8"))
        health = _last_row(best.folder).get("health", "unknown")
        told = [f"Run: {best.folder}", table.strip(), *notes]
        return RunResult(best.folder, page, "finished", str(health), "\n\n".join(told))

    def untouched(self, baseline: Outcome) -> list[ProbeRow]:
        """What the weights are worth as they were, on the test split."""
        seed = self.recipe(baseline.arm).training.seed
        return [probe_row(BASELINE, {seed: each}) for each in baseline.measured.results.values()]

    def result(self, outcomes: Sequence[Outcome], best: Outcome) -> Adaptation:
        """All runs, and which one was picked."""
        rows = []
        for outcome in outcomes:
            arm, last = outcome.arm, _last_row(outcome.folder)
            rows.append(
                {
                    "arm": arm.name,
                    "lr": arm.lr,
                    "ema_momentum": arm.momentum,
                    "validation": outcome.validation,
                    "score": outcome.score,
                    "loss": last.get("loss"),
                    "health": str(last.get("health", "")),
                    "train_seconds": read_run(outcome.folder).info.train_seconds if last else None,
                }
            )
        first = outcomes[0].measured
        metrics = {task: found[0].metric for (task, _), found in first.results.items()}
        probes = dict.fromkeys(probe for _, probe in first.results)
        return Adaptation.model_validate(
            {
                "init": self.origin(),
                "probe": ", ".join(probes),
                "metrics": metrics,
                "rows": rows,
                "chosen": best.arm.name,
                "notes": [*first.notes, *self.seen_before()],
            }
        )

    def seen_before(self) -> list[str]:
        """Whether files that probes are judged on were also trained on, without their labels."""
        split = self.recipe(Arm()).data.split
        trained = {record.path.resolve() for record in training_part(self.catalog, split).records}
        judged = [record for record in self.labelled.records if record.split != "train"]
        shared = sum(record.path.resolve() in trained for record in judged)
        if not shared:
            return []
        return [
            f"{shared} of the {len(judged)} labelled samples outside a train split were also "
            "trained on, without their labels"
        ]


def _last_row(folder: Path) -> Mapping[str, Any]:
    rows = read_run(folder).journal.rows
    return rows[-1] if rows else {}
