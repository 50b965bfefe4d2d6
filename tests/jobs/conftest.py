"""Weights, labelled clips and a trained probe, made once for all tests of the jobs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from oracles.probe_names import to_meta
from PIL import Image
from tiny_weights import QUICK, make_model

import nexus
from nexus.checkpoints.huggingface import save_huggingface
from nexus.checkpoints.official import save_official
from nexus.models.heads import AttentiveHead, AttentiveHeadConfig
from nexus.toy.world import ToyConfig, write_toy_world


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """`w.pt`, `hf/`, `image.pt` (takes images), `probe.pt`, `clips/labels.csv`, pictures."""
    home = tmp_path_factory.mktemp("weights")
    model = make_model()
    save_official(home / "w.pt", model)
    save_huggingface(home / "hf", model)
    image = make_model(
        positions="rope_interleaved", rope_stretch=16, image_input=True,
        modality_embedding=True, feature_levels=(0, 1, 2), predicts_context=True,
        context_loss_weight=0.5,
    )  # fmt: skip
    save_official(home / "image.pt", image)
    config = AttentiveHeadConfig(dim=32, num_classes=2)
    states = [to_meta(AttentiveHead(config).state_dict())]
    torch.save({"classifiers": states}, home / "probe.pt")
    world = ToyConfig.from_mapping(
        {"train_clips": 24, "validation_clips": 12, "test_clips": 12, "tasks": {"speed": 1.0}}
    )
    write_toy_world(home / "clips", world, seed=0)
    (home / "pictures").mkdir()
    for name, level in (("dark.png", 30), ("light.jpg", 220)):
        Image.fromarray(np.full((40, 50, 3), level, np.uint8)).save(home / "pictures" / name)
    return home


@pytest.fixture(autouse=True, scope="module")
def _undrawn(undrawn):
    """Drawing takes longer than the jobs of tiny models."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def trained(folder, tmp_path_factory):
    """A probe of the speed, trained on `w.pt`."""
    save = tmp_path_factory.mktemp("probe") / "speed"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(save.parent)
        [found] = nexus.train_probe(
            folder / "w.pt", folder / "clips/labels.csv", label="speed", overrides=QUICK,
            clips={"fps": 8.0}, save=save,
        )  # fmt: skip
    return found
