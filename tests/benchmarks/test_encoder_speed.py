"""`benchmarks/encoder.py`: its ratios and tables; it runs and prints what it promises."""

from pathlib import Path

import encoder
import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "encoder.py"


def test_ratios_are_taken_within_rounds() -> None:
    mine, theirs = [1.0, 2.0, 4.0], [2.0, 4.0, 4.0]
    assert encoder.ratio(theirs, mine) == 2.0
    assert encoder.spread(theirs, mine) == "2.00 (1.00-2.00)"


def test_the_tables_hold_the_figures() -> None:
    seconds = {"nexus": [1.0, 2.0], "transformers": [2.0, 4.0], "floor": [0.5, 1.0]}
    row = {"shape": "S", "precision": "fp32", "mode": "training", "clips": 3, "seconds": seconds}
    step = {
        "shape": "S",
        "precision": "fp32",
        "flops_per_second": [1e9, 3e9],
        "flops_per_step": 4e9,
    }
    machine = {"gpu": None, "cpu": "C", "threads": 1, "torch": "2", "date": "d", "load_before": 0}
    result = {"machine": machine, "gemm": {"fp32": 4e9}, "rows": [row], "steps": [step]}
    text = encoder.report(result)
    assert "| S | fp32 | training | nexus | 2.00 | 2.00 (2.00-2.00) | 50% |" in text
    assert "| S | fp32 | training | transformers | 1.00 | 1.00 (1.00-1.00) | 25% |" in text
    assert "| S | fp32 | 2 (1-3) | 50% | 4.0 |" in text
    assert "floor |" not in text.partition("|---")[2].replace("floor / arm", "")


def test_the_floor_multiplies_what_the_encoder_does() -> None:
    shape = encoder.Shape(48, 2, 2, 4, 32, 2)
    model = encoder.VJEPAModel(encoder.config_of(shape)).context_encoder
    floor = encoder.Floor(shape)
    assert floor(torch.randn(2, 3, 4, 32, 32)).shape == model(torch.randn(2, 3, 4, 32, 32)).shape
    products = [m.weight for m in floor.modules() if isinstance(m, torch.nn.Linear)]
    theirs = [p.flatten(1) for n, p in model.named_parameters() if p.ndim > 1]
    assert sorted(p.shape for p in products) == sorted(p.shape for p in theirs)


@pytest.mark.slow
def test_quick(quick) -> None:
    result, printed = quick(SCRIPT)
    assert {row["mode"] for row in result["rows"]} == {"inference", "training"}
    assert all(row["difference"] < 1e-5 for row in result["rows"])
    for row in result["rows"]:
        assert set(row["seconds"]) == {"nexus", "transformers", "floor"}
    assert [step["precision"] for step in result["steps"]] == ["fp32", "bf16"]
    assert all(step["flops_per_step"] > 0 for step in result["steps"])
    assert "whole `vjepa2` train step" in printed
