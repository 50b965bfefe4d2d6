"""Run directories for the report's tests."""

from pathlib import Path

import pytest
from run_builder import Builder, write_run


@pytest.fixture
def build(tmp_path: Path) -> Builder:
    """`build(name="run", **what)` writes a run directory and answers its path."""
    return lambda name="run", **what: write_run(tmp_path / name, **what)
