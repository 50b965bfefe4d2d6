"""V-JEPA 2 as software: train, diagnose, measure and use video world models.

`nexus.pretrain(data, out)`, `nexus.adapt(data, out, init=...)`, `nexus.demo()`,
`nexus.probe(run)`, `nexus.embed(run, data, out)`, `nexus.report(run)` and
`nexus.convert(source, out, to=...)` are the jobs of `nexus.jobs`; they are imported when they are
first used, so that `from nexus.models.ssl import VJEPAModel` needs torch and nothing heavier.
`nexus.load(source)` gives a model from published weights, the hub, or a run;
`nexus.load_probe(probe)` a probe that `nexus.train_probe` or someone else trained, and
`nexus.label(probe, videos)` the labels that it gives.
"""

import importlib
from typing import Any

_JOBS = ("pretrain", "adapt", "demo", "probe", "embed", "report", "convert")
_PROBES = ("train_probe", "load_probe", "label")
_HOMES = {**dict.fromkeys(_JOBS + _PROBES, "nexus.jobs"), "load": "nexus.checkpoints.load"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        # Not an import statement: the floors of the house do not run through its front door.
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nexus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
