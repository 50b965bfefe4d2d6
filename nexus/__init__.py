"""V-JEPA 2 as software: train, diagnose, measure and use video world models.

`nexus.pretrain(data, out)`, `nexus.demo()`, `nexus.probe(run)`, `nexus.embed(run, data, out)` and
`nexus.report(run)` are the jobs of `nexus.jobs`; they are imported when they are first used, so
that `from nexus.models.ssl import VJEPAModel` needs torch and nothing heavier.
"""

import importlib
from typing import Any

_JOBS = ("pretrain", "demo", "probe", "embed", "report")


def __getattr__(name: str) -> Any:
    if name in _JOBS:
        # Not an import statement: the floors of the house do not run through its front door.
        return getattr(importlib.import_module("nexus.jobs"), name)
    raise AttributeError(f"module 'nexus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_JOBS])
