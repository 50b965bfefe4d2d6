"""The tests of this folder need a GPU; `NEXUS_TEST_DEVICE=cpu` runs their bodies without one."""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> str:
    """Where they run."""
    return os.environ.get("NEXUS_TEST_DEVICE", "cuda")


@pytest.fixture(autouse=True)
def _same_products(device: str):
    """Products in full fp32, so that results can be held against those of the CPU."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)
