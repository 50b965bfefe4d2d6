"""Mappings, YAML files and `key=value` overrides become validated, frozen configs.

Each `Config` subclass stands beside the class that it configures. An unknown key stops the run and
the error names the nearest key that exists.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, get_args

import pydantic
import yaml

from nexus.atomic import write_text
from nexus.errors import ConfigError, did_you_mean


class Config(pydantic.BaseModel):
    """A frozen, keyword-only, fully validated group of settings."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Validate a plain mapping.

        Raises:
            ConfigError: naming each offending key, what was got and what is expected.
        """
        try:
            return cls.model_validate(dict(mapping))
        except pydantic.ValidationError as error:
            raise ConfigError(_explain(cls, error)) from None

    def to_mapping(self) -> dict[str, Any]:
        """The settings as plain JSON/YAML-ready values."""
        return self.model_dump(mode="json")

    def with_changes(self, **changes: Any) -> Self:
        """A copy with some settings changed, validated again."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return self.from_mapping({**given, **changes})


def _explain(cls: type[Config], error: pydantic.ValidationError) -> str:
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or cls.__name__
        if item["type"] == "extra_forbidden":
            lines.append(_unknown_key(cls, item["loc"]))
        elif item["type"] == "value_error":
            lines.append(f"{where}: {item.get('ctx', {}).get('error')}")
        else:
            lines.append(
                f"{where}: got {item['input']!r}; {item['msg'][0].lower()}{item['msg'][1:]}"
            )
    head = f"{cls.__name__}: {len(lines)} problem{'s' * (len(lines) > 1)} in the configuration"
    return "\n  - ".join([head, *lines])


def _unknown_key(cls: type[Config], location: tuple[int | str, ...]) -> str:
    owner: type[pydantic.BaseModel] = cls
    for part in location[:-1]:
        owner = _group(owner.model_fields.get(str(part))) or owner
    *groups, key = map(str, location)
    where = ".".join([*groups, key])
    elsewhere = [] if groups else [k for k in _nested(cls) if k.rpartition(".")[2] == key]
    if elsewhere:
        return f"unknown key {where!r}; did you mean {' or '.join(map(repr, elsewhere))}?"
    group = "".join(f"{part}." for part in groups)
    return f"unknown key {where!r}; " + did_you_mean(
        key, sorted(owner.model_fields), "the recipe.yaml of any run", group
    )


def _group(field: pydantic.fields.FieldInfo | None) -> type[Config] | None:
    """The config that a setting holds, if it is a group of settings."""
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, Config)), None)


def _nested(cls: type[pydantic.BaseModel]) -> list[str]:
    """Dotted keys of the groups of settings in a config, those apart that are not there unasked."""
    keys: list[str] = []
    for name, field in cls.model_fields.items():
        group = _group(field)
        if group is not None and field.default is not None:
            keys += [f"{name}.{key}" for key in (*group.model_fields, *_nested(group))]
    return keys


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not hold a mapping.
    """
    path = Path(path)
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected `key: value` lines, got {type(value).__name__}")
    return value


def write_yaml(path: str | Path, mapping: Mapping[str, Any]) -> None:
    """Write a mapping as YAML, atomically, keys in the given order."""
    write_text(path, yaml.safe_dump(dict(mapping), sort_keys=False, allow_unicode=True))


class Whole(dict[str, Any]):
    """A mapping that `merge` puts in the place of another, not on top of it."""


def parse_overrides(items: Sequence[str]) -> dict[str, Any]:
    """Turn `["optim.lr=3e-4", "model.factorized=false"]` into a nested mapping; values are YAML.

    A choice with its settings, `model.encoder={kind: vit, depth: 2}`, is meant as it stands: the
    settings of what was chosen before belong to something else.

    Raises:
        ConfigError: an item is not of the form `key=value`.
    """
    tree: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"override {item!r}: expected key=value, for example optim.lr=3e-4")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"override {item!r}: the value is not YAML: {error}") from error
        if isinstance(value, dict) and "kind" in value:
            value = Whole(value)
        *groups, name = key.strip().split(".")
        layer: dict[str, Any] = {name: value}
        for group in reversed(groups):
            layer = {group: layer}
        tree = merge(tree, layer)
    return tree


def merge(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `layer` on top; nested mappings are merged, everything else is replaced."""
    merged = Whole(base) if isinstance(base, Whole) else dict(base)
    for key, value in layer.items():
        old = merged.get(key)
        changes = isinstance(value, Mapping) and not isinstance(value, Whole)
        if isinstance(old, Mapping) and changes:
            value = merge(old, value)
        merged[key] = value
    return merged
