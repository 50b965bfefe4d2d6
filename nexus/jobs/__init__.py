"""The jobs that a user comes with, each as one call: what the command line and `nexus.*` offer.

plan_run   look at videos and machine, choose clips, sizes and length of a run
pretrain   scan, plan (unless a recipe is named) -> train -> pictures -> probes -> page
demo       the same on a toy world that it makes
adapt      published weights, continued on one's own videos in a few ways; the best by probes
probe, embed, report   the later steps again, or on other data
train_probe, load_probe, keep_probe, label   probes to keep, and the labels that they give
convert    weights from one layout to another
train_world   from robot episodes to a world model
world_report   whether to plan with it: measured on episodes that are new to it
pack_world   a world model as a small folder with its card
collect_episodes   episodes of a policy in an environment, to train a world model on
plan       policies side by side in an environment: who reaches its goals
plan_demo  the same for the models that come with nexus
make_motion   a benchmark of real motion from one's own videos
processor  a path, arrays or PIL pictures to input for an encoder

Each is imported when it is first used, so that it brings along what it needs and nothing else.
"""

import importlib
from typing import Any

HOMES = {
    "adapt": "nexus.jobs.adaptation",
    "collect_episodes": "nexus.jobs.collecting",
    "convert": "nexus.jobs.conversion",
    "demo": "nexus.jobs.pretraining",
    "embed": "nexus.jobs.embedding",
    "keep_probe": "nexus.jobs.probe_place",
    "label": "nexus.jobs.labelling",
    "load_probe": "nexus.jobs.labelling",
    "make_motion": "nexus.jobs.motion",
    "pack_world": "nexus.jobs.world_packing",
    "plan": "nexus.jobs.planning",
    "plan_demo": "nexus.jobs.planning_demo",
    "plan_run": "nexus.jobs.fitting",
    "pretrain": "nexus.jobs.pretraining",
    "probe": "nexus.jobs.probing",
    "processor": "nexus.jobs.opening",
    "report": "nexus.reports.page:write_report",
    "train_probe": "nexus.jobs.probe_training",
    "train_world": "nexus.jobs.world_training",
    "world_report": "nexus.jobs.world_trust",
}
"""Where each job stands, and its name there if that is another."""


def __getattr__(name: str) -> Any:
    if name in HOMES:
        # Not an import statement: the floors of the house do not run through this door.
        module, _, own = HOMES[name].partition(":")
        return getattr(importlib.import_module(module), own or name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(HOMES)
