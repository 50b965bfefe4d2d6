"""`plan`: policies side by side in an environment, from starts and goals that are new to them."""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from nexus.atomic import check_writable
from nexus.checkpoints.files import read_card
from nexus.config import merge, read_yaml, write_yaml
from nexus.control.cloning import Cloned, CloningConfig, CloningPolicy, clone
from nexus.control.collection import Collection
from nexus.control.comparison import Comparison, Entrant
from nexus.control.evaluation import TIMED_STEPS
from nexus.control.model_policy import PlanningConfig
from nexus.control.oracle import ORACLE_PLANNER, OWN_WEIGHT, Oracle, true_world
from nexus.control.playing import Make
from nexus.control.seeds import evaluation_seeds
from nexus.control.simple import RandomActions, ZeroAction
from nexus.control.world_policies import (
    WorldPolicies,
    chosen_on_validation,
    load_world,
    world_entrants,
)
from nexus.data.episodes.episodes import Episodes
from nexus.data.episodes.opening import open_episodes
from nexus.envs import SHIFTS, GoalEnvironment, TableEnv, shifted
from nexus.envs.registry import environment_choice, make_environment
from nexus.errors import ConfigError, did_you_mean
from nexus.jobs.console import messages, progress, told_on_interrupt
from nexus.models.worlds.world import WorldModel
from nexus.planning import ActionSpace
from nexus.reports.planning import write_planning_report
from nexus.runs.control import ControlTable
from nexus.runs.folder import RunDirectory, find_run
from nexus.training.cpu import cpu_name, usable_cores

TABLE, PAGE = "planning.json", "planning.html"
"""What `plan` writes into its folder, beside what `Comparison` keeps there."""
WEIGHTS, SETTINGS = "weights.json", "planning.yaml"
"""What was tried on validation goals, and what was chosen there."""
WORLD = ("picture", "proprioception", "both", "untrained")
"""The policies of a world model."""
VALIDATION = 499
"""The number of the evaluation whose goals are for validation; no other has it by default."""
STEPS = 40
"""Of an episode, where the environment does not cut it itself."""


def plan(
    run: str | Path | None = None,
    *,
    env: str,
    out: str | Path,
    episodes: int = 100,
    seed: int = 0,
    steps: int | None = None,
    shifts: bool = True,
    policies: Sequence[str] | None = None,
    data: str | Path | None = None,
    cloning: CloningConfig | None = None,
    validation: int = 32,
    planning: Mapping[str, Any] | None = None,
    timed_steps: int = TIMED_STEPS,
    command: str | None = None,
) -> ControlTable:
    """Let policies act from the same starts to the same goals, and write down who reaches them.

    The folder `out` then holds `planning.json` (the table with a row of each episode),
    `planning.html` (the page), `planning.yaml` (the weights that were chosen and how plans were
    searched for) and, in `policies`, what is finished, a file a policy and world: the same call
    goes on after what is there.

    Args:
        run: a world model's run; its policies come after the others.
        env: the name of an environment.
        episodes: starts and goals, drawn by the environment from seeds that no recording has.
        seed: number of the evaluation; others have other starts and goals.
        steps: control steps an episode; None: as the environment cuts it, else 40.
        shifts: also with other colours, another size of the agent, another background, for those
            who are shown pictures: the planner with pictures alone and cloning.
        policies: some of those there are, by their short names; None: all.
        data: robot episodes to imitate.
        cloning: how they are imitated.
        validation: goals, apart from the others, on which the weights of a world model's cost are
            chosen, unless a packed model brings them along; 0 takes the picture as a whole, and a
            tenth of the proprioception beside it.
        planning: changes to how a world model's plans are searched for, keys of
            `nexus.control.model_policy.PlanningConfig`: `{"horizon": 5}`.
        timed_steps: steps that are played one environment at a time, to time an action.
        command: how this was asked for, for the page.

    Raises:
        ConfigError: there is no such environment, policy or setting.
        RunError: `run` is not that of a world model.
        DataError: the data cannot be read or imitated, or were drawn from the evaluation's seeds.
        SimulatorError: the environment cannot be evaluated in; see `evaluate`.
        OutputError: `out` cannot be written.
    """
    out = Path(out)
    check_writable(out)
    choice = environment_choice(env)
    make = partial(make_environment, choice)
    world = make()
    limit = steps or getattr(world, "max_steps", None) or STEPS
    entrants = own_policies(data, make, cloning or CloningConfig())
    if run is not None:
        model = check_fits(Path(run), world)
        acting = {*(policies or WORLD)}
        kept = _packed(Path(run), env)
        search = PlanningConfig.from_mapping(merge(kept.planning.to_mapping(), planning or {}))
        if kept.environment is None or kept.planning != search:
            kept = WorldPolicies(planning=search)
            if validation and acting & {"picture", "both", "untrained"}:
                kept = chosen_on_validation(
                    model,
                    make,
                    evaluation_seeds(VALIDATION, validation),
                    steps=limit,
                    record=out / WEIGHTS,
                    environment=env,
                    planning=search,
                    step=read_card(run).step,
                    with_both="both" in acting,
                    started=lambda who: messages().print(f"acting: {who}", markup=False),
                )
        if kept.environment:
            write_yaml(out / SETTINGS, kept.to_mapping())
        entrants |= world_entrants(run, model, kept, training_seeds=_seeds_of(_sources(Path(run))))
    chosen = [_of_name(name, entrants) for name in policies or entrants]
    worlds: dict[str | None, Make] = {None: make}
    if shifts and isinstance(world, TableEnv):
        worlds |= {shift: partial(shifted, world, shift) for shift in SHIFTS}
    comparison = Comparison(
        environment=env,
        worlds=worlds,
        seeds=evaluation_seeds(seed, episodes),
        steps=limit,
        timed_steps=timed_steps,
    )
    kept = f"what is finished is kept in {out}; the same command goes on with it"
    with told_on_interrupt(lambda: kept), progress("acting") as tick:
        table = comparison.run(
            chosen,
            out,
            about={"command": command, "machine": _machine(), "date": time.strftime("%Y-%m-%d")},
            started=lambda who: messages().print(f"acting: {who}", markup=False),
            progress=tick,
        )
    table.save(out / TABLE)
    write_planning_report(table, out / PAGE)
    return table


