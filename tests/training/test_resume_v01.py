"""What version 0.1 began goes on: the run that it was stopped in ends where the other one did."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

import nexus

ASSETS = Path(__file__).parents[1] / "assets/v0.1"


def test_an_interrupted_run_ends_where_the_finished_one_did(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("interrupted", "videos"):
        shutil.copytree(ASSETS / name, tmp_path / name)
    done = nexus.pretrain(
        "videos/labels.csv",
        "interrupted",
        recipe=ASSETS / "interrupted/recipe.yaml",
        resume=True,
        report=False,
    )
    assert done.status == "finished"
    weights = "checkpoints/step_00000006/model.safetensors"
    ours, theirs = (
        load_file(folder / weights) for folder in (Path("interrupted"), ASSETS / "finished")
    )
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, atol=1e-5, rtol=1e-5, msg=name)
