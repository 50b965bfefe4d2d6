"""`torch.compile` does not break: compiled graphs give the numbers and gradients of eager code.

The `aot_eager` backend captures forward and backward graphs as `inductor` does, without generating
code for them. Each check runs as a program of its own; see `oracles/compiled.py`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def check(backend: str, *cases: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "oracles.compiled", backend, *cases],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [f"as eager: {case}" for case in cases]


@pytest.mark.slow
def test_a_compiled_stack_is_captured_faithfully() -> None:
    check("aot_eager", "factorized/stacks")


@pytest.mark.slow
def test_other_stacks_and_whole_models_are_captured_faithfully() -> None:
    check("aot_eager", "joint/stacks", "ragged/stacks", "factorized/model", "joint/model")
    check("aot_eager", "rotary/stacks", "rotary/model")


@pytest.mark.slow
@pytest.mark.timeout(1800)  # it compiles C++, ten minutes on a busy machine
def test_the_full_compiler() -> None:
    check("inductor", "factorized/stacks", "joint/model", "rotary/stacks")
