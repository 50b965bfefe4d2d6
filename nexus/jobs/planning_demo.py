"""`plan_demo`: models that come with nexus plan to goals that they have never seen."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from nexus.errors import ConfigError, did_you_mean
from nexus.jobs.planning import plan
from nexus.runs.control import ControlTable

SHIPPED = ("reach", "push")
"""The environments that nexus has a model of, in `nexus/shipped`."""
POLICIES = ("random", "picture")


def shipped_world(env: str) -> Path:
    """The folder of the model that comes with nexus for an environment.

    Raises:
        ConfigError: there is none.
    """
    if env not in SHIPPED:
        raise ConfigError(f"no model of {env!r} comes with nexus; {did_you_mean(env, SHIPPED)}")
    return Path(str(files("nexus"))) / "shipped" / env


def plan_demo(
    out: str | Path,
    *,
    env: str | None = None,
    episodes: int = 100,
    seed: int = 0,
    steps: int | None = None,
    shifts: bool = False,
    policies: Sequence[str] | None = None,
    data: str | Path | None = None,
    planning: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> dict[str, ControlTable]:
    """Let the shipped models plan from pictures, beside random actions; a table an environment.

    Args:
        out: a folder; each environment has its own in it.
        env: one of `SHIPPED`; None: all.
        policies: see `plan`; None: random actions and the planner that is shown the picture alone.

    Other arguments and errors: see `plan`.
    """
    return {
        name: plan(
            shipped_world(name),
            env=name,
            out=Path(out) / name,
            episodes=episodes,
            seed=seed,
            steps=steps,
            shifts=shifts,
            policies=policies or POLICIES,
            data=data,
            planning=planning,
            command=command,
        )
        for name in ([env] if env else SHIPPED)
    }
