"""`report`: the page of a run again."""

from pathlib import Path

from nexus.reports.page import write_report


def report(run: str | Path, out: str | Path | None = None) -> Path:
    """Write a run's page again from the files in its folder.

    Raises:
        RunError: `run` is not a run's folder.
    """
    return write_report(run, out)
