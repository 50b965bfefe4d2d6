"""`nexus world`."""

import pytest

from nexus.cli.main import run
from nexus.control.collection import training_seeds
from nexus.data.episodes.opening import open_episodes


def test_collect_writes_episodes_and_goes_on(tmp_path, capsys):
    folder = tmp_path / "reaches"
    words = ["world", "collect", "{kind: reach, size: 32}", "--out", str(folder)]
    words += ["--steps", "8", "--policy", "expert", "--seed", "7", "--episodes"]
    assert run([*words, "2"]) == 0
    told = capsys.readouterr().out
    assert "2 episodes of" in told and "2 of them new" in told
    assert "The expert reached the goal in 2 of 2 (100%)." in told
    assert run([*words, "3"]) == 0
    assert "1 of them new" in capsys.readouterr().out
    episodes = open_episodes(folder)
    assert len(episodes) == 3 and episodes.cameras == {"camera": (32, 32)}
    assert training_seeds(folder) == range(1_007_000_000, 1_007_000_003)
    assert run(["check", str(folder), "--strict"]) == 0


def test_episodes_that_end_early_are_counted(tmp_path, capsys):
    words = ["world", "collect", "{kind: push, max_steps: 3, size: 32}", "--out", str(tmp_path)]
    assert run([*words, "--episodes", "2"]) == 0
    told = capsys.readouterr().out.replace("\n", " ")
    assert "2 episodes of 6 steps in all" in told
    assert "The environment ended 2 of the new ones early." in told


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["psuh"], "unknown environment 'psuh'; did you mean 'push'"),
        (["push", "--policy", "dance"], "has no policy 'dance'; known: random, play, expert"),
        (["gym:Nothing-v0"], "Gymnasium does not make 'Nothing-v0'"),
        (["{kind: push"], "the value is not YAML"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, text, tmp_path, capsys):
    given = ["world", "collect", *words, "--out", str(tmp_path / "a"), "--episodes", "1"]
    assert run(given) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert text in told and "Traceback" not in told
    assert not (tmp_path / "a").exists()
