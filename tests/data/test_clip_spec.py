"""What a user may choose of the clips, and what comes of it."""

import pytest

from nexus.data.clip_spec import ClipSpec
from nexus.errors import ConfigError

STILL = ClipSpec(num_frames=8, stride=3, size=32, short_side=40).for_evaluation()


def test_a_size_may_be_a_number():
    assert ClipSpec(size=24) == ClipSpec(size=(24, 24)) == ClipSpec.from_mapping({"size": [24, 24]})
    for size in (0, [24], [24, 24, 24], "large"):
        with pytest.raises(ConfigError, match="size"):
            ClipSpec.from_mapping({"size": size})


@pytest.mark.parametrize(
    ("choices", "changes"),
    [
        ({}, {}),
        ({"num_frames": None, "fps": None, "img_size": None}, {}),
        ({"num_frames": 4}, {"num_frames": 4}),
        ({"img_size": 24}, {"size": (24, 24)}),
        ({"size": (24, 16), "short_side": 20}, {"size": (24, 16), "short_side": 20}),
        ({"fps": 4}, {"fps": 4.0, "stride": 1}),
        ({"pad": True}, {"pad": "repeat_last"}),
        ({"pad": False}, {}),
        ({"pad": "repeat_last"}, {"pad": "repeat_last"}),
        ({"clips_per_video": 2, "join": True}, {"clips_per_video": 2, "join": True}),
    ],
)
def test_choices_change_what_they_name(choices, changes):
    assert STILL.chosen(choices) == STILL.with_changes(**changes)


def test_a_stride_takes_the_place_of_a_rate():
    assert STILL.chosen({"fps": 4}).chosen({"stride": 2}) == STILL.chosen({"stride": 2})
    with pytest.raises(ConfigError, match="give one of them"):
        STILL.chosen({"fps": 4, "stride": 2})


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"frames": 4}, r"unknown choice of clips 'frames'; known: num_frames, fps"),
        ({"jitter": 0.1}, "unknown choice of clips 'jitter'"),
        ({"num_frames": 0}, "num_frames: got 0"),
        ({"fps": -1.0}, "fps: got -1.0"),
        ({"pad": "mirror"}, "pad: got 'mirror'"),
    ],
)
def test_what_cannot_be_chosen_is_named(choices, message):
    with pytest.raises(ConfigError, match=message):
        STILL.chosen(choices)


def test_clips_are_told_in_words():
    assert str(STILL) == "clips of 8 frames with a stride of 3 of 32 x 32 pixels"
    rated = STILL.chosen({"fps": 2.5, "size": (16, 24)})
    assert str(rated) == "clips of 8 frames at 2.5 a second of 16 x 24 pixels"


def test_a_clip_lasts_from_its_first_frame_to_its_last():
    assert ClipSpec(num_frames=8).seconds(25) == pytest.approx(7 / 25)
    assert ClipSpec(num_frames=8, stride=3).seconds(25) == pytest.approx(21 / 25)
    assert ClipSpec(num_frames=16, fps=8).seconds(25) == pytest.approx(15 / 8)
