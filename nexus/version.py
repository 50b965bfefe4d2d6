"""The version of nexus that is running."""

from importlib import metadata

DISTRIBUTION = "nexus-vjepa"
"""The name that nexus is installed under."""


def nexus_version() -> str:
    """The installed version, `unknown` when nexus is used straight from a source folder."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
