"""`docs/images/overview.py`: the README's picture of a run."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_builder import Builder

from nexus.errors import RunError

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/images"))
from overview import save_overview


@pytest.mark.parametrize("parts", [("probes", "pca"), ("probes",), ("pca",)])
def test_the_overview_is_a_picture_of_what_there_is(
    build: Builder, tmp_path: Path, parts: tuple[str, ...]
) -> None:
    png = save_overview(build(parts=parts, journal=[]), tmp_path / "docs/overview.png", dpi=50)
    with Image.open(png) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[0] == 255).all(), "white all around"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_an_overview_of_nothing_is_an_error(build: Builder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing to draw"):
        save_overview(build(parts=(), journal=[]), tmp_path / "x.png")


def test_a_task_that_the_run_does_not_have_is_named(build: Builder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no task 'shpae'; it has direction, shape"):
        save_overview(build(journal=[]), tmp_path / "x.png", tasks=("direction", "shpae"))