def check_fits(run: Path, world: GoalEnvironment) -> WorldModel:
    """A run's world model, once it is known to be able to act in a world.

    Raises:
        CheckpointError: there is no run, or it is damaged.
        RunError: it is none of a world model.
        ConfigError: the environment's actions are not those of the model's robot.
    """
    model = load_world(run)
    low, high = model.config.robots[0].bounds()
    width = model.config.robots[0].action.width
    space = action_space(world)
    if len(space) != width:
        raise ConfigError(
            f"{run} was trained with actions of {width} numbers, the environment takes {len(space)}"
        )
    reach = torch.from_numpy(low[:width]) < space.low - 1e-6
    if (reach | (torch.from_numpy(high[:width]) > space.high + 1e-6)).any():
        raise ConfigError(
            f"{run} was trained with actions from {low[:width].tolist()} to "
            f"{high[:width].tolist()}, the environment takes {space.low.tolist()} to "
            f"{space.high.tolist()}"
        )
    return model


def _packed(run: Path, env: str) -> WorldPolicies:
    """What a packed model brings along for an environment; if nothing, the defaults, of none.

    Raises:
        ConfigError: it cannot be read.
    """
    if not (run / SETTINGS).exists():
        return WorldPolicies()
    kept = WorldPolicies.from_mapping(read_yaml(run / SETTINGS))
    return kept if kept.environment == env else WorldPolicies()


def _sources(run: Path) -> tuple[str, ...]:
    """The recordings that a run was trained on, as far as they are known."""
    found = find_run(run)
    return RunDirectory(found).read_info().data.sources if found else ()


def _seeds_of(recordings: Iterable[str | Path]) -> list[range]:
    """The seeds that recordings were reset with, of those that say it."""
    collections = map(Collection.of, recordings)
    return [one.reset_seeds for one in collections if one is not None]


def own_policies(data: str | Path | None, make: Make, cloning: CloningConfig) -> dict[str, Entrant]:
    """The policies that need no world model, by their short names.

    Args:
        data: episodes to imitate; None: nothing is imitated.
    """
    planner = {"planner": ORACLE_PLANNER.to_mapping(), "own_weight": OWN_WEIGHT}
    entrants = {
        "zero": Entrant("zero action", "zero", _zero, shifted=False),
        "random": Entrant("random actions", "random", _random, shifted=False),
        "oracle": Entrant("planner in the true world", "oracle", _oracle, planner, shifted=False),
    }
    if data is not None:
        learned = cache(partial(_learned, open_episodes(data), make, cloning))
        entrants["cloning"] = Entrant(
            "behaviour cloning",
            "cloning",
            lambda world: CloningPolicy(learned()),
            {"data": _identity(Path(data)), **cloning.to_mapping()},
            training_seeds=_seeds_of([data]),
        )
    return entrants


def _zero(make: Make) -> ZeroAction:
    return ZeroAction(action_space(make()))


def _random(make: Make) -> RandomActions:
    return RandomActions(action_space(make()))


def _oracle(make: Make) -> Oracle:
    world = make()
    return Oracle(true_world(world), action_space(world))


def _learned(episodes: Episodes, make: Make, config: CloningConfig) -> Cloned:
    messages().print("imitating the episodes", markup=False)
    return clone(episodes, action_space(make()), config)


def action_space(env: GoalEnvironment) -> ActionSpace:
    """The bounds of an environment's actions, as planners take them."""
    return ActionSpace.within(env.action_space.low, env.action_space.high)


def _of_name(name: str, entrants: Mapping[str, Entrant]) -> Entrant:
    if name in entrants:
        return entrants[name]
    told = did_you_mean(name, entrants)
    if name == "cloning":
        told = "it imitates recorded episodes: name them (--data)"
    raise ConfigError(f"there is no policy {name!r} here; {told}")


def _identity(data: Path) -> dict[str, Any]:
    """What tells recordings apart without reading them."""
    info = data / "meta" / "info.json"
    place = info if info.exists() else data
    known = place.stat() if place.exists() else None
    return {"path": str(data.absolute()), "changed": known and known.st_mtime}


def _machine() -> str:
    return f"{cpu_name()}, {usable_cores()} cores"
