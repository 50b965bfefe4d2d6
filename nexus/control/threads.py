"""One thread for small work."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """What runs meanwhile uses one thread of torch's.

    Arrays of a few thousand numbers are done before a second thread is awake; where something else
    keeps a core busy, waiting for it takes ten times as long as the work.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
