"""The plain words: what is said must follow from the numbers, and no more than that."""

from pathlib import Path
from typing import Any

import pytest
from run_builder import Builder, journal_rows, probe_rows, run_info, table_of

from nexus.reports.criteria import criteria, steps_done
from nexus.reports.page import write_report
from nexus.reports.verdict import LEVELS, Span, diagnosis, health_spans, verdict
from nexus.reports.worth import comparisons, doubtful, horizon_words, main_arm
from nexus.runs.journal import Journal
from nexus.runs.read import RunFiles, read_run
from nexus.runs.schema import Horizon
from nexus.training.health import HealthWatch, thresholds


def journal(*statuses: str) -> Journal:
    return Journal(
        tuple(
            {"step": 10 * (place + 1), "health": status, "health_reason": f"reason {place}"}
            for place, status in enumerate(statuses)
        )
    )


def rows(*arms: tuple[str, float, tuple[float, float] | None]) -> list[dict[str, Any]]:
    return [
        {"arm": arm, "task": "direction", "probe": "linear", "mean": mean, "ci95": ci}
        for arm, mean, ci in arms
    ]


def test_alarms_in_a_row_are_one_span_with_the_latest_reason() -> None:
    log = journal("healthy", "collapsing", "", "collapsing", "collapsed", "healthy", "collapsing")
    assert health_spans(log) == [
        Span(20, 40, "collapsing", "reason 3"),
        Span(50, 50, "collapsed", "reason 4"),
        Span(70, 70, "collapsing", "reason 6"),
    ]
    assert diagnosis(log) == ("collapsing", "reason 6")
    assert diagnosis(journal()) == ("", "")


@pytest.mark.parametrize(
    ("statuses", "level", "short"),
    [
        (("healthy", "healthy"), "good", "Healthy"),
        (("collapsing", "healthy"), "good", "Healthy at the end"),
        (("healthy", "collapsing"), "warn", "Collapsing"),
        (("healthy", "not learning"), "warn", "Not learning"),
        (("unproven", "unproven"), "warn", "Not shown to learn"),
        (("healthy", "collapsed"), "bad", "Collapsed"),
        (("unknown", "unknown"), "open", "Unknown"),
        ((), "open", "Unknown"),
    ],
)
def test_health_is_the_doctors_last_word(
    build: Builder, statuses: tuple[str, ...], level: str, short: str
) -> None:
    run = read_run(build(journal=list(journal(*statuses).rows), parts=()))
    answer = verdict(run)[1]
    assert (answer.level, answer.short) == (level, short)
    assert len(answer.detail) > 5
    if short == "Healthy at the end":
        assert answer.detail == "Reason 1. An earlier alarm (step 10) has passed."


def test_an_earlier_versions_healthy_says_no_more_than_not_collapsed(build: Builder) -> None:
    limits = {"collapsed_spread": 0.03}
    run = read_run(build(info=run_info(health_thresholds=limits), parts=()))
    answer = verdict(run)[1]
    assert (answer.level, answer.short) == ("open", "Not collapsed")
    assert "for collapse alone" in answer.detail


