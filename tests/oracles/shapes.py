"""The checker of annotations that the tests run under."""

from collections.abc import Callable
from typing import Self

from beartype import beartype


def checked(function: Callable) -> Callable:
    """Check a function's annotations at each call.

    Functions annotated with `Self` are left alone: beartype knows it only in classes that it
    decorates as a whole, and the import hook decorates function by function.
    """
    if Self in getattr(function, "__annotations__", {}).values():
        return function
    return beartype(function)
