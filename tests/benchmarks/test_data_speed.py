"""`benchmarks/data.py` runs, all arms see the same clips, and it prints what it promises."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "data.py"
SMALL = "--sizes 64x48 --videos 2 --seconds 2 --frames 4 --img-size 32 --batch 2 --batches 1"
ARMS = [
    "bare decoding", "nexus' decoder", "loader", "loader, memory cache", "loader, disk cache"
]  # fmt: skip


def test_a_small_run(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    few = ["--workers", "1", "--minutes", "0.001", "--json", str(file)]
    run = subprocess.run(
        [sys.executable, str(SCRIPT), *SMALL.split(), *few],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    rows = json.loads(file.read_text())["rows"]
    assert [row["arm"] for row in rows] == ARMS
    for row in rows:
        assert row["rounds"] == 4 == len(row["share_by_round"])
        assert row["clips_per_second"] > 0 and row["share"] > 0
        assert row["arm"] in run.stdout
    assert rows[0]["share"] == 1.0
