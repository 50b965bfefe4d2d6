"""PyTorch's `.pt` files, read without running the code that a pickle can hold."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nexus.checkpoints.other_files import unreadable
from nexus.errors import CheckpointError

_SCALAR = np.float64(0).__reduce__()[0]
NUMPY_SCALARS = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
]
"""A training script's `loss` or `epoch` may be one of these; they hold a number, no code."""


def read_pickled(path: str | Path) -> Any:
    """The content of a file that `torch.save` wrote, on the CPU.

    Tensors of the newer file format stay on the disk until they are used; the older format is read
    whole.

    Raises:
        CheckpointError: the file is missing, damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    with torch.serialization.safe_globals(NUMPY_SCALARS):
        try:
            with path.open("rb") as file:
                mapped = file.read(2) == b"PK"  # a zip archive: the newer format
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:  # what torch raises for a damaged file is not one type
            raise CheckpointError(
                f"cannot read {path}: {unreadable(path, error)}\nExpected a complete file of "
                "tensors and plain values, as torch.save writes it; files that hold code are not "
                "run"
            ) from error
