"""`--layout training`: what Meta's training loop loads strictly, and nexus reads back."""

import pytest
import torch
from oracles import published, training_loop
from oracles.published import GIVEN, GIVEN_21, TINY, TINY_21
from oracles.tiny import tiny_model

import nexus
from nexus.checkpoints.load import load
from nexus.checkpoints.official import official_state, save_official
from nexus.cli.main import run
from nexus.errors import CheckpointError

KINDS = {"vjepa2": (TINY, GIVEN), "vjepa2_1": (TINY_21, GIVEN_21)}
SAVED = {
    *("encoder", "predictor", "opt", "scaler", "target_encoder"),
    *("epoch", "loss", "batch_size", "world_size", "lr"),
}
"""What the loop's `save_checkpoint` writes."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_training_loop_loads_it_strictly_and_goes_on(tmp_path, kind):
    sizes, given = KINDS[kind]
    content = published.random_file(kind, sizes)
    torch.save(content, tmp_path / "w.pt")
    line = ["convert", str(tmp_path / "w.pt"), "--to", "meta", "--layout", "training"]
    line += [f"{key}={list(v) if isinstance(v, tuple) else v}" for key, v in given.items()]
    assert run([*line, "--out", str(tmp_path / "out")]) == 0
    checkpoint = torch.load(tmp_path / "out/model.pt", weights_only=True)
    assert checkpoint.keys() >= SAVED
    encoder, target = (
        training_loop.wrapped(published.encoder_shapes(kind, sizes)) for _ in range(2)
    )
    predictor = training_loop.wrapped(published.predictor_shapes(kind, sizes))
    opt, scaler = training_loop.optimizer(encoder, predictor), torch.amp.GradScaler("cpu")
    nets = (encoder, predictor, target)
    assert training_loop.load_checkpoint(checkpoint, *nets, opt, scaler) == 0
    for net, part in ((encoder, "encoder"), (predictor, "predictor"), (target, "target_encoder")):
        state = {n.removeprefix("module.backbone."): t for n, t in net.state_dict().items()}
        assert state.keys() == content[part].keys()
        assert all(torch.equal(state[name], content[part][name]) for name in state), part
    assert scaler.get_scale() == 65536.0
    # One step without gradients: weight decay alone, and not on what is spared.
    before = {name: p.detach().clone() for name, p in encoder.named_parameters()}
    for parameter in (*encoder.parameters(), *predictor.parameters()):
        parameter.grad = torch.zeros_like(parameter)
    training_loop.step(opt, lr=0.5, weight_decay=0.1)
    for name, parameter in encoder.named_parameters():
        spared = "bias" in name or parameter.ndim == 1
        torch.testing.assert_close(parameter.detach(), before[name] * (1 if spared else 0.95))


@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_back_bit_for_bit(tmp_path, kind):
    sizes, given = KINDS[kind]
    torch.save(published.random_file(kind, sizes), tmp_path / "w.pt")
    first = load(tmp_path / "w.pt", config=given)
    nexus.convert(tmp_path / "w.pt", tmp_path / "t", to="meta", layout="training", config=given)
    again = load(tmp_path / "t")
    assert again.model.config == first.model.config and again.report.exact
    back = nexus.convert(tmp_path / "t", tmp_path / "hub", to="meta").out / "model.pt"
    states = [official_state(load(path).model) for path in (tmp_path / "t", back)]
    for part in ("encoder", "target_encoder", "predictor"):
        wanted = official_state(first.model)[part]
        for state in states:
            assert state[part].keys() == wanted.keys()
            assert all(torch.equal(state[part][name], wanted[name]) for name in wanted)
    assert "opt" not in torch.load(back, weights_only=True)
    assert "`opt` (left aside)" in again.explain()


def test_what_the_loop_cannot_train_is_refused(tmp_path):
    model = tiny_model(factorized=False, positions="rope_tiled", teacher_dim=40)
    save_official(tmp_path / "distilled.pt", model)
    torch.save(published.random_action_file(TINY), tmp_path / "ac.pt")
    told = {"num_heads": 2, "action_predictor": {"heads": 2, "depth": 2}, "img_size": 16}
    for name, config, says in (
        ("distilled", {}, "distilled from a larger teacher"),
        ("ac", told, "target_encoder is not there.*--layout hub"),
    ):
        with pytest.raises(CheckpointError, match=says):
            nexus.convert(
                tmp_path / f"{name}.pt", tmp_path / "out", to="meta", layout="training",
                config=config,
            )  # fmt: skip
        nexus.convert(tmp_path / f"{name}.pt", tmp_path / name, to="meta", config=config)


@pytest.mark.parametrize(("to", "layout"), [("hf", "training"), ("meta", "loop")])
def test_a_layout_belongs_to_metas_format(tmp_path, to, layout):
    with pytest.raises(CheckpointError, match=f"layout is '{layout}' of format '{to}'; expected"):
        nexus.convert(tmp_path, tmp_path / "out", to=to, layout=layout)
