"""The processor: its kernel of linear layers, how many threads pay, what half precision costs."""

import copy
from itertools import cycle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.tiny import TINY, clips
from torch import nn

from nexus.models.ssl import VJEPAModel
from nexus.training import cpu
from nexus.training.cpu import (
    HAS_ONEDNN,
    best_count,
    calibrate,
    onednn_linear,
    precision_warning,
    prefers_onednn,
    relative_cost,
    thread_counts,
    tune,
)
from nexus.training.loop import train

needs_onednn = pytest.mark.skipif(not HAS_ONEDNN, reason="no oneDNN operator here")
CPU = torch.device("cpu")


def tensors(rows: tuple[int, ...], inputs: int, outputs: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(*rows, inputs), (outputs, inputs), (outputs,)]
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


def run(function, parts: list[torch.Tensor]) -> list[torch.Tensor]:
    """The result and the gradients of a function of it."""
    out = function(*parts)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    found = [out.detach(), *(part.grad for part in parts if part is not None)]
    for part in parts:
        if part is not None:
            part.grad = None
    return found


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.integers(1, 4), min_size=0, max_size=3),  # longer sums round more
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 40),
    bias=st.booleans(),
)
def test_it_is_the_product(rows: list[int], inputs: int, outputs: int, bias: bool) -> None:
    values, weight, offset = tensors(tuple(rows), inputs, outputs)
    parts = [values, weight, offset if bias else None]
    exact = run(
        F.linear, [None if p is None else p.detach().double().requires_grad_() for p in parts]
    )
    for got, wanted in zip(run(onednn_linear, parts), exact, strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5)


@needs_onednn
def test_the_same_numbers_every_time_and_for_any_strides() -> None:
    values, weight, bias = (part.detach() for part in tensors((6, 20), 24, 48))
    first = onednn_linear(values, weight, bias)
    assert torch.equal(first, onednn_linear(values, weight, bias))
    turned = values.transpose(0, 1).contiguous().transpose(0, 1)
    torch.testing.assert_close(onednn_linear(turned, weight, bias), first)
    wide = torch.cat([weight, weight], dim=1)[:, :24]
    torch.testing.assert_close(onednn_linear(values, wide, bias), first)


@needs_onednn
def test_it_takes_the_operator_only_where_it_applies() -> None:
    values, weight, bias = tensors((3,), 4, 5)
    assert "OneDnn" in type(onednn_linear(values, weight, bias).grad_fn).__name__
    double = [part.double() for part in (values, weight, bias)]
    assert onednn_linear(*double).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert onednn_linear(values, weight, bias).dtype == torch.bfloat16
    assert onednn_linear(values[:0], weight, bias).shape == (0, 5)
    batched = torch.func.vmap(onednn_linear, in_dims=(0, None, None))(values, weight, bias)
    torch.testing.assert_close(batched, onednn_linear(values, weight, bias))


def test_mkl_multiplies_on_intel_alone() -> None:
    for name, wanted in (("Intel(R) Xeon(R)", False), ("AMD EPYC", True), ("", True)):
        assert prefers_onednn(name, has_mkl=True) is wanted
    assert prefers_onednn("Intel(R) Xeon(R)", has_mkl=False)


def kernels(model: nn.Module) -> set[str]:
    """The operators that the gradient of a model's linear layers goes through."""
    found: set[str] = set()

    def look(_module: nn.Module, _given: object, out: torch.Tensor) -> None:
        if out.grad_fn is not None:
            found.add(type(out.grad_fn).__name__)

    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(look)
    model(clips())
    return found


@needs_onednn
def test_a_tuned_model_takes_the_kernel_and_stays_what_it_was() -> None:
    plain = VJEPAModel(TINY)
    tuned = copy.deepcopy(plain)
    tune(tuned, onednn=True)
    assert tuned.state_dict().keys() == plain.state_dict().keys()
    assert all(isinstance(m, nn.Linear) for n, m in tuned.named_modules() if n.endswith(".qkv"))
    for model in (plain, tuned):
        torch.manual_seed(0)
        model(clips())[0].backward()
    for (name, mine), wanted in zip(tuned.named_parameters(), plain.parameters(), strict=True):
        assert (mine.grad is None) == (wanted.grad is None), name
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, wanted.grad, msg=name)
    assert kernels(copy.deepcopy(tuned)) == {"_OneDnnProductBackward"}
    assert "_OneDnnProductBackward" not in kernels(plain)
    plain.load_state_dict(tuned.state_dict())
    tubelets = tuned.context_encoder.embed.project(torch.randn(1, 2, 2 * 4 * 4 * 3))
    assert "OneDnn" in type(tubelets.grad_fn).__name__


