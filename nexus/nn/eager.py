"""Code that `torch.compile` must leave alone."""

from collections.abc import Callable
from typing import TypeVar, cast

import torch

Function = TypeVar("Function", bound=Callable)


def eager(function: Function) -> Function:
    """Keep a function out of compiled graphs: it draws on the CPU or looks at values."""
    return cast(Function, torch.compiler.disable(function))