@pytest.mark.parametrize(
    ("changes", "steps", "unmet"),
    [
        ({}, 2000, set()),
        ({"rank_share": 0.049}, 2000, {"directions in use"}),
        ({"error_vs_copy": 1.0}, 2000, {"error against a copy of the last frame"}),
        ({}, 190, {"steps of training"}),
        ({"motion": 0.019}, 2000, {"contrast that changes within a clip"}),
        ({"context_spread": 0.09}, 2000, {"share of the features that depends on the clip"}),
    ],
)
def test_the_criteria_are_the_doctors(
    build: Builder, changes: dict[str, float], steps: int, unmet: set[str]
) -> None:
    """The same readings, given to the watch of a run, are healthy exactly if all are met."""
    log = [{**row, **changes} for row in journal_rows(steps=2000)][-(steps // 10) :]
    log = [{**row, "step": 10 * place} for place, row in enumerate(log, start=1)]
    info = run_info(steps_done=steps, health_thresholds=thresholds())
    run = read_run(build(journal=log, info=info, parts=()))
    found = criteria(run)
    assert len(found) == 8 and {it.what for it in found if not it.met} == unmet
    watch = HealthWatch(videos=2000)
    for row in log:
        meters = {name: value for name, value in row.items() if isinstance(value, float)}
        watch.read(row["step"], meters)
    assert (watch.verdict.status == "healthy") == (not unmet)


def test_one_odd_reading_is_no_unmet_criterion(build: Builder) -> None:
    log = journal_rows()
    log[-1]["error_vs_copy"] = 3.0
    assert all(it.met for it in criteria(read_run(build(journal=log, parts=()))))


def test_a_number_whose_interval_overlaps_the_best_baseline_is_marked(build: Builder) -> None:
    table = rows(("vjepa", 0.61, (0.57, 0.65)), ("raw pixels", 0.24, (0.20, 0.28)))
    better = [
        {**row, "probe": "knn", "mean": mean, "ci95": (mean - 0.02, mean + 0.02)}
        for row, mean in zip(table, (0.30, 0.60), strict=True)
    ]
    assert doubtful(table_of(table).rows) == frozenset()
    assert doubtful(table_of([*table, *better]).rows) == {("direction", "linear")}
    page = write_report(build(rows=[*table, *better], journal=[], parts=("probes",))).read_text()
    assert page.count("≈ </span>61.0") == 1 and page.count("≈ </span>") == 1
    assert "≈ intervals overlap" in page


def test_every_colour_has_a_word(build: Builder) -> None:
    page = write_report(build(journal=[], parts=())).read_text()
    for level, word in LEVELS.items():
        assert f'<div class="answer {level}' not in page or f'<p class="mark">{word}</p>' in page
        assert f"{word}</span>" in page  # the legend


def test_skipped_steps_are_told(build: Builder) -> None:
    log = journal_rows(steps=30)
    log[-1]["skipped_steps"] = 1
    assert "1 step was skipped" in verdict(read_run(build(journal=log, parts=())))[1].detail


def test_steps_done_is_the_furthest_that_any_file_knows(build: Builder) -> None:
    log = journal_rows(steps=120)
    run = build(journal=log, info=run_info(status="running", steps_done=100), parts=())
    assert steps_done(read_run(run)) == 120


@pytest.mark.parametrize(
    ("arms", "kind", "main"),
    [
        (("random init", "V-JEPA", "raw pixels"), None, "V-JEPA"),
        (("random init", "pixels", "vjepa"), "vjepa", "vjepa"),
        (("random init", "pixels", "vjepa"), "pixels", "pixels"),
        (("EMA only", "random init", "This run"), "vjepa", "This run"),
        (("random init", "raw pixels"), "vjepa", None),
    ],
)
def test_the_arm_of_the_run(arms: tuple[str, ...], kind: str | None, main: str | None) -> None:
    table = table_of(rows(*((arm, 0.5, None) for arm in arms)), own=kind)
    assert main_arm(table.rows) == main


def test_gaps_are_differences_of_means_and_overlap_is_said() -> None:
    table = table_of(
        rows(
            ("raw pixels", 0.30, (0.24, 0.36)),
            ("this run", 0.35, (0.31, 0.39)),
            ("random init", 0.15, (0.12, 0.18)),
            ("raw pixels, big", 0.60, (0.55, 0.65)),
            ("random init, old", 0.20, None),
        )
    )
    (found,) = comparisons(table)
    told = [(r.arm, r.size, r.side, r.doubt) for r in found.rivals]
    assert told == [
        ("random init", "20.0 points", "above", ""),
        ("random init, old", "15.0 points", "above", "no intervals"),
        ("raw pixels", "5.0 points", "above", "intervals overlap"),
        ("raw pixels, big", "25.0 points", "below", ""),
    ]


@pytest.mark.parametrize(
    ("mean", "ci", "level"),
    [(0.35, (0.31, 0.39), "good"), (0.20, (0.15, 0.25), "warn"), (0.05, (0.04, 0.06), "warn")],
)
def test_worth_is_good_only_when_surely_above_random(
    build: Builder, mean: float, ci: tuple[float, float], level: str
) -> None:
    table = rows(("this run", mean, ci), ("random init", 0.16, (0.13, 0.19)))
    answer = verdict(read_run(build(rows=table, journal=[], parts=("probes",))))[2]
    assert answer.level == level


def test_worth_without_a_baseline_or_without_probes_stays_open(build: Builder) -> None:
    alone = rows(("this run", 0.9, (0.8, 0.95)))
    one = verdict(read_run(build(name="a", rows=alone, journal=[], parts=("probes",))))[2]
    none = verdict(read_run(build(name="b", journal=[], parts=())))[2]
    assert (one.level, one.short) == ("open", "Not compared")
    assert (none.level, none.short) == ("open", "Not measured")


def test_the_linear_probe_speaks_although_another_is_better() -> None:
    table = table_of(
        [{**row, "mean": 0.99} if row["probe"] == "kNN" else row for row in probe_rows()]
    )
    assert [c.row.probe for c in comparisons(table)] == ["linear", "linear"]


def test_a_baseline_that_another_probe_reads_better_is_not_kept_quiet(build: Builder) -> None:
    """Ahead under the linear probe, far behind raw pixels under kNN: both must be said."""
    table = rows(
        ("vjepa", 0.61, (0.57, 0.65)),
        ("random init", 0.14, (0.12, 0.17)),
        ("raw pixels", 0.24, (0.20, 0.28)),
    )
    table += [
        {**row, "probe": "knn", "mean": mean, "ci95": (mean - 0.02, mean + 0.02)}
        for row, mean in zip(table, (0.55, 0.19, 0.97), strict=True)
    ]
    answer = verdict(read_run(build(rows=table, journal=[], parts=("probes",))))[2]
    assert [(rival.arm, rival.probe) for rival in answer.lines[0].rivals] == [
        ("random init", "knn"),
        ("raw pixels", "knn"),
    ]
    assert (answer.level, answer.short) == ("warn", "36.0 points below raw pixels on direction")
    page = write_report(build(name="again", rows=table, journal=[], parts=("probes",)))
    assert "36.0 points below raw pixels with knn" in page.read_text()


@pytest.mark.parametrize(
    ("zoom", "arrow", "level", "short"),
    [
        (0.92, 0.80, "good", "Above every baseline on all 3 labels"),
        (0.92, 0.54, "warn", "Above every baseline on 2 of 3 labels: direction, zoom"),
        (0.55, 0.54, "warn", "Above every baseline on 1 of 3 labels: direction"),
    ],
)
def test_of_several_labels_those_are_named_that_it_reads_better(
    build: Builder, zoom: float, arrow: float, level: str, short: str
) -> None:
    means = {"direction": (0.42, 0.20), "zoom": (zoom, 0.56), "arrow": (arrow, 0.52)}
    table = [
        {**row, "task": task, "mean": mean, "ci95": (mean - 0.05, mean + 0.05)}
        for task, pair in means.items()
        for row, mean in zip(
            rows(("vjepa", 0.5, None), ("raw pixels", 0.5, None)), pair, strict=True
        )
    ]
    answer = verdict(read_run(build(rows=table, journal=[], parts=("probes",))))[2]
    assert (answer.level, answer.short) == (level, short)


@pytest.mark.parametrize(
    ("knn", "level", "short", "last"),
    [
        (
            *(0.95, "warn", "3.0 points below frame differences on zoom (intervals overlap)"),
            "3.0 points below frame differences with knn (intervals overlap)",
        ),
        (
            *(0.30, "good", "35.0 points above frame differences on zoom"),
            "35.0 points above frame differences",
        ),
    ],
)
def test_each_baseline_stands_under_its_best_probe_and_the_nearest_one_leads(
    knn: float, level: str, short: str, last: str
) -> None:
    means = {
        ("vjepa", "trained"): (0.92, 0.85),
        ("random init", "untrained"): (0.53, 0.51),
        ("raw pixels", "baseline"): (0.52, 0.56),
        ("frame differences", "baseline"): (0.57, knn),
    }
    table = [
        {
            "arm": arm,
            "task": "zoom",
            "probe": probe,
            "metric": "accuracy",
            "mean": mean,
            "ci95": (mean - 0.02, mean + 0.02),
            "role": "lookup" if (role, probe) == ("baseline", "knn") else role,
        }
        for (arm, role), both in means.items()
        for probe, mean in zip(("linear", "knn"), both, strict=True)
    ]
    answer = verdict(RunFiles(Path("run"), probes=table_of(table)))[2]
    assert (answer.level, answer.short) == (level, short)
    assert str(answer.lines[0]) == (
        "zoom, linear 92.0\u202f%: 39.0 points above random init, 36.0 points above raw pixels "
        f"with knn, {last}"
    )


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ((0.1, 0.2, 0.3), "at every distance."),
        ((0.1, 0.2, 0.5), "up to 2 s ahead."),
        ((0.5, 0.2, 0.5), "only at 2 s ahead."),
        ((0.5, 0.5, 0.5), "at no distance."),
    ],
)
def test_how_far_ahead_it_is_better(errors: tuple[float, ...], words: str) -> None:
    made = [
        {"steps_ahead": k, "seconds_ahead": float(k), "error": e, "copy_error": 0.4}
        for k, e in enumerate(errors, start=1)
    ]
    here = {"steps_ahead": 0, "seconds_ahead": 0.0, "error": 9.0, "copy_error": 0.4}
    told = horizon_words(Horizon.model_validate({"rows": [here, *made]}))
    assert told == f"Better than copying the last frame {words}"


