"""All that a report on a world model holds, measured on episodes that are new to it."""

from dataclasses import dataclass, field

import numpy as np
import pydantic

from nexus.config import Config
from nexus.control.dynamics import Dynamics
from nexus.control.model_policy import action_space
from nexus.control.trust.actions import action_rows
from nexus.control.trust.errors import episode_spread, error_rows, squares, step_errors
from nexus.control.trust.excerpts import Excerpts
from nexus.control.trust.films import world_films
from nexus.control.trust.landscapes import landscape
from nexus.control.trust.places import place_rows
from nexus.control.trust.ranks import action_sequences, rank_rows
from nexus.control.trust.rollouts import rolled_out
from nexus.control.trust.seen import SeenEpisode, seen_episodes, truth_schema
from nexus.control.trust.verdict import world_verdict
from nexus.data.episodes.stretches import Stretches
from nexus.errors import ConfigError, DataError, did_you_mean
from nexus.runs.world import WorldFilms, WorldReport

MOST_NUMBERS = 64_000_000
"""Of all latents together that are kept at once: 256 MB."""


class TrustConfig(Config):
    """How much is measured."""

    steps: pydantic.PositiveInt = 8
    """Model steps that are foretold, where episodes are as long."""
    excerpts: int = pydantic.Field(default=256, ge=2)
    """Stretches of episodes that errors are measured on, at most."""
    ranked: pydantic.PositiveInt = 48
    """Of these, so many for ranks."""
    candidates: pydantic.PositiveInt = 64
    """Random actions beside the true ones."""
    judged_episodes: pydantic.PositiveInt = 100
    """Evenly of those there are, at most."""
    fitted_episodes: pydantic.PositiveInt = 100
    """That probes are fitted on, at most."""
    pictured: pydantic.NonNegativeInt = 3
    """Excerpts that films and landscapes are drawn of."""
    dimensions: tuple[str, str] | None = None
    """Of the action, for the landscape; null: the first two."""
    seed: pydantic.NonNegativeInt = 0


@dataclass(frozen=True, eq=False)
class Trial:
    """What a model is judged on, and what probes are fitted on.

    `apart`: the fitted episodes are those that the model was trained on. Otherwise nothing is
    known of its error in training.
    """

    judged: Stretches
    judged_indices: tuple[int, ...]
    fitted: Stretches
    fitted_indices: tuple[int, ...]
    source: str
    choice: str
    apart: bool = True
    notes: tuple[str, ...] = field(default=())


