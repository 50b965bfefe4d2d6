"""The train-step benchmark: its FLOP formula against PyTorch's counter, its tables, a short run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import flops
import pytest
import step_report
import torch
import train_step
from oracles.tiny import TINY, clips
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nexus.models.ssl import VJEPAConfig, VJEPAModel

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "train_step.py"


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("factorized", [True, False])
@pytest.mark.parametrize(
    "mask", [{"mask_ratio": 0.5}, {"mask_ratio": 0.7}, {"mask": "tube"}, {"mask": "multiblock"}]
)
def test_the_formula_is_what_pytorch_counts(mask: dict, factorized: bool, batch: int) -> None:
    """The plain attention kernel, so that products are counted and recomputed ones are not."""
    if factorized and "multiblock" in mask.values():
        return  # ragged: the formula refuses it, see below
    torch.manual_seed(0)
    config = VJEPAConfig.from_mapping({**TINY, **mask, "factorized": factorized})
    model, video = VJEPAModel(config), clips(batch)
    torch.manual_seed(1)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        loss, _ = model(video, meters=False)
        loss.backward()
    torch.manual_seed(1)
    assert flops.train_step(config, model.draw_masks(video)).total == counter.get_total_flops()


def test_the_parts_of_the_formula() -> None:
    config = VJEPAConfig.from_mapping(TINY)
    joint = VJEPAConfig.from_mapping({**TINY, "factorized": False})
    masks = [VJEPAModel(c).draw_masks(clips()) for c in (config, joint)]
    one, other = (flops.train_step(c, m) for c, m in zip((config, joint), masks, strict=True))
    assert one.linear == other.linear
    assert one.predictor_attention == other.predictor_attention
    assert one.encoder_attention < other.encoder_attention
    ragged = VJEPAModel({**TINY, "mask": "random"}).draw_masks(clips())
    with pytest.raises(ValueError, match="regular masks only"):
        flops.train_step(config, ragged)


def test_one_layers_attention_has_the_seeds_ratio() -> None:
    """8 steps of 14 x 14 places (tubelets of 2): (8 * 196)^2 against 8 * 196 * (196 + 8)."""
    tokens, places, steps = 8 * 196, 196, 8
    joint = flops.attend(tokens, 768)
    apart = steps * flops.attend(places, 768) + places * flops.attend(steps, 768)
    assert joint / apart == pytest.approx(tokens**2 / (tokens * (places + steps)))
    assert joint / apart == pytest.approx(7.7, abs=0.05)


def row(**changes: Any) -> dict[str, Any]:
    base = {
        "frames": 16, "factorized": True, "precision": "fp32", "checkpointing": False,
        "compiled": False, "batch": 2, "seconds": [1.0, 2.0, 4.0], "peak": 2**20 * 100,
        "encoder_parameters": 5_600_000,
        "flops": {"total": 1e11, "encoder_attention": 1e10},
    }  # fmt: skip
    return {**base, **changes}


def test_ratios_are_taken_within_rounds() -> None:
    joint = row(factorized=False, seconds=[3.0, 6.0, 12.0], peak=2**20 * 400,
                flops={"total": 2e11, "encoder_attention": 9e10})  # fmt: skip
    rows = [row(), joint]
    assert step_report.partner(rows, rows[0], {"factorized": False}) is joint
    assert step_report.partner(rows, joint, {"factorized": False}) is None
    assert step_report.speedups(rows[0], joint) == [3.0, 3.0, 3.0]
    compared = step_report.comparisons(rows)
    assert "| 2.00 " in compared  # FLOPs, whole step
    assert "| 9.0 " in compared  # FLOPs, attention
    assert "3.00 (3.00-3.00)" in compared
    assert "| 0.25 " in compared
    said = step_report.claims(rows)
    assert "7.3 x as fast" in said
    assert "| 3.00 x" in said
    assert "| 0.25 x" in said
    table = step_report.measured(rows, {"fp32": 1e11})
    assert "1 (0.5-2)" in table  # 2 clips in 1, 2 or 4 seconds
    assert "50%" in table  # 1e11 in 2 seconds, of 1e11 a second


def test_a_clip_length_of_which_no_eager_case_ran_does_not_take_the_report_along() -> None:
    compiled = row(frames=64, compiled=True)
    failed = [
        row(frames=64, factorized=factorized, failed="out of memory")
        for factorized in (True, False)
    ]
    machine = {"gpu": "G", "torch": "2", "date": "today", "load_before": 0}
    result = {
        "machine": machine,
        "options": {"size": "small", "pixels": 32, "batch": 2},
        "gemm": {"fp32": [1e11]},
        "rows": [row(), row(factorized=False), compiled, *failed],
    }
    written = step_report.report(result)
    assert "- 64 frames joint fp32: out of memory" in written
    assert "| 16     | checkpointing" in step_report.claims([row(), compiled])
    assert "| 64 " not in step_report.claims([row(), compiled])


def test_every_case_is_measured_once() -> None:
    options = train_step.parse(["--quick", "--precisions", "fp32", "bf16", "--threads", "1"])
    cases = train_step.cases(8, options)
    assert (
        len(set(cases)) == len(cases) == 6
    )  # two stacks: plain in both types, checkpointed in one
    assert {case.frames for case in cases} == {8} and not any(case.compiled for case in cases)
    assert {case.precision for case in cases if case.checkpointing} == {"fp32"}
    large = train_step.parse(["--device", "cuda"])
    assert large.size == "base" and any(case.compiled for case in train_step.cases(16, large))
    with pytest.raises(SystemExit):
        train_step.parse(["--batch", "0"])


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    """Tiny clips, one type: every process, table and file of a run."""
    command = [
        sys.executable, str(SCRIPT), "--quick", "--frames", "4",
        "--pixels", "32", "--precisions", "bf16", "--rounds", "1", "--threads", "1",
        "--json", str(tmp_path / "step.json"), "--markdown", str(tmp_path / "step.md"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "step.json").read_text())
    assert len(result["rows"]) == 4
    for measured in result["rows"]:
        assert measured["seconds"][0] > 0
        assert measured["peak"] > 0
    assert result["gemm"]["bf16"][0] > 1e8
    assert (tmp_path / "step.md").read_text() == done.stdout
    assert torch.__version__ in done.stdout
    assert "factorized against joint" in done.stdout
    assert "the seed says" in done.stdout
