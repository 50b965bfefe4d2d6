"""Where a run happened: versions and hardware, for the record."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nexus.errors import ConfigError
from nexus.training.cpu import cpu_name, usable_cores
from nexus.training.rng import kept_rng
from nexus.version import nexus_version


def describe_environment() -> dict[str, str | int | None]:
    """Versions, processor and accelerator of this process."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "nexus": nexus_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "gpu": gpu,
    }


def choose_device(name: str) -> torch.device:
    """`auto` takes an NVIDIA GPU if there is one; Apple's (`mps`) has to be asked for.

    Raises:
        ConfigError: `cuda` or `mps` was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "training.device=cuda, but PyTorch sees no GPU here; use training.device=auto, or a "
            "PyTorch build and a driver that support the GPU"
        )
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(
            "training.device=mps, but PyTorch sees no Apple GPU here; use training.device=auto"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        # Masks differ in size from step to step: without this, freed memory seldom fits again.
        # PyTorch reads it when the process takes memory of a GPU for the first time.
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    return torch.device(name)


@contextmanager
def kept_settings() -> Iterator[None]:
    """Put the process' random generators, thread count and treatment of denormals back afterwards.

    Within, denormal numbers are flushed to zero: on the CPU they slow a step down severalfold.
    """
    threads = torch.get_num_threads()
    flushed = sys.float_info.min / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        with kept_rng():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)
