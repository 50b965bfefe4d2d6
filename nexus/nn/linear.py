"""Linear layers that take oneDNN's kernel where PyTorch would take a slower one.

In full precision on a CPU, PyTorch multiplies with MKL, which on processors of other makers than
Intel runs at half the rate of oneDNN or less (AMD EPYC, 2048 x 192 x 768: 198 against 443 GFLOPS;
`benchmarks/encoder.py`). On Intel's it is the faster of the two (a Xeon, the same product with its
gradients: 308 against 244). Both round like fp32. Wherever oneDNN's operator does not apply (GPUs,
other types, autocast, compiled or exported code, `torch.func`), this is `F.linear`.
"""

import platform
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

AVAILABLE = (
    torch.backends.mkldnn.is_available()
    and platform.machine().lower() in ("x86_64", "amd64")
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
"""Whether oneDNN's operator is there."""


def _mkl_is_at_home() -> bool:
    # A torch too old to name the processor counts as not at home.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.backends.mkl.is_available() and "Intel" in str(capabilities.get("cpu_name", ""))


PREFERRED = not _mkl_is_at_home()
"""Whether oneDNN is the faster of the two on this processor."""


class Linear(nn.Linear):
    """`nn.Linear`, with the same parameters under the same names."""

    def forward(self, input: Float[Tensor, "*rest inputs"]) -> Float[Tensor, "*rest outputs"]:
        """`input @ weight.T + bias`."""
        return linear(input, self.weight, self.bias)


def linear(
    values: Float[Tensor, "*rest inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*rest outputs"]:
    """`values @ weight.T + bias`, differentiable once on either path."""
    if _applies(values, weight):
        return _OneDnnLinear.apply(values, weight, bias)  # pyright: ignore[reportReturnType]
    return F.linear(values, weight, bias)


def _applies(values: Tensor, weight: Tensor) -> bool:
    return (
        AVAILABLE
        and PREFERRED
        and not torch.compiler.is_compiling()
        and values.dtype == weight.dtype == torch.float32
        and values.device.type == "cpu"
        and values.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
    )


def _product(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(values, weight, bias, "none", [], "")


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(values, weight)
        return _product(values, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        values, weight = ctx.saved_tensors
        of_values = of_weight = of_bias = None
        rows = gradient.reshape(-1, gradient.shape[-1])
        if ctx.needs_input_grad[0]:
            of_values = _product(rows, weight.t()).view_as(values)
        if ctx.needs_input_grad[1]:
            of_weight = _product(rows.t(), values.reshape(-1, values.shape[-1]).t())
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(dim=0)
        return of_values, of_weight, of_bias
