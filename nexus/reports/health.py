"""The doctor's curves: the collapse meters of a run, with the limits drawn that it judged by.

The limits are what the run itself wrote down (`health_thresholds` in `run.json`).
"""

from nexus.reports.plots import Chart, Picture, draw
from nexus.reports.verdict import health_spans
from nexus.runs.read import RunFiles


def _both(meter: str) -> dict[str, str]:
    return {f"context_{meter}": "context encoder", f"target_{meter}": "target encoder"}


CHARTS = (
    Chart(
        "Share of the features that depends on the clip",
        "share of the features’ size, %",
        _both("spread"),
        "Near zero, every clip gets the same features.",
        thresholds={"collapsed_spread": "collapsed below", "collapsing_spread": "collapsing below"},
    ),
    Chart(
        "Share of the directions in use",
        "rank / largest possible, %",
        {"rank_share": "the weaker encoder"},
        "Effective rank against the most that the width and the batch allow.",
        thresholds={
            "collapsing_rank_share": "collapsing below",
            "healthy_rank_share": "healthy from",
        },
    ),
    Chart(
        "Effective rank",
        "directions in use (RankMe)",
        _both("rank"),
        "How many independent things the features say.",
        thresholds={"collapsed_rank": "collapsed below", "collapsing_rank": "collapsing below"},
    ),
    Chart(
        "Spread of the features",
        "std per dimension (no unit)",
        _both("std"),
        "Standard deviation of a dimension over clips.",
    ),
    Chart(
        "Error against trivial predictors",
        "prediction error / trivial error",
        {"error_vs_copy": "vs copy of the last frame", "error_vs_mean": "vs the mean feature"},
        "Below 1 the predictor knows something that copying or averaging does not.",
        thresholds={"even": "no better than trivial above"},
        log=True,
    ),
    Chart(
        "Distance of the target encoder",
        "share of the weights’ length, %",
        {"target_drift": "target drift"},
        "How far the target encoder’s weights trail behind the context encoder’s.",
    ),
)


def pictures(run: RunFiles) -> list[Picture]:
    """One picture for each meter that the run logged, alarms shaded."""
    spans = [(span.first, span.last, span.status) for span in health_spans(run.journal)]
    limits = {**run.info.health_thresholds, "even": 1.0}
    drawn = (draw(chart, run.journal, limits, spans) for chart in CHARTS)
    return [picture for picture in drawn if picture is not None]
