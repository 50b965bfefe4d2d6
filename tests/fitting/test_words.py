"""A plan says three lines; what cannot work is an error, what hardly will is one sentence."""

import pytest
from made_facts import MOVING, planned, videos

from nexus.errors import DataError
from nexus.fitting.movement import SPACINGS, Movement
from nexus.fitting.words import objections


def test_single_frames_are_refused():
    for count, told in ((12, "all 12 videos hold a single frame"), (1, "the only video holds")):
        with pytest.raises(DataError, match=told):
            planned(videos(0.04, count=count))


def test_a_handful_of_short_videos_is_hopeless_and_of_long_ones_is_not():
    for count, told in ((1, "1 video holds 1 different clip"), (6, "6 videos hold 6 different")):
        said = planned(videos(3.0, count=count)).objections
        assert told in said and "--recipe adapt --init" in said and "\n" not in said
    long = planned(videos(600.0, count=6))
    assert not long.objections
    assert long.recipe.data.clip.clips_per_video > 50
    assert "6 videos that hold 900 different ones" in long.lines[2]


def test_what_stands_still_is_hopeless():
    plan = planned(videos(3.0, movement=Movement(SPACINGS, (1.0,) * 7, 1.0, 32)))
    assert "nothing moves in the 32 videos looked at" in plan.objections
    assert "nothing moves visibly" in plan.lines[0]


def test_too_little_time_is_hopeless():
    plan = planned(videos(3.0), minutes=0.5)
    assert plan.recipe.training.steps < 300
    assert "which is what fits 30 seconds, nothing can be learned" in plan.objections
    assert not planned(videos(3.0), "training.steps=5").objections  # as asked


def test_mostly_frozen_pictures_are_said():
    said = objections(videos(3.0), different=999, held=0.3, steps=999, minutes=20)
    assert "70% of the videos are shorter than a clip" in said
    assert not objections(videos(3.0), different=999, held=0.95, steps=999, minutes=20)


def test_the_three_lines():
    plan = planned(videos(10.0, movement=MOVING))
    lines, clip, model = plan.lines, plan.recipe.data.clip, plan.recipe.model.to_mapping()
    assert lines[0] == (
        f"clips of {clip.num_frames / 4:.1f} s: {clip.num_frames} frames at 4 a second, "
        f"{clip.picture}; your 400 videos last 10.0 s in the median, and things move visibly "
        "within 0.5 s"
    )
    assert lines[1] == (
        f"a model of {model['num_spatial_layers'] + model['num_temporal_layers']} blocks of width "
        f"{model['encoder_dim']}, batches of {plan.recipe.training.batch_size}: a step takes "
        "0.5 s here, best of 2 sizes tried"
    )
    assert "steps fit 20 minutes: each of your 400 videos is seen" in lines[2]
    asked = planned(videos(10.0), "training.steps=500").lines[2]
    assert asked.startswith("500 steps, as asked, take about ")
