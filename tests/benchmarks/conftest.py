"""The benchmarks are scripts: they are imported by the names of their files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def quick(tmp_path):
    """`quick(script)` runs it in its quick form: its figures, and what it printed."""

    def run(script):
        file = tmp_path / "out.json"
        done = subprocess.run(
            [sys.executable, script, "--quick", "--threads", "1", "--json", file],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(file.read_text()), done.stdout

    return run
