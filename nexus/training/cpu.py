"""What nexus knows of the processor: its kernels, how many threads pay, what half precision costs.

The kernel of linear layers. In full precision PyTorch multiplies with MKL, which on processors of
other makers than Intel runs at half the rate of oneDNN or less (AMD EPYC, 2048 x 192 x 768: 198
against 443 GFLOPS; `benchmarks/encoder.py`). On Intel's it is the faster of the two (a Xeon, the
same product with its gradients: 308 against 244). Both round like fp32.

Threads. PyTorch takes every core. On a machine that something else shares, or with a small model,
a step with two threads can take several times as long as with one, so a run measures first.

Precision. Not every processor has units for numbers of half the size.
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nexus.models.contract import Module
from nexus.nn.tubelet import TubeletEmbed
from nexus.training.step import DTYPES, Precision

HAS_ONEDNN = (
    torch.backends.mkldnn.is_available()
    and platform.machine().lower() in ("x86_64", "amd64")
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
"""Whether oneDNN's operator is there."""

TIE = 1.10
"""More threads must be faster by this factor to be taken: ties go to the smaller number."""

WORTH_SAYING = 1.5
"""From this many times the time of fp32 on, a user should know what a precision costs."""

Clock = Callable[[], float]


def cpu_name() -> str:
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prefers_onednn(name: str, *, has_mkl: bool) -> bool:
    """Whether oneDNN multiplies faster than PyTorch on a processor of this name."""
    return not (has_mkl and "Intel" in name)


def tune(model: Module, *, onednn: bool | None = None) -> None:
    """Give every linear layer of a model the faster kernel of this processor.

    The layers change their class and nothing else: parameters, names and copies stay as they were.

    Args:
        model: changed in place; its layers may move to another device afterwards.
        onednn: whether to take oneDNN's kernel; None: where this processor prefers it.
    """
    if onednn is None:
        onednn = prefers_onednn(cpu_name(), has_mkl=torch.backends.mkl.is_available())
    for module in model.modules() if onednn and HAS_ONEDNN else ():
        if type(module) in _TUNED:
            module.__class__ = _TUNED[type(module)]


def plain_type(module: nn.Module) -> type[nn.Module]:
    """The class of a module as it was before `tune`."""
    return next((plain for plain, own in _TUNED.items() if type(module) is own), type(module))


def onednn_linear(
    values: Float[Tensor, "*rest inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*rest outputs"]:
    """`values @ weight.T + bias` by oneDNN, differentiable once; elsewhere `F.linear`.

    Elsewhere is: on GPUs, for other types than fp32, under autocast, and in code that is compiled
    or exported.
    """
    if not _applies(values, weight):
        return F.linear(values, weight, bias)
    if not torch.is_grad_enabled():
        return _product(values, weight, bias)
    return _OneDnnProduct.apply(values, weight, bias)  # pyright: ignore[reportReturnType]


def _applies(values: Tensor, weight: Tensor) -> bool:
    return (
        HAS_ONEDNN
        and not torch.compiler.is_compiling()
        and values.dtype == weight.dtype == torch.float32
        and values.device.type == "cpu"
        and values.numel() > 0
        and not torch.is_autocast_enabled("cpu")
    )


def _product(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(values, weight, bias, "none", [], "")


class _OneDnnProduct(torch.autograd.Function):
    generate_vmap_rule = True  # for `torch.func`

    @staticmethod
    def forward(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # pyright: ignore
        return _product(values, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

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


class _OneDnnLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return onednn_linear(input, self.weight, self.bias)


class _OneDnnTubeletEmbed(TubeletEmbed):
    def project(self, tubelets: Tensor) -> Tensor:
        return onednn_linear(tubelets, self.proj.weight.flatten(1), self.proj.bias)


_TUNED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: _OneDnnLinear,
    TubeletEmbed: _OneDnnTubeletEmbed,
}


@dataclass(frozen=True)
class Calibration:
    """The thread count to use and the seconds a step took with each one tried."""

    threads: int
    seconds: dict[int, float]

    def __str__(self) -> str:
        timings = ", ".join(f"{n}: {1e3 * s:.0f} ms" for n, s in sorted(self.seconds.items()))
        tried = f" (a step with {timings})" if timings else ""
        return f"{self.threads} CPU thread{'s' * (self.threads != 1)}{tried}"


def thread_counts(most: int) -> list[int]:
    """1, 2, 4, ... up to `most`, and `most` itself."""
    powers = [2**i for i in range(most.bit_length()) if 2**i <= most]
    return sorted({*powers, most})


def best_count(seconds: dict[int, float]) -> int:
    """The smallest thread count that no larger one beats by more than `TIE`."""
    best = min(seconds)
    for threads in sorted(seconds):
        if seconds[threads] * TIE < seconds[best]:
            best = threads
    return best


def calibrate(
    run_step: Callable[[], object],
    counts: Sequence[int],
    *,
    repeats: int = 4,
    budget: float = 5.0,
    clock: Clock = time.perf_counter,
) -> Calibration:
    """Time `run_step` with each thread count and keep the best; leaves that count set.

    Args:
        run_step: does the work of one step without changing anything.
        counts: the thread counts to try, the fewest first.
        repeats: runs a count; the fastest one counts.
        budget: seconds a count after which it is not repeated again.
        clock: a monotonic clock in seconds.
    """
    seconds: dict[int, float] = {}
    for threads in counts if len(counts) > 1 else ():
        torch.set_num_threads(threads)
        hopeless = 2 * min(seconds.values(), default=float("inf"))
        runs: list[float] = []
        while len(runs) < repeats and sum(runs) < budget and max(runs, default=0) < hopeless:
            start = clock()
            run_step()
            runs.append(clock() - start)
        seconds[threads] = min(runs)
    best = best_count(seconds) if seconds else counts[0]
    torch.set_num_threads(best)
    return Calibration(best, seconds)


def relative_cost(
    precision: Precision,
    *,
    side: int = 384,
    repeats: int = 5,
    clock: Clock = time.perf_counter,
) -> float:
    """Time of a matrix product on the CPU in this precision, as a multiple of that in fp32.

    Args:
        precision: what to compare with fp32.
        side: of the square matrices.
        repeats: products of each; the fastest one counts, after one that does not.
        clock: a monotonic clock in seconds.
    """
    seconds = []
    for dtype in (DTYPES["fp32"], DTYPES[precision]):
        factor = torch.ones(side, side, dtype=dtype)
        torch.mm(factor, factor)
        taken = []
        for _ in range(repeats):
            start = clock()
            torch.mm(factor, factor)
            taken.append(clock() - start)
        seconds.append(min(taken))
    return seconds[1] / max(seconds[0], 1e-9)


def precision_warning(precision: Precision, device: torch.device) -> str | None:
    """What to say before a run in this precision, if it is slow here; measured, on the CPU only."""
    if precision == "fp32" or device.type != "cpu":
        return None
    cost = relative_cost(precision)
    if cost < WORTH_SAYING:
        return None
    return (
        f"training.precision={precision}: this processor takes {cost:.1f} times as long for a "
        "matrix product as in fp32, since it has no units for such numbers; "
        "training.precision=fp32 will be faster"
    )
