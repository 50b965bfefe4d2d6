"""Configs are frozen and validated; files and overrides become mappings or clear errors."""

import difflib
from pathlib import Path
from typing import Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.config import Config, merge, parse_overrides, read_yaml, write_yaml
from nexus.errors import ConfigError, NexusError, did_you_mean


class Inner(Config):
    rate: pydantic.PositiveFloat = 0.1
    kind: Literal["warm", "cold"] = "warm"


class Outer(Config):
    steps: int = 10
    name: str = "run"
    inner: Inner = Inner()


def test_a_mapping_becomes_a_config_with_defaults() -> None:
    config = Outer.from_mapping({"inner": {"rate": 0.5}})
    assert (config.steps, config.inner.rate, config.inner.kind) == (10, 0.5, "warm")
    assert config.to_mapping() == {
        "steps": 10,
        "name": "run",
        "inner": {"rate": 0.5, "kind": "warm"},
    }
    assert Outer.from_mapping(config.to_mapping()) == config


def test_a_config_cannot_be_changed_only_replaced() -> None:
    config = Outer(steps=3)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.steps = 4  # pyright: ignore
    changed = config.with_changes(name="other")
    assert (changed.steps, changed.name, config.name) == (3, "other", "run")
    with pytest.raises(ConfigError, match="unknown key 'nam'; did you mean 'name'"):
        config.with_changes(nam="other")


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"step": 3}, ["unknown key 'step'; did you mean 'steps'?", "inner, name, steps"]),
        (
            {"inner": {"rat": 3}},
            ["unknown key 'inner.rat'; did you mean 'inner.rate'?", "kind, rate"],
        ),
        ({"rate": 3}, ["unknown key 'rate'; did you mean 'inner.rate'?"]),
        ({"nothing alike": 3}, ["unknown key 'nothing alike'; known: inner, name, steps"]),
        ({"steps": "many"}, ["steps: got 'many'", "valid integer"]),
        ({"steps": 1.5}, ["steps: got 1.5"]),
        ({"inner": {"rate": -1}}, ["inner.rate: got -1", "greater than 0"]),
        ({"inner": {"kind": "hot"}}, ["inner.kind: got 'hot'", "'warm' or 'cold'"]),
        ({"inner": 3}, ["inner: got 3"]),
        ({"inner": {"rate": float("inf")}}, ["inner.rate: got inf", "finite"]),
        ({"inner": {"rate": float("nan")}}, ["inner.rate: got nan"]),
        ({"step": 3, "steps": "x", "inner": {"rate": 0}}, ["Outer: 3 problems"]),
    ],
)
def test_what_is_wrong_is_named(mapping: dict, says: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Outer.from_mapping(mapping)
    for words in says:
        assert words in str(caught.value)
    assert isinstance(caught.value, NexusError)


@given(st.text(min_size=1).filter(lambda text: text not in Outer.model_fields))
def test_any_unknown_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        Outer.from_mapping({key: 1})


def test_overrides_are_yaml_at_dotted_keys() -> None:
    assert parse_overrides(
        ["optim.lr=3e-4", "model.factorized=false", "model.img_size=[32, 48]", "name=a=b", "x="]
    ) == {
        "optim": {"lr": "3e-4"},  # YAML 1.1 has no such number; validation makes it one
        "model": {"factorized": False, "img_size": [32, 48]},
        "name": "a=b",
        "x": None,
    }
    assert Outer.from_mapping(parse_overrides(["inner.rate=3e-4"])).inner.rate == 3e-4
    assert parse_overrides([]) == {}
    assert parse_overrides(["a.b=1", "a.b=2"]) == {"a": {"b": 2}}


@pytest.mark.parametrize("item", ["steps", "=3", " =3", "steps 3"])
def test_an_override_without_a_key_or_a_value_is_refused(item: str) -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        parse_overrides([item])


def test_an_override_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(ConfigError, match="the value is not YAML"):
        parse_overrides(["name=[1, 2"])


def test_merging_goes_down_into_mappings_and_replaces_the_rest() -> None:
    base = {"a": {"x": 1, "y": {"z": 2}}, "b": [1, 2], "c": 3}
    layer = {"a": {"y": {"w": 4}}, "b": [5], "c": {"new": 1}}
    assert merge(base, layer) == {
        "a": {"x": 1, "y": {"z": 2, "w": 4}},
        "b": [5],
        "c": {"new": 1},
    }
    assert base == {"a": {"x": 1, "y": {"z": 2}}, "b": [1, 2], "c": 3}


def test_yaml_files_go_out_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "recipe.yaml"
    value = {"name": "gr\u00fcn", "inner": {"rate": 0.5}, "aaa": [1, 2]}
    write_yaml(path, value)
    assert read_yaml(path) == value
    assert list(read_yaml(path)) == ["name", "inner", "aaa"]
    assert [file.name for file in path.parent.iterdir()] == ["recipe.yaml"]


@pytest.mark.parametrize(
    ("text", "says"),
    [("a: [1", "cannot read"), ("- 1\n- 2\n", "got list"), ("", "got NoneType"), ("7", "got int")],
)
def test_a_file_without_settings_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="cannot read the configuration file"):
        read_yaml(tmp_path / "binary.yaml")


WORDS = ["steps", "seed", "device", "momentum", "num_heads", "mask_ratio", "lr", "warmup"]


@given(st.sampled_from(WORDS), st.integers(0, 3), st.integers(0, 40))
def test_near_names_alone_are_offered_and_long_lists_are_not_shown(name, cut, others):
    known = [*WORDS, *(f"zz{number}" for number in range(others))]
    told = did_you_mean(name[cut:] + "x" * (cut == 0), known, "the manual", "group.")
    alike = difflib.SequenceMatcher(None, name[cut:] + "x" * (cut == 0), name).ratio()
    assert (f"'group.{name}'" in told) == (alike >= 0.6)
    assert "?" not in told or "zz" not in told.partition("?")[0]
    if len(known) > 20:
        assert f"are {len(known)}, listed in the manual" in told and "zz9" not in told
    else:
        assert f"nown: {', '.join(known)}" in told


def test_nothing_is_offered_where_nothing_is_near():
    assert did_you_mean("qqqq", WORDS) == f"known: {', '.join(WORDS)}"
    assert did_you_mean("qqqq", []) == "known: none"


def test_a_choice_with_its_settings_takes_the_place_of_another():
    base = {"model": {"encoder": {"kind": "keypoints", "points": 4}, "size": 64}}
    given = ["model.encoder={kind: vit, depth: 2}", "model.encoder.heads=3"]
    assert merge(base, parse_overrides(given)) == {
        "model": {"encoder": {"kind": "vit", "depth": 2, "heads": 3}, "size": 64}
    }
    # A key of it, and a mapping that is no choice, change what is there.
    assert merge(base, parse_overrides(["model.encoder.points=8", "model={size: 32}"])) == {
        "model": {"encoder": {"kind": "keypoints", "points": 8}, "size": 32}
    }
