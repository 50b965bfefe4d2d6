"""`linear`: oneDNN gives the product and its gradients, and steps aside where it must."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.nn import linear as module
from nexus.nn.linear import Linear, linear

needs_onednn = pytest.mark.skipif(not module.AVAILABLE, reason="no oneDNN operator here")


@pytest.fixture(autouse=True, scope="module")
def _on_any_processor():
    """The operator is put to the test where MKL is faster, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PREFERRED", True)
        yield


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
    rows=st.lists(st.integers(1, 7), min_size=0, max_size=3),
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
    for got, wanted in zip(run(linear, parts), exact, strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5)


@needs_onednn
def test_the_same_numbers_every_time_and_for_any_strides() -> None:
    values, weight, bias = (part.detach() for part in tensors((6, 20), 24, 48))
    first = linear(values, weight, bias)
    assert torch.equal(first, linear(values, weight, bias))
    turned = values.transpose(0, 1).contiguous().transpose(0, 1)
    torch.testing.assert_close(linear(turned, weight, bias), first)
    wide = torch.cat([weight, weight], dim=1)[:, :24]
    torch.testing.assert_close(linear(values, wide, bias), first)


@needs_onednn
def test_it_takes_the_operator_only_where_it_applies() -> None:
    values, weight, bias = tensors((3,), 4, 5)
    assert "OneDnn" in type(linear(values, weight, bias).grad_fn).__name__
    double = [part.double() for part in (values, weight, bias)]
    assert linear(*double).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(values, weight, bias).dtype == torch.bfloat16
    assert linear(values[:0], weight, bias).shape == (0, 5)
    batched = torch.func.vmap(linear, in_dims=(0, None, None))(values, weight, bias)
    torch.testing.assert_close(batched, linear(values, weight, bias))


def test_mkl_multiplies_on_intel_alone(monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    for name, at_home in (("Intel Xeon", True), ("AMD EPYC", False), ("Unknown", False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda name=name: {"cpu_name": name})
        assert module._mkl_is_at_home() is at_home
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Intel Xeon"})
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert not module._mkl_is_at_home()
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not module._mkl_is_at_home()
    monkeypatch.setattr(module, "PREFERRED", False)
    assert "OneDnn" not in type(linear(*tensors((3,), 4, 5)).grad_fn).__name__


def test_a_layer_is_nn_linear_to_the_outside() -> None:
    torch.manual_seed(0)
    ours = Linear(6, 4)
    torch.manual_seed(0)
    theirs = torch.nn.Linear(6, 4)
    theirs.load_state_dict(ours.state_dict())
    values = torch.randn(2, 6)
    torch.testing.assert_close(ours(values), theirs(values))
    assert isinstance(ours, torch.nn.Linear)


def test_compiled_and_exported_code_holds_no_operator_of_ours() -> None:
    exported = torch.export.export(Linear(6, 4), (torch.randn(2, 6),))
    names = {str(node.target) for node in exported.graph.nodes}
    assert not any("mkldnn" in name for name in names), names
