"""Sources that the tests of the benchmark share."""

from pathlib import Path

import pytest
from motion_sources import drifting, write_source


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """Five good files of 2, 2.5, ... 4 seconds at 8 frames a second."""
    folder = tmp_path_factory.mktemp("motion") / "sources"
    for number in range(5):
        write_source(folder / f"{number}.mp4", drifting(number, 16 + 4 * number))
    return folder
