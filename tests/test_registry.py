"""Parts by name: ours, anybody's, and what is said of names that lead nowhere."""

import pytest

from nexus.config import Config
from nexus.errors import ConfigError
from nexus.registry import Registry, split_choice


class Box(Config):
    width: int = 2


def doubled(number: int) -> int:
    return 2 * number


PARTS = Registry("part", {"box": "test_registry:Box", "doubled": "test_registry:doubled"})


def test_a_name_of_ours_and_a_place_lead_to_the_same_part():
    assert PARTS.find("box") is PARTS.find("test_registry:Box")
    assert PARTS.build("box") == PARTS.build({"kind": "test_registry:Box", "width": 2})
    assert PARTS.build({"kind": "doubled", "number": 4}) == 8
    assert PARTS.names == ["box", "doubled"]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("bax", "did you mean 'box'"),
        ("no.such.module:Thing", "cannot be imported"),
        ("test_registry:Nothing", "has no 'Nothing'"),
        ({"width": 3}, "with the name under `kind`"),
        ({"kind": "box", "wdth": 3}, "did you mean 'width'"),
        ({"kind": "doubled", "digit": 3}, "does not take these settings (digit)"),
    ],
)
def test_what_leads_nowhere_is_said(choice, said):
    with pytest.raises(ConfigError) as caught:
        PARTS.build(choice)
    assert said in str(caught.value)


def test_a_file_beside_the_user_is_found(tmp_path, monkeypatch):
    (tmp_path / "beside_the_user.py").write_text("class Thing:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [each for each in __import__("sys").path if each])
    assert PARTS.find("beside_the_user:Thing").__name__ == "Thing"


def test_an_error_within_a_users_module_is_named(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import not_installed_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [each for each in __import__("sys").path if each])
    with pytest.raises(ConfigError, match="not_installed_anywhere"):
        PARTS.find("needs_more:Thing")


def test_a_choice_is_a_name_or_a_mapping():
    assert split_choice("box") == ("box", {})
    assert split_choice({"kind": "box", "width": 3}) == ("box", {"width": 3})