def measured(
    model: Dynamics,
    trial: Trial,
    robot_number: int = 0,
    config: TrustConfig | None = None,
    step: int | None = None,
) -> tuple[WorldReport, WorldFilms | None]:
    """The report, and films of some excerpts (None: none are asked for).

    Args:
        model: in eval mode.
        robot_number: of the robot whose episodes they are.
        step: of the training, for the record.

    Raises:
        DataError: no episode is long enough, or none can be read.
        ConfigError: there is no such dimension of the action.
    """
    config = config or TrustConfig()
    robot, seed = model.config.robots[robot_number], config.seed
    pair = _dimensions(robot.action.names, config.dimensions)
    numbers = int(np.prod(model.config.latent_shape))
    looked_at = _affordable(trial.judged, trial.judged_indices, config.judged_episodes, numbers)
    judged = seen_episodes(model, trial.judged, looked_at)
    judged, short, steps = _long_enough(judged, model.config.context, config.steps, trial)
    chosen = _affordable(trial.fitted, trial.fitted_indices, config.fitted_episodes, numbers)
    fitted = seen_episodes(model, trial.fitted, chosen)
    if not fitted:
        raise DataError(f"{trial.fitted.episodes.source}: no episode could be read to fit probes")
    count = min(config.excerpts, max(2, MOST_NUMBERS // (3 * steps * numbers)))
    excerpts = Excerpts.cut(judged, model.config.context, steps, count, seed)
    foretold, states = rolled_out(model, excerpts, robot_number)
    errors = step_errors(model, excerpts, robot_number, seed, (foretold, states))
    in_training = None
    if trial.apart:
        in_training = _training_errors(model, fitted, steps, count, robot_number, seed)
    rows = error_rows(errors, excerpts, robot.rate, seed, in_training)
    space = action_space(robot)
    some = Excerpts.cut(judged, model.config.context, steps, min(config.ranked, count), seed)
    like = action_sequences(_long(fitted, steps) or judged, steps)
    horizons = sorted({1, (steps + 1) // 2, steps})
    ranks = rank_rows(model, some, robot_number, horizons, like, config.candidates, space, seed)
    places = ()
    schema = truth_schema(trial.judged.episodes)
    if schema is not None and _same(schema, truth_schema(trial.fitted.episodes)):
        places = place_rows(fitted, judged, excerpts, foretold, schema)
    actions = action_rows(model, robot, robot_number, fitted, judged, excerpts, seed)
    shown = _spread(tuple(range(len(excerpts))), config.pictured)
    films = None
    if shown:
        films = world_films(excerpts, foretold, shown, fitted, trial.fitted, trial.judged)
    drawn = (
        ()
        if pair is None
        else tuple(
            landscape(model, excerpts, row, robot, robot_number, pair, space) for row in shown
        )
    )
    calibration = None
    if in_training is not None:
        calibration = float(errors.model.mean() / max(in_training.mean(), 1e-12))
    used = tuple(sorted({one.index for one in judged}))
    report = WorldReport(
        verdict=world_verdict(rows, ranks, places, actions, calibration, len(used)),
        robot=robot.name,
        step=step,
        source=trial.source,
        choice=trial.choice,
        episodes=used,
        excerpts=len(excerpts),
        fitted_source=str(trial.fitted.episodes.source),
        fitted=tuple(one.index for one in fitted),
        candidates=config.candidates,
        seed=seed,
        errors=rows,
        ranks=ranks,
        places=places,
        places_of="simulator" if trial.judged.episodes.environment else "robot",
        actions=actions,
        landscapes=drawn,
        calibration=calibration,
        spread=episode_spread(errors.model, excerpts.episode),
        notes=(*trial.notes, *short, *_failures(trial)),
    )
    return report, films


def _long_enough(
    episodes: list[SeenEpisode], context: int, steps: int, trial: Trial
) -> tuple[list[SeenEpisode], list[str], int]:
    """The episodes that are foretold over as many steps as half of them allow, and how many."""
    if not episodes:
        raise DataError(f"{trial.source}: no episode can be judged: {_first_failure(trial)}")
    lengths = [len(one) for one in episodes]
    steps = min(steps, int(np.median(lengths)) - context)
    if steps < 1:
        raise DataError(
            f"{trial.source}: half of the episodes have no more than {int(np.median(lengths))} "
            f"frames a model step apart; the model sees {context}, and then nothing is left to "
            "foretell"
        )
    kept = [one for one in episodes if len(one) >= context + steps]
    left = [str(one.index) for one in episodes if len(one) < context + steps]
    notes = [f"too short for {steps} steps, left out: episodes {', '.join(left)}"] if left else []
    return kept, notes, steps


def _training_errors(model, fitted, steps, count, robot, seed):
    long = _long(list(fitted), model.config.context + steps - 1)
    if not long:
        return None
    excerpts = Excerpts.cut(long, model.config.context, steps, count, seed)
    return squares(rolled_out(model, excerpts, robot)[0], excerpts.targets)


def _long(episodes: list[SeenEpisode], steps: int) -> list[SeenEpisode]:
    return [one for one in episodes if len(one) > steps]


def _affordable(
    stretches: Stretches, indices: tuple[int, ...], most: int, numbers: int
) -> tuple[int, ...]:
    """Evenly as many episodes as may be kept beside one another, with so many numbers a frame."""
    usable = tuple(index for index in indices if index not in stretches.failures)
    longest = max((len(stretches.numbers(index)) for index in usable), default=1)
    return _spread(usable, max(1, min(most, MOST_NUMBERS // (longest * numbers))))


def _spread(items: tuple[int, ...], count: int) -> tuple[int, ...]:
    """So many of them, evenly."""
    if count >= len(items):
        return items
    places = np.linspace(0, len(items) - 1, count).round().astype(int) if count else []
    return tuple(items[place] for place in places)


def _dimensions(names: tuple[str, ...], chosen: tuple[str, str] | None) -> tuple[int, int] | None:
    if chosen is None:
        return (0, 1) if len(names) > 1 else None
    for name in chosen:
        if name not in names:
            raise ConfigError(f"the action has no dimension {name!r}; {did_you_mean(name, names)}")
    if chosen[0] == chosen[1]:
        raise ConfigError(f"a landscape is over two dimensions; got {chosen[0]!r} twice")
    return names.index(chosen[0]), names.index(chosen[1])


def _same(schema, other) -> bool:
    return other is not None and schema.names == other.names


def _first_failure(trial: Trial) -> str:
    return next(iter(trial.judged.failures.values()), "there is none")


def _failures(trial: Trial) -> list[str]:
    return [reason for part in (trial.judged, trial.fitted) for reason in part.failures.values()]
