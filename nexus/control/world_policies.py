"""The policies that a world model's run takes part with, and how its cost's weights are chosen.

picture alone            the goal is a picture
proprioception alone     the goal is where the robot was in it
both                     what most published numbers are: see which of the two does the work
untrained                the same planner and cost, with a model that has learned nothing
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pydantic
import torch

from nexus.checkpoints.files import load_checkpoint_model, read_card
from nexus.config import Config
from nexus.control.choosing import FROM_A_PICTURE, FROM_PATCHES, OWN_WEIGHTS, choose, told
from nexus.control.comparison import Entrant
from nexus.control.goal_cost import CostConfig
from nexus.control.model_policy import ModelPolicy, PlanningConfig
from nexus.control.playing import Make
from nexus.errors import RunError
from nexus.models.worlds.world import WorldModel
from nexus.runs.control import PolicyRole


class WorldPolicies(Config):
    """Weights of the cost's terms in each row, and how plans are searched for.

    Kept as `planning.yaml`, so that a model that is passed on plans as it did here.
    """

    environment: str | None = None
    """That in which they were chosen."""
    picture: CostConfig = CostConfig(picture=1.0)
    both: CostConfig = CostConfig(picture=1.0, proprioception=0.1)
    proprioception: CostConfig = CostConfig(picture=0.0, proprioception=1.0)
    planning: PlanningConfig = PlanningConfig()
    untrained_seed: pydantic.NonNegativeInt = 0


def load_world(run: str | Path, device: str | torch.device = "cpu") -> WorldModel:
    """The world model of a run or checkpoint, in eval mode.

    Raises:
        CheckpointError: there is none, or it is damaged.
        RunError: it holds a model of another kind.
    """
    card = read_card(run)
    if card.kind != "world":
        raise RunError(
            f"{run} holds a model of kind {card.kind!r}, which knows no actions; train a world "
            "model with `nexus world train`"
        )
    model = load_checkpoint_model(run, device=device)
    assert isinstance(model, WorldModel)
    return model


def world_entrants(
    run: str | Path,
    model: WorldModel,
    settings: WorldPolicies | None = None,
    *,
    training_seeds: Sequence[range] = (),
) -> dict[str, Entrant]:
    """What takes part for a run, by short names.

    Args:
        model: that of the run, see `load_world`.
        training_seeds: of the episodes that it was trained on, a range a recording.
    """
    settings = settings or WorldPolicies()
    identity = {"run": str(Path(run).absolute()), "step": read_card(run).step}

    def entrant(name: str, cost: CostConfig, role: PolicyRole, trained: bool = True) -> Entrant:
        def make(_: Make) -> ModelPolicy:
            acting = model if trained else untrained(model, settings.untrained_seed)
            return ModelPolicy(acting, name=name, cost=cost, planning=settings.planning)

        known = {**identity, "cost": cost.to_mapping(), "planning": settings.planning.to_mapping()}
        seeds = training_seeds if trained else ()
        shifted = role == "picture"
        return Entrant(name, role, make, known, shifted=shifted, training_seeds=seeds)

    entrants = {"picture": entrant("planner, picture alone", settings.picture, "picture")}
    if model.config.robots[0].state_width:
        entrants["proprioception"] = entrant(
            "planner, proprioception alone", settings.proprioception, "proprioception"
        )
        entrants["both"] = entrant("planner, both", settings.both, "both")
    entrants["untrained"] = entrant(
        "planner, untrained model", settings.picture, "untrained", trained=False
    )
    return entrants


def chosen_on_validation(
    model: WorldModel,
    make: Make,
    seeds: Sequence[int],
    *,
    steps: int,
    record: Path,
    environment: str,
    planning: PlanningConfig | None = None,
    step: int = 0,
    with_both: bool = True,
    started: Callable[[str], None] | None = None,
) -> WorldPolicies:
    """The weights that reach most validation goals, of those that `nexus.control.choosing` names.

    Args:
        planning: how plans are searched for.
        step: of the model's training; a record of another one counts no more.
        with_both: also those of a goal that is a picture and proprioception.

    Others: see `nexus.control.choosing.choose`.
    """
    planning = planning or PlanningConfig()

    def best(candidates: Sequence[CostConfig]) -> CostConfig:
        return choose(
            lambda cost: ModelPolicy(model, name=told(cost), cost=cost, planning=planning),
            candidates,
            make,
            seeds,
            steps=steps,
            record=record,
            environment=environment,
            about={"step": step, "planning": planning.to_mapping()},
            started=started,
        )

    tells_things, tokens = model.config.slow_dim > 0, model.config.latent_shape[0]
    tried = [one for one in FROM_A_PICTURE if tells_things or not one.things]
    picture = best([*tried, *FROM_PATCHES] if tokens > 1 else tried)
    both = picture.with_changes(proprioception=OWN_WEIGHTS[-1])
    if with_both and model.config.robots[0].state_width:
        both = best([picture.with_changes(proprioception=weight) for weight in OWN_WEIGHTS])
    return WorldPolicies(environment=environment, picture=picture, both=both, planning=planning)


def untrained(model: WorldModel, seed: int) -> WorldModel:
    """A model of the same settings that has learned nothing; one trained before stays the same."""
    state = torch.get_rng_state()
    try:
        torch.manual_seed(seed)
        fresh = WorldModel(model.config)
    finally:
        torch.set_rng_state(state)
    if model.config.frozen:
        fresh.encoder.load_state_dict(model.encoder.state_dict())
    return fresh.to(next(model.parameters()).device).eval()
