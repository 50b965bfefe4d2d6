"""A folder to type commands in."""

import shutil
from pathlib import Path

import pytest

ASSETS = Path(__file__).parents[1] / "assets/v0.1"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A run, its videos and a probe of the speed, in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("finished", "videos", "probe"):
        shutil.copytree(ASSETS / name, tmp_path / name)
    return tmp_path
