"""What is said where clips last but an instant of much longer videos."""

from pathlib import Path

import pytest

from nexus.data.catalog.catalog import Catalog, VideoRecord
from nexus.data.clip_spec import ClipSpec
from nexus.jobs.pretraining import short_look
from nexus.training.recipe import load_recipe


def videos(*lasting: float, fps: float = 25) -> Catalog:
    records = tuple(
        VideoRecord(
            Path(f"/{number}.mp4"), f"{number}.mp4", "video", round(seconds * fps), fps, seconds,
            240, 320, "h264", False, {},
        )
        for number, seconds in enumerate(lasting)
    )  # fmt: skip
    return Catalog("videos", records, ())


def test_small_on_a_camera_s_footage_is_told_how_short_its_look_is():
    told = short_look(videos(3, 3.2, 60), load_recipe("small").final_clip)
    assert told is not None
    assert "a clip lasts 0.28 s and your videos 3.2 s" in told
    assert "leave --recipe out" in told and "data.clip.fps=3 " in told


@pytest.mark.parametrize(
    ("catalog", "clip"),
    [
        (videos(3, 3, 3), load_recipe("footage").final_clip),
        (videos(2, 2, fps=8), load_recipe("small").final_clip),  # the toy world: 0.9 s of 2 s
        (videos(0.5, 0.6, 20), ClipSpec(num_frames=8)),  # the videos are short themselves
    ],
)
def test_nothing_is_said_of_other_clips(catalog, clip):
    assert short_look(catalog, clip) is None


def test_the_advice_gives_clips_that_are_long_enough():
    clip = ClipSpec(num_frames=16)
    told = short_look(videos(9, fps=60), clip)
    assert told is not None
    fps = float(told.rpartition("data.clip.fps=")[2].split()[0])
    assert short_look(videos(9, fps=60), clip.chosen({"fps": fps})) is None
