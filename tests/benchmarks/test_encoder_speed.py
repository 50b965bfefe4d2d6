"""`benchmarks/encoder.py` runs and prints what it promises."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "encoder.py"


def test_quick(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, SCRIPT, "--quick", "--threads", "1", "--json", tmp_path / "out.json"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    assert {row["mode"] for row in result["rows"]} == {"inference", "training"}
    assert all(row["difference"] < 1e-5 for row in result["rows"])
    for row in result["rows"]:
        assert set(row["seconds"]) == {"nexus", "transformers", "floor"}
    assert [step["precision"] for step in result["steps"]] == ["fp32", "bf16"]
    assert all(step["flops_per_step"] > 0 for step in result["steps"])
    assert "whole `vjepa2` train step" in run.stdout
