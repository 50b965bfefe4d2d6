"""The doctor's curves: the collapse meters of a run, with the limits drawn that it judged by."""

from collections.abc import Mapping
from typing import Any

import yaml

from nexus.report import canvas
from nexus.report.plots import Chart, Curve, Picture, draw
from nexus.report.read import RunFiles
from nexus.report.verdict import health_spans

LIMITS: Mapping[str, float] = {
    "collapsed_spread": 0.05,
    "collapsing_spread": 0.15,
    "collapsed_rank": 1.5,
    "collapsing_rank_share": 0.03,
}
"""The doctor's own limits, for a run whose recipe names no others (a test compares them)."""

CHARTS = (
    Chart(
        "spread",
        "Feature energy that depends on the clip",
        "share of energy, %",
        (
            Curve("context_spread", "context encoder"),
            Curve("target_spread", "target encoder", canvas.ORANGE),
        ),
        "Near zero, every clip gets the same features.",
        percent=True,
        thresholds=(
            ("collapsed_spread", "collapsed below"),
            ("collapsing_spread", "collapsing below"),
        ),
    ),
    Chart(
        "share",
        "Share of the directions in use",
        "rank / largest possible, %",
        (Curve("rank_share", "the weaker encoder"),),
        "Effective rank against the most that the width and the batch allow.",
        percent=True,
        thresholds=(("collapsing_rank_share", "collapsing below"),),
    ),
    Chart(
        "rank",
        "Effective rank",
        "directions in use (RankMe)",
        (
            Curve("context_rank", "context encoder"),
            Curve("target_rank", "target encoder", canvas.ORANGE),
        ),
        "How many independent things the features say.",
        thresholds=(("collapsed_rank", "collapsed below"),),
    ),
    Chart(
        "std",
        "Spread of the features",
        "std per dimension (no unit)",
        (
            Curve("context_std", "context encoder"),
            Curve("target_std", "target encoder", canvas.ORANGE),
        ),
        "Standard deviation of a dimension over clips.",
    ),
    Chart(
        "errors",
        "Error against trivial predictors",
        "prediction error / trivial error",
        (
            Curve("error_vs_copy", "vs copy of the last frame"),
            Curve("error_vs_mean", "vs the mean feature", canvas.ORANGE),
        ),
        "Below 1 the predictor knows something that copying or averaging does not.",
        thresholds=(("even", "no better than trivial above"),),
    ),
    Chart(
        "drift",
        "Distance of the target encoder",
        "share of the weights’ length, %",
        (Curve("target_drift", "target drift"),),
        "How far the target encoder’s weights trail behind the context encoder’s.",
        percent=True,
    ),
)


def limits(recipe: str | None) -> dict[str, float]:
    """The limits that a run was judged by: the doctor's own, changed by what its recipe says."""
    try:
        said = _find(yaml.safe_load(recipe or ""))
    except yaml.YAMLError:
        said = {}
    return {**LIMITS, **said, "even": 1.0}


def pictures(run: RunFiles) -> list[Picture]:
    """One picture for each meter that the run logged, alarms shaded."""
    spans = [(span.first, span.last, span.status) for span in health_spans(run.journal)]
    told = limits(run.recipe)
    drawn = (draw(chart, run.journal, told, spans) for chart in CHARTS)
    return [picture for picture in drawn if picture is not None]


def _find(tree: Any) -> dict[str, float]:
    """Every limit that is named anywhere in a recipe."""
    if not isinstance(tree, Mapping):
        return {}
    found = {k: float(v) for k, v in tree.items() if k in LIMITS and isinstance(v, int | float)}
    for branch in tree.values():
        found |= _find(branch)
    return found
