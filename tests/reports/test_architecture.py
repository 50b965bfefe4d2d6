"""Clips and model as a recipe says them, of any version and with anything in it."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nexus.reports.architecture import architecture, clips
from nexus.training.recipe import load_recipe


def test_a_recipe_of_today_in_words() -> None:
    text = yaml.safe_dump(load_recipe("small").to_mapping())
    assert architecture(text) == {
        "patches": "8 x 8 pixels, 2 frames deep",
        "encoder": "width 96, 3 blocks, 4 heads",
        "predictor": "width 64, 2 blocks",
    }
    assert clips(text) == "clips of 8 frames with a stride of 1"


def test_blocks_of_space_and_time_are_told_apart() -> None:
    model = {
        "encoder_dim": 8, "num_spatial_layers": 2, "num_temporal_layers": 1, "factorized": True,
    }  # fmt: skip
    told = architecture(yaml.safe_dump({"model": model}))
    assert told == {"encoder": "width 8, 3 blocks (2 in space, 1 in time)"}
    data = {"clip": {"num_frames": 16, "fps": 8, "stride": 1}}
    assert clips(yaml.safe_dump({"data": data})) == "clips of 16 frames at 8 a second, 2 s long"


VALUES = st.none() | st.booleans() | st.floats() | st.text(max_size=3)
GROUPS = VALUES | st.dictionaries(
    st.sampled_from(["patch_size", "encoder_dim", "clip", "num_heads"]),
    VALUES | st.dictionaries(st.sampled_from(["num_frames", "fps"]), VALUES),
)


@given(st.dictionaries(st.sampled_from(["model", "data"]), GROUPS) | VALUES)
def test_other_recipes_are_no_error(settings: object) -> None:
    text = yaml.safe_dump(settings)
    assert set(architecture(text)) <= {"patches", "encoder", "predictor"}
    assert isinstance(clips(text), str)


@pytest.mark.parametrize("text", [None, "", "{", "- 1"])
def test_no_recipe_says_nothing(text: str | None) -> None:
    assert architecture(text) == {} and clips(text) == ""
