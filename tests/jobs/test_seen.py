"""A probe says when its test files are those that the encoder was trained on."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import nexus
from nexus.jobs.seen import trained_files
from nexus.runs.schema import ProbeTable
from nexus.toy.world import ToyConfig, write_toy_world

TINY = (
    "training.steps=1", "training.batch_size=4", "training.threads=1", "model.encoder_dim=16",
    "model.num_heads=2", "model.predictor_dim=16", "model.predictor_heads=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """`videos/` with a list that has splits, `plain.csv` without, and a run on either."""
    home = tmp_path_factory.mktemp("seen")
    config = ToyConfig.from_mapping(
        {"train_clips": 24, "validation_clips": 12, "test_clips": 12, "tasks": {"speed": 1.0}}
    )
    listing = write_toy_world(home / "videos", config, seed=0)
    table = pd.read_csv(listing)
    table["path"] = [str(listing.parent / path) for path in table["path"]]
    table[["path", "speed", "shape"]].to_csv(home / "plain.csv", index=False)
    train(listing, home / "split")
    train(home / "plain.csv", home / "whole")
    return home


def train(data: Path, out: Path, *overrides: str) -> None:
    nexus.pretrain(data, out, recipe="small", overrides=(*TINY, *overrides), report=False)


def rows_of(run: Path) -> list[tuple[str, int | None]]:
    table = ProbeTable.read(run / "results/probes.json")
    return [(row.role, row.n_test_seen) for row in table.rows]


def test_all_test_files_of_data_without_splits_were_trained_on(made, capsys):
    found = nexus.probe(made / "whole", label="speed", kinds=("knn",))
    own = found[0]
    assert own.role == "trained" and own.n_test_seen == own.n_test and own.n_test
    assert rows_of(made / "whole") == [
        ("trained", own.n_test), ("untrained", None), ("lookup", None), ("lookup", None)
    ]  # fmt: skip
    note = f"speed: {own.n_test} of {own.n_test} test samples are of videos that"
    assert note in " ".join(capsys.readouterr().err.split())
    notes = json.loads((made / "whole/results/probes.json").read_text())["notes"]
    assert any(note in one for one in notes)


def test_a_test_split_was_not_trained_on(made, capsys):
    found = nexus.probe(made / "split", label="speed", kinds=("knn",))
    assert found[0].n_test_seen == 0 and "was trained on" not in capsys.readouterr().err


def test_files_of_another_list_count_as_well(made, tmp_path, capsys):
    """Some of the test files are training files of the run, named through a link."""
    (tmp_path / "link").symlink_to(made / "videos")
    table = pd.read_csv(made / "videos/labels.csv")
    swapped = {"train": "test", "test": "train"}
    table.loc[:15, "split"] = [swapped.get(one, one) for one in table["split"][:16]]
    table["path"] = ["link/" + path for path in table["path"]]
    table.to_csv(tmp_path / "list.csv", index=False)
    [trained] = nexus.train_probe(
        made / "split", tmp_path / "list.csv", label="speed", kind="knn", save=tmp_path / "probe"
    )
    assert trained.row.n_test_seen == 16 and trained.row.n_test == 28
    assert "16 of 28 test samples" in " ".join(capsys.readouterr().err.split())
    card = json.loads((tmp_path / "probe/probe.json").read_text())
    assert card["result"]["n_test_seen"] == 16


def test_what_cannot_be_told_is_said(made, tmp_path, capsys):
    home = tmp_path / "moved"
    shutil.copytree(made / "split", home / "run")
    info = json.loads((home / "run/run.json").read_text())
    info["data"]["source"] = str(tmp_path / "gone.csv")
    (home / "run/run.json").write_text(json.dumps(info))
    assert trained_files(home / "run") is None
    found = nexus.probe(home / "run", made / "plain.csv", label="speed", kinds=("knn",))
    assert found[0].n_test_seen is None
    assert "cannot be told any more" in " ".join(capsys.readouterr().err.split())
    # The same list at another place holds the same videos: then it is known.
    found = nexus.probe(home / "run", made / "videos/labels.csv", label="speed", kinds=("knn",))
    assert found[0].n_test_seen == 0


def test_a_run_that_goes_on_has_seen_what_the_first_one_saw(made, tmp_path):
    out = tmp_path / "on"
    nexus.pretrain(
        made / "videos/labels.csv", out, recipe="adapt", init=made / "whole", report=False,
        overrides=("training.steps=1", "training.batch_size=4", "training.threads=1"),
    )  # fmt: skip
    assert len(trained_files(made / "split") or ()) == 24
    assert len(trained_files(out) or ()) == 48
    zero = tmp_path / "zero"
    train(made / "plain.csv", zero, "training.steps=0")
    assert trained_files(zero) == set()
