import math

import pytest

from nexus.errors import TrainingError
from nexus.models.ssl.collapse import DoctorConfig
from nexus.training.health import Evidence, HealthWatch, SkipWatch, thresholds


def meters(spread, rank=20.0):
    both = {"spread": spread, "rank": rank}
    readings = {f"{who}_{what}": v for what, v in both.items() for who in ("context", "target")}
    return {**readings, "rank_share": rank / 96}


HEALTHY, COLLAPSING, COLLAPSED = meters(0.6), meters(0.06), meters(0.01)


def watch(readings, *, videos=100, first=500, **settings):
    health = HealthWatch(videos=videos, **settings)
    return health, [health.read(step, one) for step, one in enumerate(readings, start=first)]


def test_a_healthy_run_is_silent():
    health, news = watch([HEALTHY] * 10)
    assert health.verdict.status == "healthy"
    assert not any(news)


def test_one_odd_batch_changes_nothing():
    health, news = watch([HEALTHY, COLLAPSED, COLLAPSED, HEALTHY, COLLAPSED, HEALTHY])
    assert health.verdict.status == "healthy"
    assert not any(news)


def test_three_readings_in_a_row_raise_the_alarm_once_and_in_plain_words():
    health, news = watch([HEALTHY, *[COLLAPSED] * 5])
    assert health.verdict.status == "collapsed"
    assert [i for i, line in enumerate(news) if line] == [3]
    assert news[3].startswith("step 503: the representation is collapsed: ")
    assert "features' size" in news[3]


def test_recovery_is_told_too():
    health, news = watch([*[COLLAPSING] * 3, *[HEALTHY] * 3])
    assert "collapsing" in news[2] and "back" in news[5]
    assert health.verdict.status == "healthy"


def test_the_verdicts_reason_follows_the_latest_reading():
    health, _ = watch([meters(0.6), meters(0.5)])
    assert "50%" in health.verdict.reason


def test_missing_meters_do_not_change_the_verdict():
    health, news = watch([HEALTHY, {}, {}, {}, {}])
    assert health.verdict.status == "healthy" and not any(news)


def test_warn_goes_on_and_stop_stops():
    warned, _ = watch([COLLAPSED] * 3)
    warned.raise_if_stopped(3)
    stopping, _ = watch([COLLAPSED] * 3, on_collapse="stop")
    assert stopping.stops
    with pytest.raises(TrainingError, match="step 3: the representation has collapsed"):
        stopping.raise_if_stopped(3)
    mild, _ = watch([COLLAPSING] * 5, on_collapse="stop")
    assert not mild.stops


def against(copy, mean=0.5, **settings):
    return watch([{**HEALTHY, "error_vs_copy": copy, "error_vs_mean": mean}] * 6, **settings)


def test_features_that_do_not_collapse_are_not_yet_healthy():
    """What counts is that the predictor beats those that learn nothing."""
    health, news = against(1.02)
    assert health.verdict.status == "not learning"
    assert "no better than repeating the last frame (1.02 times its error)" in news[2]
    assert "data.clip.fps" in news[2] and sum(map(bool, news)) == 1
    health, _ = against(0.9, mean=1.0)
    assert "the average of other clips" in health.verdict.reason
    assert against(0.9)[0].verdict.status == "healthy"
    assert against(math.nan)[0].verdict.status == "not learning"


def test_the_reason_of_health_names_the_errors_that_were_beaten():
    reason = against(0.9)[0].verdict.reason
    assert reason.endswith(
        "; the prediction's error is 0.9 times that of repeating the last frame and 0.5 times that "
        "of the average of other clips"
    )
    assert "error" not in watch([HEALTHY])[0].verdict.reason


def test_a_run_records_all_that_it_is_judged_by():
    limits = thresholds(Evidence(steps=7, readings=3))
    assert (limits["healthy_steps"], limits["healthy_readings"]) == (7, 3)
    assert limits["collapsed_spread"] == DoctorConfig().collapsed_spread
    assert len(limits) == len(DoctorConfig.model_fields) + 5


def test_a_mask_without_a_future_is_held_against_the_average_alone():
    health, _ = watch([{**HEALTHY, "error_vs_mean": 1.3}] * 3)
    assert health.verdict.status == "not learning"


def test_one_good_batch_is_no_proof():
    readings = [{**HEALTHY, "error_vs_copy": ratio} for ratio in (1.2, 1.3, 0.8, 1.2, 1.1)]
    assert watch(readings)[0].verdict.status == "not learning"


def test_few_steps_few_videos_and_few_directions_prove_nothing():
    health, news = against(1.5, first=1)
    assert health.verdict.status == "unproven" and not any(news)
    assert "after 6 steps of training" in health.verdict.reason
    health, _ = against(0.5, videos=1)
    assert health.verdict.status == "unproven" and "1 video:" in health.verdict.reason
    health, _ = watch([{**meters(0.6, rank=4.5), "error_vs_copy": 0.5}])
    assert health.verdict.status == "unproven" and "4.7% of the directions" in health.verdict.reason


def test_clips_in_which_nothing_moves_teach_nothing():
    readings = [{**HEALTHY, "error_vs_copy": 0.5, "motion": 0.01}] * 3
    health, news = watch(readings)
    assert health.verdict.status == "not learning"
    assert "nothing moves in these clips (1.0% of their contrast" in news[2]
    assert watch(readings, first=1)[0].verdict.status == "unproven"
    moving = [{**each, "motion": 0.02} for each in readings]
    assert watch(moving)[0].verdict.status == "healthy"


def test_what_was_unproven_becomes_healthy_without_a_word():
    health, news = against(0.5, first=197)
    assert health.verdict.status == "healthy" and not any(news)


def test_learning_late_is_told():
    late = [{**HEALTHY, "error_vs_copy": ratio} for ratio in [1.1] * 5 + [0.7] * 8]
    health, news = watch(late)
    assert health.verdict.status == "healthy"
    assert [line.partition(": ")[2][:21] for line in news if line] == [
        "not collapsed, but not"[:21], "health is back from n"[:21],
    ]  # fmt: skip


def test_a_collapse_weighs_more_than_doubts():
    health, _ = watch([{**COLLAPSED, "error_vs_copy": 2.0}] * 3, videos=1, first=1)
    assert health.verdict.status == "collapsed"


def test_health_goes_on_from_its_state():
    readings = [HEALTHY, COLLAPSED, COLLAPSED, COLLAPSED, HEALTHY]
    whole, expected = watch(readings)
    first, news = watch(readings[:3])
    second = HealthWatch(videos=100)
    second.load_state_dict(first.state_dict())
    news += [second.read(499 + step, readings[step - 1]) for step in (4, 5)]
    assert news == expected and any(news)
    assert second.state_dict() == whole.state_dict()


def test_skips_in_a_row_stop_the_run_and_name_the_step_and_the_losses():
    skips = SkipWatch(limit=2)
    skips.count(1, loss=0.5, skipped=False)
    skips.count(2, loss=math.nan, skipped=True)
    skips.count(3, loss=math.inf, skipped=True)
    with pytest.raises(TrainingError, match=r"step 4: .* 3 times in a row.*0\.5, nan, inf, nan"):
        skips.count(4, loss=math.nan, skipped=True)


def test_a_good_step_forgives_but_the_total_stays():
    skips = SkipWatch(limit=1)
    for step in range(10):
        skips.count(step, loss=1.0, skipped=step % 2 == 0)
    assert (skips.total, skips.in_a_row) == (5, 0)
    again = SkipWatch(limit=1)
    again.load_state_dict(skips.state_dict())
    assert again.state_dict() == skips.state_dict()
