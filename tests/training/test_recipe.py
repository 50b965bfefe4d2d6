from pathlib import Path

import pytest

from nexus.config import read_yaml, write_yaml
from nexus.data.clip_spec import ClipSpec
from nexus.errors import ConfigError
from nexus.models.ssl import VJEPAConfig, build_model
from nexus.training.curriculum import Stage
from nexus.training.recipe import Recipe, load_recipe, recipe_names

ASSETS = Path(__file__).parents[1] / "assets/v0.1"


@pytest.mark.parametrize("name", ["seed", "small", "footage", "vjepa2", "vjepa2.1"])
def test_shipped_recipes_load_and_survive_a_round_trip(name, tmp_path):
    recipe = load_recipe(name)
    assert recipe.name == name in recipe_names()
    write_yaml(tmp_path / "recipe.yaml", recipe.to_mapping())
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_the_seed_recipe_is_the_seeds_model():
    seed = load_recipe("seed").model_settings
    assert seed == VJEPAConfig(ema_steps=100_000)
    assert seed.regularizer == "none"


def test_the_small_recipe_has_its_anti_collapse_term_and_can_be_built():
    recipe = load_recipe("small")
    settings = recipe.model_settings
    assert settings.regularizer == "variance_covariance" and settings.regularizer_weight == 0.03
    assert settings.depth == 3 and settings.encoder_dim == 96
    model = build_model(settings)
    assert sum(p.numel() for p in model.context_encoder.parameters()) < 500_000


def test_overrides_reach_every_level():
    recipe = load_recipe(
        "small", ["optim.lr=3e-4", "model.num_heads=8", "data.clip.stride=2", "training.steps=7"]
    )
    assert recipe.optim.lr == 3e-4
    assert recipe.model_settings.num_heads == 8
    assert recipe.data.clip.stride == 2
    assert recipe.training.steps == 7


def test_the_target_encoders_schedule_follows_the_length_of_the_run():
    assert load_recipe("small", ["training.steps=77"]).model_settings.ema_steps == 77
    fixed = load_recipe("small", ["training.steps=77", "model.ema_steps=5"])
    assert fixed.model_settings.ema_steps == 5
    # ... also when the resolved recipe of a run is used again for a longer one.
    again = load_recipe("small").to_mapping()
    again["training"]["steps"] = 99
    assert Recipe.from_mapping(again).model_settings.ema_steps == 99


def test_clips_are_as_long_as_the_model_says():
    assert load_recipe("small", ["model.num_frames=12"]).data.clip.num_frames == 12
    with pytest.raises(ConfigError, match="num_frames is 4 and model.num_frames is 8"):
        load_recipe("small", ["data.clip.num_frames=4"])


