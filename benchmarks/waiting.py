"""What a benchmark says while it runs."""

import sys


def progress(text: str) -> None:
    """A line that replaces itself, for those who wait."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
