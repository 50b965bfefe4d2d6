"""What machine is this, and how fast are its plain matrix products?"""

import datetime
import os
import platform
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from nexus.training.cpu import cpu_name, onednn_linear

SIDES = {"cpu": 2048, "cuda": 8192}
"""Sides of the square matrices: large enough to reach the machine's rate."""

QUICK = {"seconds": 0.1, "side": 256}
"""For `gemm_rate`, where only running counts."""


def describe(device: str = "cpu") -> dict[str, Any]:
    """The machine and the software, in plain values."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def gemm_rate(
    dtype: torch.dtype, device: str = "cpu", seconds: float = 1.0, side: int | None = None
) -> float:
    """FLOPs per second of a large square matrix product: the median over repeats.

    The faster of PyTorch's own product and oneDNN's (`nexus.training.cpu`). No model can be faster
    than this; its share of it says how well it uses the machine. `side`, of the matrices, is large
    enough to reach the machine's rate unless one is given: a processor without units for a type
    takes many seconds for such a product.
    """
    side = side or SIDES[device]
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    medians = []
    for product in (torch.matmul, onednn_linear):
        times: list[float] = []
        product(left, right)
        while sum(times) < seconds / 2 or len(times) < 3:
            wait(device)
            start = time.perf_counter()
            product(left, right)
            wait(device)
            times.append(time.perf_counter() - start)
        medians.append(statistics.median(times))
    return 2 * side**3 / min(medians)


def resident() -> tuple[int, int]:
    """Bytes of memory that this process holds now, and the most that it ever held.

    Linux also answers the second question through `ru_maxrss`, but what that says of a process
    includes the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        now, most = (1024 * int(lines[key].split()[0]) for key in ("VmRSS", "VmHWM"))
        return now, most
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return psutil.Process().memory_info().rss, most


def wait(device: str) -> None:
    """Until the device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()