def with_roles(*arms: tuple[str, str, float]) -> list[dict[str, Any]]:
    """Rows of these arms and roles, each with an interval of 2 points to both sides."""
    return [
        {**row, "role": role}
        for row, (_, role, _) in zip(
            rows(*((arm, mean, (mean - 0.02, mean + 0.02)) for arm, _, mean in arms)),
            arms,
            strict=True,
        )
    ]


def test_the_role_says_what_is_compared_and_the_name_does_not(build: Builder) -> None:
    table = with_roles(
        ("random walks, trained", "trained", 0.6), ("dinov3 frozen", "baseline", 0.5)
    )
    run = build(rows=table, journal=[], parts=("probes",))
    answer = verdict(read_run(run))[2]
    assert (answer.level, answer.short) == ("good", "10.0 points above dinov3 frozen on direction")
    page = write_report(run).read_text(encoding="utf-8")
    assert "No baseline was probed beside them" not in page
    assert '<tr class="own"><th scope="row">random walks, trained' in page


@pytest.mark.parametrize(
    ("role", "compared"),
    [
        *(("untrained", True), ("start", True), ("lookup", True), ("baseline", True)),
        *(("ceiling", False), ("trained", False)),
    ],
)
def test_ceilings_and_further_trained_arms_are_no_rivals(role: str, compared: bool) -> None:
    table = table_of(with_roles(("mine", "trained", 0.6), ("another", role, 0.9)))
    assert main_arm(table.rows) == "mine"
    (line,) = comparisons(table)
    assert [rival.arm for rival in line.rivals] == ["another"] * compared


def test_a_better_ceiling_under_another_probe_is_no_reproach(build: Builder) -> None:
    table = with_roles(
        ("mine", "trained", 0.6), ("new", "untrained", 0.1), ("told", "ceiling", 0.9)
    )
    table[2]["probe"] = "knn"
    answer = verdict(read_run(build(rows=table, journal=[], parts=("probes",))))[2]
    assert answer.level == "good"
