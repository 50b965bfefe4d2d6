"""A precision that the processor has no units for is called slow, and is used all the same."""

from itertools import cycle

import pytest
import torch

from nexus.training import precision as module
from nexus.training.loop import train
from nexus.training.precision import relative_cost, warning

CPU = torch.device("cpu")


def clock(*durations: float):
    """A clock that shows a start and an end, so far apart as the durations say in turn."""
    now, steps = 0.0, cycle([part for d in durations for part in (0.0, d)])

    def read() -> float:
        nonlocal now
        now += next(steps)
        return now

    return read


def test_the_fastest_product_of_each_type_counts():
    assert relative_cost("bf16", side=8, repeats=2, clock=clock(3.0, 2.0, 9.0, 8.0)) == 4.0
    assert relative_cost("bf16", side=8, repeats=2, clock=clock(2.0, 4.0, 5.0, 1.0)) == 0.5


def test_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    assert relative_cost("fp16", side=16) > 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("cost", "told"), [(0.5, False), (1.2, False), (7.6, True)])
def test_only_what_is_slow_is_worth_a_word(monkeypatch, cost, told):
    monkeypatch.setattr(module, "relative_cost", lambda precision: cost)
    said = warning("bf16", CPU)
    assert (said is not None) == told
    if said:
        assert "training.precision=bf16" in said and "7.6 times" in said and "fp32" in said
    assert warning("fp32", CPU) is None
    assert warning("bf16", torch.device("cuda")) is None


def test_a_run_says_so_and_keeps_its_precision(tmp_path, world, tiny, quiet, monkeypatch):
    monkeypatch.setattr(module, "relative_cost", lambda precision: 9.0)
    recipe = tiny("training.precision=bf16", "training.steps=1")
    assert train(recipe, world, tmp_path / "run", console=quiet).status == "finished"
    assert "9.0 times as long" in quiet.file.getvalue()
    assert "9.0 times as long" in (tmp_path / "run/log.txt").read_text()
    assert '"precision": "bf16"' in (tmp_path / "run/run.json").read_text()