def test_the_curriculum():
    assert load_recipe("small").stages == (Stage(0, ClipSpec(num_frames=8, size=32)),)
    recipe = load_recipe("small", ["training.curriculum=[[0, 4], [100, 8, 64]]"])
    assert recipe.stages == (
        Stage(0, ClipSpec(num_frames=4, size=32)),
        Stage(100, ClipSpec(num_frames=8, size=64)),
    )
    assert Recipe.from_mapping(recipe.to_mapping()).stages == recipe.stages
    for steps, last in ((0, 0), (100, 0), (101, 1), (1000, 1)):  # a short run ends early
        ended = recipe.with_changes(training=recipe.training.with_changes(steps=steps))
        assert ended.final_clip == recipe.stages[last].clip


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "[[0, 4], [5, 9]]",
            "the row of step 5: .*num_frames 9 is not a multiple of tubelet_size 2",
        ),
        ("[[0, 4, 36]]", r"the row of step 0: .*img_size .*36.* is not a multiple of patch_size 8"),
        ("[[0, 4, [32, 36]]]", r"img_size \(32, 36\) is not a multiple of patch_size 8"),
        ("[[0, 4], [9, 2]]", "the row of step 9: .* needs at least two time steps, got 1"),
        ("[[0, 4, 32, 1]]", r"training\.curriculum\.0: got \[0, 4, 32, 1\]; expected \[first step"),
        ("[[0, 4, wide]]", r"training\.curriculum\.0: got \[0, 4, 'wide'\]; expected"),
        ("[[0]]", r"training\.curriculum\.0: got \[0\]; expected"),
    ],
)
def test_a_curriculum_that_the_model_cannot_follow_is_refused(table, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe("small", [f"training.curriculum={table}"])


def test_warm_up_and_cooldown_have_to_fit_into_the_run():
    constant = ["optim.schedule=constant", "optim.warmup_steps=6", "optim.cooldown_steps=5"]
    assert load_recipe("small", [*constant, "training.steps=11"]).optim.cooldown_steps == 5
    with pytest.raises(ConfigError, match="6 and .*cooldown_steps 5 do not fit into .*steps 10"):
        load_recipe("small", [*constant, "training.steps=10"])
    load_recipe("small", [*constant, "training.steps=0"])  # the untrained arm


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lrr=1", r"'optim\.lrr'; did you mean 'optim\.lr'\?"),
        ("model.encoder_dmi=1", r"model: unknown key 'encoder_dmi'; did you mean 'encoder_dim'"),
        ("data.clip.stride_=1", r"did you mean 'data\.clip\.stride'"),
        ("training.stepz=1", r"did you mean 'training\.steps'"),
        ("data.augment={flp: 1}", r"did you mean 'data\.augment\.flip'"),
        ("optm.lr=1", r"'optm'; did you mean 'optim'"),
        ("steps=5", r"unknown key 'steps'; did you mean 'training\.steps'\?$"),
        ("model.qqqq=1", r"model: unknown key 'qqqq'; there are \d+, listed in the recipe\.yaml"),
        ("model.kind=v_jepa", r"model: unknown kind of model 'v_jepa'; did you mean 'vjepa'"),
        ("kind=v_jepa", r"model: unknown kind of model 'v_jepa'; did you mean 'vjepa'"),
        ("model=tiny", r"model: got 'tiny'"),
        ("training.steps=-1", r"training\.steps: got -1"),
        ("training.precision=fp8", r"training\.precision: got 'fp8'"),
        ("training.threads=0", r"training\.threads"),
        ("kind=pixels", "unknown key 'ema_momentum'"),
        ("model.kind=pixels", "unknown key 'ema_momentum'"),
    ],
)
def test_a_wrong_key_or_value_is_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe("small", [override])


def test_an_unknown_recipe_names_the_nearest_and_all():
    with pytest.raises(
        ConfigError, match=r"'smal'; did you mean 'small'\? Known: adapt, footage, seed, small"
    ):
        load_recipe("smal")


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    write_yaml(path, {"model": {"kind": "pixels", "target": "normalised"}})
    recipe = load_recipe(path, {"training": {"steps": 3}})
    assert recipe.name == "mine" and recipe.model.kind == "pixels"
    assert recipe.model.target == "normalised" and recipe.model.encoder_dim == 768
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_recipe(tmp_path / "nowhere.yaml")


def test_worker_processes_follow_the_machine(monkeypatch):
    assert load_recipe("seed").data.num_workers == "auto"
    for cores, workers in ((1, 1), (2, 2), (64, 8)):
        monkeypatch.setattr("nexus.training.recipe.usable_cores", lambda cores=cores: cores)
        assert load_recipe("seed").data.workers == workers
        assert load_recipe("seed", ["data.num_workers=12"]).data.workers == 12
        assert load_recipe("small").data.workers == 0


def test_a_recipe_of_before_has_its_kind_beside_the_model():
    old = {"name": "old", "kind": "pixels", "model": {"target": "normalised"}}
    new = {"name": "old", "model": {"kind": "pixels", "target": "normalised"}}
    assert Recipe.from_mapping(old) == Recipe.from_mapping(new)
    with pytest.raises(ConfigError, match="kind is 'vjepa' and kind, its old name, 'pixels'"):
        Recipe.from_mapping({**old, "model": {"kind": "vjepa"}})


@pytest.mark.parametrize("run", ["finished", "interrupted", "pixels"])
def test_a_recipe_round_trips_bit_for_bit_whatever_its_age(run):
    written = read_yaml(ASSETS / run / "recipe.yaml")
    recipe = Recipe.from_mapping(written)
    again = recipe.to_mapping()
    assert Recipe.from_mapping(again) == recipe and Recipe.from_mapping(again).to_mapping() == again
    assert again["model"].pop("kind") == written["kind"]
    added = {"encoder": "vit", "objective": "jepa", "ema_steps": None, "mask_trim": "random"}
    for key, value in again["model"].items():
        assert written["model"].get(key, added.get(key)) == value