def test_a_processor_that_prefers_its_own_kernel_is_left_alone() -> None:
    model = VJEPAModel(TINY)
    before = [type(module) for module in model.modules()]
    tune(model, onednn=False)
    assert [type(module) for module in model.modules()] == before
    tune(model)
    changed = [type(module) for module in model.modules()] != before
    name, has_mkl = cpu.cpu_name(), torch.backends.mkl.is_available()
    assert changed == (HAS_ONEDNN and prefers_onednn(name, has_mkl=has_mkl))


def test_compiled_and_exported_code_holds_no_operator_of_ours() -> None:
    layers = nn.Sequential(nn.Linear(6, 4))
    tune(layers, onednn=True)
    exported = torch.export.export(layers, (torch.randn(2, 6),))
    names = {str(node.target) for node in exported.graph.nodes}
    assert not any("mkldnn" in name for name in names), names


@pytest.fixture(autouse=True)
def threads_put_back():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Machine:
    """A clock and a step whose time depends on the thread count, as a table says."""

    def __init__(self, table):
        self.table, self.now, self.ran = table, 0.0, []

    def step(self):
        threads = torch.get_num_threads()
        self.ran.append(threads)
        self.now += self.table[threads]

    def clock(self):
        return self.now


@pytest.mark.parametrize(
    ("most", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_thread_counts(most, expected):
    assert thread_counts(most) == expected


@pytest.mark.parametrize(
    ("seconds", "threads"),
    [
        ({1: 1.0, 2: 0.5, 4: 0.3}, 4),
        ({1: 0.15, 2: 0.4}, 1),
        ({1: 1.0, 2: 0.95}, 1),  # a tie goes to fewer
        ({1: 1.0, 2: 0.5, 4: 0.48}, 2),
    ],
)
def test_more_threads_must_pay(seconds, threads):
    assert best_count(seconds) == threads


def test_calibrate_takes_and_sets_the_fastest():
    machine = Machine({1: 0.4, 2: 0.1, 4: 0.3})
    found = calibrate(machine.step, [1, 2, 4], clock=machine.clock)
    assert found.threads == 2 == torch.get_num_threads()
    assert found.seconds == pytest.approx(machine.table)
    assert "2 CPU threads" in str(found) and "1: 400 ms" in str(found)


def test_slow_steps_are_not_repeated():
    machine = Machine({1: 10.0, 2: 8.0})
    calibrate(machine.step, [1, 2], clock=machine.clock, budget=5.0)
    assert machine.ran == [1, 2]


def test_a_hopeless_count_is_tried_once():
    machine = Machine({1: 0.1, 2: 0.3, 4: 0.15})
    calibrate(machine.step, [1, 2, 4], clock=machine.clock, repeats=3)
    assert machine.ran == [1, 1, 1, 2, 4, 4, 4]


def test_a_single_candidate_costs_nothing():
    machine = Machine({1: 1.0})
    assert calibrate(machine.step, [1], clock=machine.clock).threads == 1
    assert not machine.ran


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
    monkeypatch.setattr(cpu, "relative_cost", lambda precision: cost)
    said = precision_warning("bf16", CPU)
    assert (said is not None) == told
    if said:
        assert "training.precision=bf16" in said and "7.6 times" in said and "fp32" in said
    assert precision_warning("fp32", CPU) is None
    assert precision_warning("bf16", torch.device("cuda")) is None


def test_a_run_says_so_and_keeps_its_precision(tmp_path, world, tiny, quiet, monkeypatch):
    monkeypatch.setattr(cpu, "relative_cost", lambda precision: 9.0)
    recipe = tiny("training.precision=bf16", "training.steps=1")
    assert train(recipe, world, tmp_path / "run", console=quiet).status == "finished"
    assert "9.0 times as long" in quiet.file.getvalue()
    assert "9.0 times as long" in (tmp_path / "run/log.txt").read_text()
    assert '"precision": "bf16"' in (tmp_path / "run/run.json").read_text()
