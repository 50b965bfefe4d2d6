"""V-JEPA 2 as software: train, diagnose, measure and use video world models.

`nexus.plan_run(data)`, `nexus.pretrain(data, out)`, `nexus.adapt(data, out, init=...)`,
`nexus.demo()`, `nexus.probe(run)`, `nexus.embed(run, data, out)`, `nexus.report(run)` and
`nexus.convert(source, out, to=...)` are the jobs of `nexus.jobs`.
`nexus.load(source)` gives a model from published weights, the hub, or a run, and
`nexus.processor(source)` what turns videos into its input;
`nexus.load_probe(probe)` a probe that `nexus.train_probe` or someone else trained, and
`nexus.label(probe, videos)` the labels that it gives.
`nexus.train_world(episodes, out)` trains a world model of a robot, and
`nexus.world_report(run)` measures whether to plan with it.
`nexus.collect_episodes(environment, out, episodes=...)` writes what a policy does in a simulator.
`nexus.plan(env=..., out=...)` lets policies act, and counts who reaches the goals;
`nexus.plan_demo(out)` the same for models that come along, and `nexus.pack_world(run, out)` writes
a model to pass on.
`nexus.make_motion(videos, out)` cuts a benchmark of real motion from videos.

Each is imported when it is first used, so that `from nexus.models.ssl import VJEPAModel` needs
torch and nothing heavier.
"""

import importlib
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nexus.checkpoints.load import load
    from nexus.jobs.adaptation import adapt
    from nexus.jobs.collecting import collect_episodes
    from nexus.jobs.conversion import convert
    from nexus.jobs.embedding import embed
    from nexus.jobs.fitting import plan_run
    from nexus.jobs.labelling import label, load_probe
    from nexus.jobs.motion import make_motion
    from nexus.jobs.opening import processor
    from nexus.jobs.planning import plan
    from nexus.jobs.planning_demo import plan_demo
    from nexus.jobs.pretraining import demo, pretrain
    from nexus.jobs.probe_place import keep_probe
    from nexus.jobs.probe_training import train_probe
    from nexus.jobs.probing import probe
    from nexus.jobs.world_packing import pack_world
    from nexus.jobs.world_training import train_world
    from nexus.jobs.world_trust import world_report
    from nexus.reports.page import write_report as report

    __version__: str

__all__ = [
    "__version__",
    "adapt",
    "collect_episodes",
    "convert",
    "demo",
    "embed",
    "keep_probe",
    "label",
    "load",
    "load_probe",
    "make_motion",
    "pack_world",
    "plan",
    "plan_demo",
    "plan_run",
    "pretrain",
    "probe",
    "processor",
    "report",
    "train_probe",
    "train_world",
    "world_report",
]


def __getattr__(name: str) -> Any:
    # Not import statements: the floors of the house do not run through its front door.
    if name == "__version__":
        return importlib.import_module("nexus.version").nexus_version()
    if name in __all__:
        home = "nexus.checkpoints.load" if name == "load" else "nexus.jobs"
        return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'nexus' has no attribute {name!r}")


def __dir__() -> list[str]:
    modules = [name for name, value in globals().items() if isinstance(value, types.ModuleType)]
    return sorted({*__all__, *modules} - {"importlib", "types"})
