"""A plan of a run: look at the videos, try sizes, choose, and say what was chosen and why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nexus.atomic import write_text
from nexus.config import merge
from nexus.data.catalog.catalog import Catalog
from nexus.data.clip_spec import ClipSpec
from nexus.errors import ConfigError, DataError
from nexus.fitting import words
from nexus.fitting.choice import (
    FEWER,
    Candidate,
    climb,
    clips_of,
    length_settings,
    pick,
    schedule_settings,
)
from nexus.fitting.clips import choose_clips, share_held
from nexus.fitting.cost import LoadCost, Machine, StepCost, rehearse_loading, rehearse_step
from nexus.fitting.facts import VideoFacts, given_value
from nexus.fitting.loading import choose_loading
from nexus.fitting.movement import Movement
from nexus.fitting.sizes import LADDER, START, settings_of
from nexus.models.presets import expand_size
from nexus.runs.schema import PlanInfo
from nexus.training.recipe import Recipe, load_recipe

NAME = "planned"
"""The name of a recipe that was chosen."""
USED = 0.95
"""Share of the time that steps may take; the rest goes into logs and checkpoints."""


@dataclass(frozen=True)
class RunPlan:
    """What a run is going to be, and why.

    `lines` say it in three sentences, `objections` in one why it will hardly learn anything
    (mostly: ""); as text it is both.
    """

    recipe: Recipe
    lines: tuple[str, ...]
    objections: str

    @property
    def record(self) -> PlanInfo:
        """What the run keeps of it, beside the recipe."""
        return PlanInfo(lines=self.lines, objections=self.objections)

    def __str__(self) -> str:
        return str(self.record)

    def save(self, path: str | Path) -> None:
        """Write the recipe, to be edited and trained with `--recipe`; the lines stand above it.

        Raises:
            OutputError: it cannot be written.
        """
        told = "".join(f"# {line}\n" for line in self.lines)
        settings = yaml.safe_dump(self.recipe.to_mapping(), sort_keys=False, allow_unicode=True)
        write_text(path, f"{told}\n{settings}")


@dataclass
class Planner:
    """Makes a plan; what it measures with may be exchanged.

    Args:
        base: the recipe that is completed; what is not chosen stays as it is there.
        given: nested settings that are not to be chosen.
        minutes: that training may take.
        step, load: try a step of a recipe (which is of use within so many seconds), and clips of
            some videos.
        machine: what may be used; None: what there is.

    Raises:
        ConfigError: what is given does not go together, or there is no time.
    """

    base: str
    given: Mapping[str, Any]
    minutes: float
    step: Callable[[Recipe, float], StepCost | None] = rehearse_step
    load: Callable[..., LoadCost] = rehearse_loading
    machine: Machine | None = None
    _steps: dict[str, StepCost | None] = field(default_factory=dict, init=False)
    _loads: dict[ClipSpec, LoadCost] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.minutes < float("inf"):
            raise ConfigError(f"minutes {self.minutes:g}: expected a number above 0")
        model = self.given.get("model")
        if isinstance(model, Mapping):
            self.given = {**self.given, "model": expand_size(model)}
        self.own = load_recipe(self.base)
        kind, known = given_value(self.given, "model.kind"), self.own.model.kind
        if kind not in (None, known):
            raise ConfigError(
                f"model.kind={kind}: without a recipe a run of kind {known} is chosen; name a "
                "recipe of that kind as well (--recipe FILE.yaml), or leave model.kind out"
            )
        if given_value(self.given, "data.clip.stride") is not None:  # in place of the base's rate
            self.given = merge({"data": {"clip": {"fps": None}}}, self.given)
        # Before anything is looked at: whether what is given is acceptable at all.
        self.settings = self._recipe(self._sizes(START, side=self.own.data.clip.size[0]))
        self.here = self.machine or Machine.here(self.settings.training.device)

    def plan(self, training: Catalog, movement: Movement) -> RunPlan:
        """The plan for some videos.

        Raises:
            ConfigError: what is given does not go together, or not even one step fits.
            DataError: all videos are single pictures, or none holds a clip as it was asked for.
        """
        facts = VideoFacts.of(training, movement)
        if max(facts.frames) == 1:
            whose = f"all {len(facts):,} videos hold" if len(facts) > 1 else "the only video holds"
            raise DataError(
                f"{training.source}: {whose} a single frame; nexus learns from how things change, "
                "so give it videos"
            )

        def attempt(rung: int) -> Candidate | None:
            return self._attempt(rung, facts, training)

        tried = climb(len(LADDER), START, attempt)
        chosen = pick(tried)
        if chosen is None:
            raise ConfigError("not even the smallest step fits into the GPU's memory that is free")
        distinct = {candidate.recipe.model_dump_json() for candidate in tried.values()}
        return self._told(self._finished(chosen), facts, chosen, len(distinct))

    def _sizes(self, rung: int, *, side: int) -> dict[str, Any]:
        return settings_of(LADDER[rung], self.own, self.given, side=side)

    def _recipe(self, settings: Mapping[str, Any]) -> Recipe:
        return load_recipe(self.base, merge(merge({"name": NAME}, settings), self.given))

    def _attempt(self, rung: int, facts: VideoFacts, training: Catalog) -> Candidate | None:
        settings = self._settings(rung, facts)
        recipe = self._recipe(settings)
        key = recipe.with_changes(data={}, optim={}).model_dump_json()
        enough = round(self.own.training.steps * (1.0 if rung > START else FEWER))
        wanted = max(enough, given_value(self.given, "training.steps") or 0)
        seconds = 60.0 * self.minutes * USED
        if key not in self._steps:
            self._steps[key] = self.step(recipe, seconds / wanted)
        cost, clip = self._steps[key], recipe.stages[0].clip
        if cost is None:
            return None
        if clip not in self._loads:
            self._loads[clip] = self.load(clip, training, recipe.data.augment)
        loading = choose_loading(
            cost,
            self._loads[clip],
            self.here,
            self.given,
            clips=clips_of(recipe),
            seconds=seconds,
        )
        return Candidate(
            settings=merge(settings, loading.settings),
            recipe=recipe,
            loading=loading,
            steps=loading.steps_in(seconds),
            wanted=wanted,
        )

    def _settings(self, rung: int, facts: VideoFacts) -> dict[str, Any]:
        """Settings of a rung, with the clips that go with it."""
        clip = choose_clips(
            facts,
            self.given,
            usual=self.own.data.clip.num_frames,
            tubelet=self.settings.model.to_mapping()["tubelet_size"],
            longer=LADDER[rung].longer,
        )
        chosen = {key: getattr(clip, key) for key in ("fps", "stride", "pad", "clips_per_video")}
        settings = merge(
            self._sizes(rung, side=facts.common_side),
            {"model": {"num_frames": clip.num_frames}, "data": {"clip": chosen}},
        )
        if self.here.has_bf16:
            settings = merge(settings, {"training": {"precision": "bf16"}})
        data = self._recipe(settings).data
        side, augment = max(data.clip.size), data.augment
        kept = side if augment is None else round(side / augment.scale[0] ** 0.5)
        short_side = kept if max(facts.short_sides) > kept else None
        return merge(settings, {"data": {"clip": {"short_side": short_side}}})

    def _finished(self, chosen: Candidate) -> Recipe:
        given = given_value(self.given, "training.steps")
        steps = chosen.steps if given is None else given
        if given is None and steps < 1:
            raise ConfigError(
                f"not even one step fits into {words.spoken_minutes(self.minutes)}: one takes "
                f"{chosen.loading.step:.2g} s here, after {chosen.loading.once:.2g} s of decoding; "
                "give more --minutes"
            )
        length = length_settings(self.own, steps)
        schedule = schedule_settings(self.own, chosen.recipe, steps)
        return self._recipe(merge(merge(chosen.settings, length), schedule))

    def _told(self, recipe: Recipe, facts: VideoFacts, chosen: Candidate, tried: int) -> RunPlan:
        clip = recipe.data.clip
        different, held = facts.different_clips(clip), share_held(facts, clip)
        given = given_value(self.given, "training.steps") is not None
        minutes = None if given else self.minutes
        return RunPlan(
            recipe=recipe,
            lines=(
                words.clips(facts, clip, held),
                words.size(recipe, chosen, tried),
                words.length(facts, recipe, chosen, different, minutes),
            ),
            objections=words.objections(
                facts,
                different=different,
                held=held,
                steps=recipe.training.steps,
                minutes=minutes,
            ),
        )
