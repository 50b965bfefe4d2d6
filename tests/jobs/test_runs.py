"""Runs as a starting point: where their models go to be measured."""

import pytest
import torch

import nexus
from nexus.jobs import opening
from nexus.jobs.opening import open_encoder
from nexus.toy.world import ToyConfig, write_toy_world

TINY = (
    "training.steps=1", "training.batch_size=4", "training.accumulation=1", "training.threads=1",
    "training.precision=fp32", "training.tensorboard=false", "data.num_workers=0",
    "data.clip.fps=8",
)  # fmt: skip
MODEL = (
    "model.img_size=16", "model.num_frames=4", "model.patch_size=8", "model.encoder_dim=24",
    "model.num_heads=2", "model.predictor_dim=24", "model.predictor_heads=2",
    "model.num_spatial_layers=1", "model.num_temporal_layers=0", "model.num_predictor_layers=1",
    "model.factorized=false", "model.positions=rope_tiled",
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    config = ToyConfig(size=16, num_frames=8, train_clips=16, validation_clips=16, test_clips=16)
    return write_toy_world(tmp_path_factory.mktemp("world"), config, seed=0)


@pytest.fixture
def asked(monkeypatch):
    """The devices that models of runs are asked to go to."""
    found = []

    def remember(name):
        found.append(name)
        return torch.device("cpu")

    monkeypatch.setattr(opening, "choose_device", remember)
    return found


@pytest.mark.parametrize(("device", "place"), [("auto", "auto"), ("cpu", "cpu")])
def test_every_job_measures_a_run_on_the_runs_device(world, tmp_path, asked, device, place):
    own = f"training.device={device}"
    nexus.pretrain(
        world, tmp_path / "run", recipe="small", overrides=(*TINY, *MODEL, own), label="shape"
    )
    assert asked == [place]
    nexus.probe(tmp_path / "run", label="shape", kinds=["linear"])
    assert asked == [place] * 2
    sweep = {"label": "shape", "lrs": [1e-3], "momenta": [0.9]}
    nexus.adapt(
        world, tmp_path / "s", init=tmp_path / "run", overrides=(*TINY, own), **sweep
    )  # each run is measured, and the picked one is pictured
    assert asked == [place] * 5


def test_a_run_of_a_gpu_is_measured_where_there_is_none(world, tmp_path):
    run = tmp_path / "run"
    on_cpu = (*TINY, *MODEL, "training.device=cpu")
    nexus.pretrain(world, run, recipe="small", overrides=on_cpu, report=False)
    recipe = (run / "recipe.yaml").read_text().replace("device: cpu", "device: cuda")
    (run / "recipe.yaml").write_text(recipe)
    opened = open_encoder(run)
    assert opened.recipe.training.device == "cuda"
    wanted = "cuda" if torch.cuda.is_available() else "cpu"
    assert next(opened.encoder.parameters()).device.type == wanted
