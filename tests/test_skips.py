"""A skipped test fails a run in CI, and so does a module that lacks an import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MARKED = "import pytest\n@pytest.mark.skip\ndef test_it(): pass\n"
MISSING = "import pytest\npytest.importorskip('no_such_module')\n"
GOOD = "def test_it(): pass\n"


def status(folder: Path, workers: str, *, ci: bool) -> int:
    """The exit status of a run of pytest over the tests of a folder."""
    kept = {k: v for k, v in os.environ.items() if k != "CI" and not k.startswith("PYTEST")}
    given = {**kept, "PYTHONPATH": str(HERE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugins = [word for name in ("xdist", "skips", "no:cacheprovider") for word in ("-p", name)]
    command = [sys.executable, "-m", "pytest", *plugins, "-n", workers]
    return subprocess.run(
        command, cwd=folder, env=given | ({"CI": "true"} if ci else {}), capture_output=True
    ).returncode


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_skipped_test_is_a_failure_in_ci(tmp_path: Path, workers: str) -> None:
    # A configuration of its own: the temporary folder may lie within the project's.
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_good.py").write_text(GOOD)
    assert status(tmp_path, workers, ci=True) == 0
    for skipped in (MARKED, MISSING):
        (tmp_path / "test_skipped.py").write_text(skipped)
        assert status(tmp_path, workers, ci=True) == 1
    assert status(tmp_path, workers, ci=False) == 0
