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

from nexus.atomic import check_writable, write_text
from nexus.config import merge, parse_overrides
from nexus.errors import DataError, NexusError, TrainingError
from nexus.jobs.arms import BASELINE, Arm, Outcome
from nexus.jobs.console import messages, say_each, starts_over, told_on_interrupt
from nexus.jobs.opening import open_encoder, read_videos
from nexus.jobs.pretraining import RunResult, diagnose
from nexus.jobs.starting import read_start, start_of
from nexus.jobs.sweep import Sweep
from nexus.probes.columns import label_columns
from nexus.probes.results import probe_rows
from nexus.probes.suite import Measured, build_probes
from nexus.reports import adaptation as wording
from nexus.reports.page import write_report
from nexus.reports.verdict import diagnosis
from nexus.runs.folder import RunDirectory, changed_keys, is_finished
from nexus.runs.read import read_run
from nexus.runs.schema import Adaptation, InitInfo, ProblemRow
from nexus.training.feed import describe_data, training_part
from nexus.training.recipe import Recipe, load_recipe, read_run_recipe
from nexus.training.reference import grid
from nexus.training.start import Start

RECIPE = "adapt"
RESULT = "adaptation.json"
PATIENCE = ("training.on_collapse", "training.max_skipped_steps")
"""Settings with which a run that failed may get further: with others it is tried again."""
SHOWN_PROBLEMS = 5


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

    Called again with the same arguments it uses finished runs and goes on with interrupted ones. A
    run that fails (it diverges, or collapses under `training.on_collapse=stop`) is left out of the
    comparison.

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
        DataError: no usable videos or labels.
        ConfigError: an override that is not acceptable or contradicts the weights; or an unknown
            kind of probe.
        CheckpointError: the weights cannot be read.
        TrainingError: `out` holds a sweep of other videos, from other weights or with another
            recipe.
        OutputError: `out` cannot be written, or the disk is full.
    """
    build_probes([probe])
    out, seeded = Path(out), [] if seed is None else [f"training.seed={seed}"]
    check_writable(out)
    changes = parse_overrides([*overrides, *seeded])
    # Whatever can be wrong with weights, videos and labels is found before any training.
    baseline = out / "runs" / Arm().folder
    start, weights = start_of(init, baseline, resume=(baseline / "run.json").exists())
    assert weights is not None, "there are weights to start from"
    recipe = load_recipe(RECIPE, changes, weights=weights)
    frames = recipe.frames_needed
    with told_on_interrupt(starts_over):
        catalog = read_videos(data, frames, recipe.data.reader)
        labelled = catalog if labels is None else read_videos(labels, frames)
    columns = label_columns(labelled, [label] if isinstance(label, str) else label)
    if not columns:
        raise DataError(
            f"{labelled.source} has no label columns, and a sweep is judged by probes; give a .csv "
            "or .jsonl list with labels: --labels LIST. To train without: "
            f"nexus pretrain DATA --recipe {RECIPE} --init {init}"
        )
    say_each(dict.fromkeys([*catalog.problems, *labelled.problems]))
    sweep = Sweep(out, catalog, labelled, columns, [probe], command)
    trials = Trials(sweep, start, weights, changes)
    outcomes = []
    kept = f"what is finished is kept in {out / 'runs'}; the same command goes on with it"
    with told_on_interrupt(lambda: kept):
        for arm in trials.arms(lrs, momenta):
            if not trials.train(arm):
                return RunResult(trials.folder(arm), None, "interrupted", "unknown", "")
            outcomes.append(trials.measure(arm))
        return trials.finish(outcomes)


@dataclass(frozen=True)
class Trials:
    """The weights as they are and the grid of settings, in one folder."""

    sweep: Sweep
    given: Start | None
    """The weights, unless the baseline has them already."""
    weights: Mapping[str, Any]
    """The settings of their model."""
    changes: Mapping[str, Any]
    """What the recipe is changed by in all runs."""

    def folder(self, arm: Arm) -> Path:
        """Where the run of an arm is."""
        return self.sweep.folder(arm.folder)

    def recipe(self, arm: Arm) -> Recipe:
        """The recipe of an arm."""
        own: dict[str, Any] = {"training": {"steps": 0}}
        if arm.lr is not None:
            own = {"optim": {"lr": arm.lr}, "model": {"ema_momentum": arm.momentum}}
        return load_recipe(RECIPE, merge(self.changes, own), weights=self.weights)

    def arms(self, lrs: Sequence[float], momenta: Sequence[float]) -> list[Arm]:
        """The baseline, then the grid, the gentlest first: of equals, the first one is picked."""
        scaled = load_recipe(RECIPE, self.changes, weights=self.weights)
        rates, keeps = grid(scaled.optim.lr, scaled.model.to_mapping()["ema_momentum"])
        pairs = {(lr, momentum) for lr in lrs or rates for momentum in momenta or keeps}
        return [Arm(), *(Arm(*pair) for pair in sorted(pairs, key=lambda it: (it[0], -it[1])))]

    def train(self, arm: Arm) -> bool:
        """Train an arm unless it has come to its end; False: it was interrupted.

        Raises:
            TrainingError: the arm that is there was trained on other videos or with another recipe.
        """
        folder, recipe = self.folder(arm), self.recipe(arm)
        if (folder / "run.json").exists():
            RunDirectory(folder).reopen(recipe)  # raises if it was made with other settings
            self.check_videos(folder)
            if is_finished(folder) or (self.failure(arm) and not _more_patient(folder, recipe)):
                return True
        start = self.given if arm.is_baseline else self.kept
        try:
            return self.sweep.train(arm.name, folder, recipe, start)
        except TrainingError as error:
            if self.failure(arm) != str(error):  # it never began, for instance
                raise
            return True

    def failure(self, arm: Arm) -> str:
        """Why the training of an arm failed for good; empty if it did not."""
        run = RunDirectory(self.folder(arm))
        if arm.is_baseline or not run.info_file.exists():
            return ""
        info = run.read_info()
        kind, _, reason = (info.error or "").partition(": ")
        return reason if info.status == "failed" and kind == TrainingError.__name__ else ""

    def check_videos(self, folder: Path) -> None:
        """Check that a run that is there was trained on the videos at hand.

        Raises:
            TrainingError: it was trained on others.
        """
        before = RunDirectory(folder).read_info().data
        recipe = self.recipe(Arm())
        part = training_part(self.sweep.catalog, recipe.data.split)
        now = describe_data(part, recipe.stages[-1].clip)
        if before.fingerprint == now.fingerprint:
            return
        changed = changed_keys(before.model_dump(), now.model_dump())
        lines = [
            f"{key}: {old!r} in the run, {new!r} now"
            for key, (old, new) in changed.items()
            if key in ("source", "videos", "seconds")
        ]
        raise TrainingError(
            "\n  - ".join([f"{folder} was trained on other videos (by name or length)", *lines])
            + "\nRuns on different videos cannot be compared. Give the videos of this sweep again, "
            "or choose another --out."
        )

    @cached_property
    def kept(self) -> Start:
        """The weights as the baseline has them, parts that started afresh included."""
        return replace(read_start(self.folder(Arm())), origin=self.origin())

    def origin(self) -> InitInfo:
        """What the baseline's records say of the weights."""
        init = RunDirectory(self.folder(Arm())).read_info().init
        assert init is not None, "the baseline starts from the weights"
        return init

    def measure(self, arm: Arm) -> Outcome:
        """Probe a run that has come to its end.

        Raises:
            DataError: not one label column can be learned.
        """
        folder, reason = self.folder(arm), self.failure(arm)
        if not reason:
            try:
                measured = self.sweep.measure(arm.name, folder, self.recipe(arm))
            except DataError:
                raise
            except NexusError as error:  # the features are not finite
                if arm.is_baseline:
                    raise
                reason = str(error)
            else:
                if not measured.results:
                    raise DataError(f"no label column can be learned: {'; '.join(measured.notes)}")
                if arm.is_baseline:  # the other runs are measured on the same files
                    say_each(measured.problems)
                return Outcome(arm, folder, measured)
        messages().print(f"{arm.name} failed and is not compared: {reason}", markup=False)
        return Outcome(arm, folder, Measured({}, ()), reason)

    def finish(self, outcomes: Sequence[Outcome]) -> RunResult:
        """Pick a run, write what was found and the page of the picked one."""
        first, best = outcomes[0], max(outcomes, key=lambda outcome: outcome.score)
        sweep, recipe = self.sweep, self.recipe(best.arm)
        opened = open_encoder(best.folder, recipe=recipe)
        untouched = {recipe.training.seed: first.measured.results}
        start = [] if best is first else probe_rows(BASELINE, "start", untouched)
        pictures, more = diagnose(
            opened, sweep.labelled, sweep.columns, sweep.kinds, seeds=3, beside=start
        )
        found = self.result(outcomes, best, more)
        for path in (sweep.out / RESULT, opened.results / RESULT):
            found.save(path)
        table = wording.markdown(found)
        write_text(sweep.out / "table.md", table)
        page = sweep.out / "report.html"
        write_text(page, write_report(best.folder).read_text(encoding="utf-8"))
        health = diagnosis(read_run(best.folder).journal)[0] or "unknown"
        notes = "\n".join(f"note: {note}" for note in found.notes)
        told = filter(None, [f"Run: {best.folder}", table.strip(), *pictures, notes])
        return RunResult(best.folder, page, "finished", health, "\n\n".join(told))

    def result(self, outcomes: Sequence[Outcome], best: Outcome, more: Sequence[str]) -> Adaptation:
        """All runs, and which one was picked; `more` are notes about its probes."""
        first = outcomes[0].measured
        problems = self.problems(first)
        notes = [*first.notes, *more, *self.seen_before(), *_left_out(problems)]
        return Adaptation(
            init=self.origin(),
            probe=", ".join(dict.fromkeys(probe for _, probe in first.results)),
            metrics={task: found[0].metric for (task, _), found in first.results.items()},
            rows=tuple(outcome.row() for outcome in outcomes),
            chosen=best.arm.name,
            notes=tuple(dict.fromkeys(notes)),
            problems=tuple(problems),
        )

    def problems(self, measured: Measured) -> list[ProblemRow]:
        """What is wrong with files, of videos and labels, each once; and where it was noticed."""
        known = dict.fromkeys([*self.sweep.catalog.problems, *self.sweep.labelled.problems])
        late = [problem for problem in measured.problems if problem not in known]
        return [
            ProblemRow(**problem.to_mapping(), stage=stage)
            for stage, found in (("check", known), ("probe", late))
            for problem in found
        ]

    def seen_before(self) -> list[str]:
        """Whether files that probes are judged on were also trained on, without their labels."""
        split = self.recipe(Arm()).data.split
        trained = {
            record.path.resolve() for record in training_part(self.sweep.catalog, split).records
        }
        judged = [record for record in self.sweep.labelled.records if record.split != "train"]
        shared = sum(record.path.resolve() in trained for record in judged)
        if not shared:
            return []
        return [
            f"{shared} of the {len(judged)} labelled samples outside a train split were also "
            "trained on, without their labels"
        ]


def _more_patient(folder: Path, recipe: Recipe) -> bool:
    """Whether a run that failed is to be judged by other limits than before."""
    before = read_run_recipe(folder).to_mapping()
    return any(key in PATIENCE for key in changed_keys(before, recipe.to_mapping()))


def _left_out(problems: Sequence[ProblemRow]) -> list[str]:
    """A line about the files that are not used; the first of them by name."""
    reasons = {each.path: each.reason for each in problems if each.fatal}
    if not reasons:
        return []
    named = [f"{path} ({reason})" for path, reason in list(reasons.items())[:SHOWN_PROBLEMS]]
    if len(reasons) > len(named):
        named.append(f"and {len(reasons) - len(named)} more, see {RESULT}")
    return [f"left out: {', '.join(named)}"]
