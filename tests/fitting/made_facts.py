"""Videos in numbers, and what steps and clips cost, made up for the tests of a choice."""

from pathlib import Path

from hypothesis import strategies as st

from nexus.config import parse_overrides
from nexus.data.catalog.catalog import Catalog, VideoRecord
from nexus.fitting.cost import LoadCost, Machine, StepCost
from nexus.fitting.facts import VideoFacts
from nexus.fitting.movement import SPACINGS, Movement
from nexus.fitting.plan import Planner
from nexus.training.recipe import Recipe, load_recipe

BASE = "footage"
CPU = Machine(cores=2, device="cpu", memory=8_000_000_000)
MOVING = Movement(SPACINGS, (2.0, 5.0, 8.0, 18.0, 32.0, 58.0, 75.0), 0.0, 12)


def videos(seconds, fps=25.0, count=400, side=240, movement=MOVING):
    durations = tuple(seconds) if isinstance(seconds, list | tuple) else (seconds,) * count
    count = len(durations)
    frames = tuple(max(1, round(duration * fps)) for duration in durations)
    return VideoFacts(durations, frames, (fps,) * count, (side,) * count, movement)


def catalog_of(facts: VideoFacts) -> Catalog:
    columns = zip(facts.durations, facts.frames, facts.rates, facts.short_sides, strict=True)
    records = tuple(
        VideoRecord(
            Path(f"/v/{n}.mp4"), f"{n}.mp4", "video", frames, fps, seconds, side, side, "h264",
            False, {},
        )
        for n, (seconds, frames, fps, side) in enumerate(columns)
    )  # fmt: skip
    return Catalog("videos", records, ())


def step_cost(recipe: Recipe, speed: float = 1.0) -> StepCost:
    """By the products of a step; at `speed` 1 one of the base takes half a second."""
    return StepCost(0.5 * _products(recipe) / _products(load_recipe(BASE)) / speed)


def _products(recipe: Recipe) -> float:
    model = recipe.model.to_mapping()
    clip = recipe.stages[0].clip
    tokens = clip.num_frames / model["tubelet_size"]
    for side in clip.size:
        tokens *= side / model["patch_size"]
    depth = model["num_spatial_layers"] + model["num_temporal_layers"]
    products = 12 * tokens * depth * model["encoder_dim"] ** 2 + tokens**2 * model["encoder_dim"]
    return products * recipe.training.batch_size


def load_cost(*_given) -> LoadCost:
    return LoadCost(0.02, 0.001, 0.001, 20_000, 200_000_000)


def planned(videos, *overrides, minutes=20.0, speed=1.0, machine=CPU):
    planner = Planner(
        BASE,
        parse_overrides(overrides),
        minutes,
        step=lambda recipe, _limit: step_cost(recipe, speed),
        load=load_cost,
        machine=machine,
    )
    return planner.plan(catalog_of(videos), videos.movement)


seconds = st.floats(0.3, 900, allow_nan=False)
facts = st.builds(
    videos,
    st.lists(seconds, min_size=1, max_size=40),
    fps=st.sampled_from([5.0, 8.0, 12.5, 16.0, 23.976, 25.0, 29.97, 60.0]),
    side=st.integers(16, 1080),
    movement=st.one_of(
        st.just(Movement()),
        st.builds(
            lambda changes: Movement(SPACINGS, tuple(sorted(changes)), 0.0, 9),
            st.lists(st.floats(0, 200), min_size=7, max_size=7),
        ),
    ),
)
