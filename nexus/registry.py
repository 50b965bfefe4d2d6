"""Parts by name: our own by short names, anybody's as `package.module:Class`.

A setting that names a part is a name, or a mapping with the name under `kind` and the part's own
settings beside it: `future`, `mine.masks:Diagonal`, `{"kind": "mine.masks:Diagonal", "width": 3}`.
"""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus.config import Config
from nexus.errors import ConfigError, did_you_mean

Choice = str | Mapping[str, Any]
"""The name of a part, or a mapping of its `kind` and its settings."""


class Registry:
    """The parts of one sort.

    Args:
        what: the sort, as errors call it: `mask`, `model`, ...
        own: our names, and where each part stands: `{"future": "nexus.masks.future:FutureMask"}`.
            A part is imported when it is asked for.
    """

    def __init__(self, what: str, own: Mapping[str, str]) -> None:
        self.what = what
        self.own = dict(own)

    @property
    def names(self) -> list[str]:
        """Our own names."""
        return list(self.own)

    def find(self, name: str) -> Any:
        """The class or function of this name.

        Raises:
            ConfigError: no such name (near ones are given), module or part.
        """
        place = self.own.get(name, name)
        module_name, colon, attribute = place.partition(":")
        if not (colon and module_name and attribute):
            raise ConfigError(
                f"unknown {self.what} {name!r}; {did_you_mean(name, self.own)}; one of your own "
                "is named package.module:Class"
            )
        part: Any = _module(module_name, self.what, place)
        for step in attribute.split("."):
            if not hasattr(part, step):
                raise ConfigError(f"{self.what} {place!r}: {module_name} has no {attribute!r}")
            part = getattr(part, step)
        return part

    def build(self, choice: Choice, **given: Any) -> Any:
        """The part that a setting names, made with its settings (and what else it is `given`).

        Raises:
            ConfigError: there is no such part, or it does not take these settings.
        """
        name, settings = split_choice(choice, self.what)
        part = self.find(name)
        if isinstance(part, type) and issubclass(part, Config):
            return part.from_mapping({**settings, **given})
        try:
            return part(**settings, **given)
        except TypeError as error:
            listed = ", ".join(settings) or "none"
            raise ConfigError(
                f"{self.what} {name!r} does not take these settings ({listed}): {error}"
            ) from error


def split_choice(choice: Choice, what: str = "part") -> tuple[str, dict[str, Any]]:
    """The name that a setting gives, and the part's own settings.

    Raises:
        ConfigError: neither a name nor a mapping with `kind`.
    """
    if isinstance(choice, str):
        return choice, {}
    if not isinstance(choice, Mapping) or not isinstance(choice.get("kind"), str):
        raise ConfigError(
            f"{what}: got {choice!r}; expected a name, or a mapping with the name under `kind`"
        )
    settings = {str(key): value for key, value in choice.items() if key != "kind"}
    return choice["kind"], settings


def _module(name: str, what: str, place: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        here = str(Path.cwd())
        if error.name != name.partition(".")[0] or here in sys.path:
            raise ConfigError(f"{what} {place!r} cannot be imported: {error}") from error
    # A file beside the user's own, which Python finds only where a script of theirs is run.
    sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        sys.path.remove(here)
        raise ConfigError(f"{what} {place!r} cannot be imported: {error}") from error
