"""Whole runs on a GPU: they learn, resume, are probed, embedded and converted."""

import json

import numpy as np
import pytest
import torch

import nexus
from nexus.checkpoints.weights import read_weights
from nexus.features.table_files import load_table
from nexus.training.loop import train

pytestmark = pytest.mark.cuda


def rows_of(out):
    return [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]


def weights_of(out):
    latest = json.loads((out / "checkpoints" / "latest.json").read_text())
    return read_weights(out / "checkpoints" / latest["folder"] / "model.safetensors")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_training_learns(precision, tiny, world, tmp_path, quiet, device) -> None:
    recipe = tiny(
        f"training.device={device}", f"training.precision={precision}", "training.steps=60",
        "training.checkpoint_every=60", "training.accumulation=2", "data.num_workers=2",
    )  # fmt: skip
    result = train(recipe, world, tmp_path / "run", console=quiet)
    rows = rows_of(tmp_path / "run")
    assert result.status == "finished" and result.skipped_steps <= 2  # fp16 finds its scale
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["device"] == device


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(
    tiny, world, tmp_path, quiet, device
) -> None:
    whole = tiny(f"training.device={device}", "training.steps=8", "training.checkpoint_every=4")
    train(whole, world, tmp_path / "whole", console=quiet)
    train(whole, world, tmp_path / "halves", console=quiet)
    halves = tmp_path / "halves"
    latest = halves / "checkpoints" / "latest.json"
    latest.write_text(latest.read_text().replace("step_00000008", "step_00000004"))
    for path in (halves / "checkpoints").glob("step_00000008"):
        path.rename(halves / "lost")
    train(whole, world, halves, resume=True, console=quiet)
    expected, got = weights_of(tmp_path / "whole"), weights_of(halves)
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    losses = [[row["loss"] for row in rows_of(out)] for out in (tmp_path / "whole", halves)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_features_probes_and_conversion(tiny, world, tmp_path, quiet, device) -> None:
    from transformers import AutoModel

    recipe = tiny(
        f"training.device={device}",
        "model.positions=rope_tiled",
        "model.num_heads=1",
        "model.predictor_heads=1",
        "model.mask=multiblock",
        "model.in_chans=3",
    )
    run = tmp_path / "run"
    train(recipe, world, run, console=quiet)
    for where in {device, "cpu"}:
        nexus.embed(run, world.source, tmp_path / f"{where}.arrow", device=where)
    there, here = (load_table(tmp_path / f"{where}.arrow") for where in (device, "cpu"))
    np.testing.assert_allclose(there.features, here.features, rtol=1e-3, atol=1e-3)
    rows = nexus.probe(run, data=world.source, device=device, kinds=["linear", "knn"])
    assert len(rows) > 0
    nexus.convert(run, tmp_path / "hf", to="hf")
    theirs = AutoModel.from_pretrained(tmp_path / "hf").to(device).eval()
    video = torch.randn(2, 4, 3, 16, 16)
    with torch.no_grad():
        out = theirs(video.to(device), skip_predictor=True).last_hidden_state
        expected = nexus.load(run).encoder(video.transpose(1, 2))
    torch.testing.assert_close(out.cpu(), expected, rtol=1e-3, atol=1e-3)
