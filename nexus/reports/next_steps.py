"""What to do after a run, chosen by how it ended: a reason and a command ready to paste."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from nexus.reports import facts
from nexus.reports.criteria import criteria, judges_learning, steps_done
from nexus.reports.verdict import diagnosis, verdict
from nexus.runs.read import RunFiles

PUBLISHED = "facebook/vjepa2-vitl-fpc64-256"
"""Weights on the hub to start from where one's own do not do."""
REGULARIZER = ("model.regularizer=variance_covariance", "model.regularizer_weight=0.03")


@dataclass(frozen=True)
class NextStep:
    """Why, and the command; some steps have none."""

    why: str
    command: str = ""


def next_steps(run: RunFiles) -> list[NextStep]:
    """What to do with a finished run, the most useful first; any other has to go on first."""
    if run.info.status != "finished":
        return []
    if run.is_world:
        return list(_of_a_world(run))
    health, worth = diagnosis(run.journal)[0], verdict(run)[2]
    steps = list(_of_health(run, health))
    if worth.short == "Not measured":
        steps.append(NextStep("Measure what the features are worth.", facts.probe_command(run)))
    good = health == "healthy" and judges_learning(run)
    if run.info.init is None and (not good or worth.level == "warn"):
        why = "Start from published weights instead of from nothing: few videos teach little."
        steps.append(NextStep(why, _adapt(run)))
    return steps + list(_use(run))


def _of_a_world(run: RunFiles) -> Iterator[NextStep]:
    folder = shlex.quote(str(run.folder))
    if run.world is None:
        yield NextStep("See whether to plan with it.", facts.trust_command(run))
    elif run.world.verdict.fault == "dynamics" and not run.world.verdict.flipped:
        steps = 2 * steps_done(run)
        yield NextStep(
            "Train for longer.", f"nexus world train --resume --out {folder} --steps {steps}"
        )
    if run.world is None or run.world.verdict.plan in ("yes", "doubtful"):
        yield NextStep("Plan with it.", f"nexus plan {folder} --env ENV --out plans")


def _of_health(run: RunFiles, health: str) -> Iterator[NextStep]:
    unmet = {it.what for it in criteria(run) if not it.met}
    if health in ("collapsing", "collapsed"):
        why = "The features collapse: repeat the run with a small anti-collapse term"
        regularized = "regularizer: variance_covariance" in (run.recipe or "")
        if regularized:
            why = "The features collapse: repeat the run with a slower target"
        changes = ("model.ema_momentum=0.999",) if regularized else REGULARIZER
        yield NextStep(f"{why}.", _again(run, *changes))
    elif "steps of training" in unmet:
        why = "Train for longer: so few steps tell nothing."
        # Twice as many: the verdict changes after some readings beyond the limit.
        yield NextStep(why, _longer(run, 2 * int(run.info.health_thresholds["healthy_steps"])))
    elif health == "not learning" and run.info.recipe == "small":
        why = "Try clips that span more time: in a short one nothing happens that can be predicted."
        data = shlex.quote(facts.data_name(run))
        yield NextStep(why, f"nexus pretrain {data} --out NEW_FOLDER")
    elif health == "not learning":
        yield NextStep("Train for longer.", _longer(run))
    elif "videos" in unmet:
        needed = run.info.health_thresholds["healthy_videos"]
        yield NextStep(f"Train on more videos: fewer than {needed:g} are learnt by heart.")
    elif health == "unproven":
        few = "directions in use" in unmet
        why = "The features use few directions: train for longer." if few else "Train for longer."
        yield NextStep(why, _longer(run))


def _use(run: RunFiles) -> Iterator[NextStep]:
    folder, columns = shlex.quote(str(run.folder)), run.info.data.labels
    if run.probes is not None and run.probes.rows and columns:
        why = "See whether a probe that attends to all tokens reads more, with several seeds."
        yield NextStep(why, f"{facts.probe_command(run)} --kind attentive --seeds 5")
        column = next(
            (row.task for row in run.probes.rows if row.task in columns), next(iter(columns))
        )
        why = "Keep a probe, then label videos with it."
        probe = shlex.quote(str(run.folder / "results" / column))
        yield NextStep(why, f"nexus train-probe {folder} --label {shlex.quote(column)}")
        yield NextStep("", f"nexus label {probe} VIDEOS --out labels.csv")
    why = "Take the features of your videos elsewhere."
    yield NextStep(why, f"nexus embed {folder} VIDEOS --out features.parquet")


def _longer(run: RunFiles, least: int = 0) -> str:
    steps = max(2 * steps_done(run), least)
    return f"nexus pretrain --resume --out {shlex.quote(str(run.folder))} --steps {steps}"


def _again(run: RunFiles, *changes: str) -> str:
    recipe = str(run.folder / "recipe.yaml")
    words = [facts.data_name(run), *changes, "--recipe", recipe, "--out", "NEW_FOLDER"]
    return shlex.join(["nexus", "pretrain", *words])


def _adapt(run: RunFiles) -> str:
    words = [facts.data_name(run), "--init", PUBLISHED, "--out", "NEW_FOLDER"]
    if run.info.data.labels:
        return shlex.join(["nexus", "adapt", *words])
    return shlex.join(["nexus", "pretrain", *words, "--recipe", "adapt"])
