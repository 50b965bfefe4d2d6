"""The states of the global random generators, as values that a checkpoint can hold."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """The states of all global generators; tensors and plain values only."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = _numpy_state()
    state: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def _numpy_state() -> tuple[str, np.ndarray, int, int, float]:
    state = np.random.get_state(legacy=True)
    assert isinstance(state, tuple)
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Put all global generators back into a state that `rng_state` returned."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    devices = state.get("cuda", [])
    if torch.cuda.is_available() and len(devices) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(devices)
    if torch.backends.mps.is_available() and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


@contextmanager
def kept_rng() -> Iterator[None]:
    """Whatever is drawn in here, the global generators come out as they went in."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
