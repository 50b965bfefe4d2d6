"""Published probes: names to the bit, files, and parity with transformers."""

from pathlib import Path

import pytest
import torch
from oracles.probe_names import to_meta
from oracles.tiny import stir
from transformers import VJEPA2Config, VJEPA2ForVideoClassification

from nexus.checkpoints.probes import (
    build_head,
    from_huggingface,
    from_meta,
    read_meta_probes,
)
from nexus.errors import CheckpointError
from nexus.models.heads import HUGGINGFACE_EPS, AttentiveHead, AttentiveHeadConfig

DIM, CLASSES, HEADS = 32, 5, 4


@pytest.fixture(scope="module")
def head() -> AttentiveHead:
    torch.manual_seed(0)
    made = AttentiveHead(AttentiveHeadConfig(dim=DIM, num_classes=CLASSES, num_heads=HEADS))
    stir(made)
    return made.eval()


@pytest.fixture(scope="module")
def published() -> VJEPA2ForVideoClassification:
    torch.manual_seed(0)
    config = VJEPA2Config(
        crop_size=32,
        patch_size=16,
        frames_per_clip=4,
        hidden_size=DIM,
        num_attention_heads=HEADS,
        num_hidden_layers=1,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
        num_pooler_layers=3,
        num_labels=CLASSES,
    )
    model = VJEPA2ForVideoClassification(config)
    stir(model)
    return model.eval()


def meta_shapes(depth: int = 4) -> dict[str, tuple[int, ...]]:
    """The published names and shapes, written out from the published layout."""
    hidden = 4 * DIM
    shapes: dict[str, tuple[int, ...]] = {"pooler.query_tokens": (1, 1, DIM)}

    def linear(name: str, out: int, into: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, into), (out,)

    def common(name: str) -> None:
        for norm in ("norm1", "norm2"):
            shapes[f"{name}.{norm}.weight"] = shapes[f"{name}.{norm}.bias"] = (DIM,)
        linear(f"{name}.mlp.fc1", hidden, DIM)
        linear(f"{name}.mlp.fc2", DIM, hidden)

    cross = "pooler.cross_attention_block"
    common(cross)
    linear(f"{cross}.xattn.q", DIM, DIM)
    linear(f"{cross}.xattn.kv", 2 * DIM, DIM)
    for number in range(depth - 1):
        block = f"pooler.blocks.{number}"
        common(block)
        linear(f"{block}.attn.qkv", 3 * DIM, DIM)
        linear(f"{block}.attn.proj", DIM, DIM)
    linear("linear", CLASSES, DIM)
    return shapes


def test_metas_names_are_the_published_ones(head: AttentiveHead) -> None:
    theirs = to_meta(head.state_dict())
    assert {name: tuple(tensor.shape) for name, tensor in theirs.items()} == meta_shapes()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_metas_names_there_and_back_keep_every_bit(head: AttentiveHead, prefix: str) -> None:
    theirs = {prefix + name: tensor for name, tensor in to_meta(head.state_dict()).items()}
    ours = from_meta(theirs)
    assert list(ours) == list(head.state_dict())
    assert all(torch.equal(ours[name], tensor) for name, tensor in head.state_dict().items())


def test_the_same_scores_as_transformers(published: VJEPA2ForVideoClassification) -> None:
    tensors = from_huggingface(published.state_dict())
    head = build_head(tensors, num_heads=HEADS, eps=HUGGINGFACE_EPS)
    assert head.config.depth == 4 and head.config.num_classes == CLASSES
    tokens = torch.randn(3, 8, DIM, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        pooled = published.pooler(tokens)
        expected = published.classifier(pooled)
        error = (head(tokens) - expected).norm() / expected.norm()
        assert error < 1e-5
        assert (head.pooled(tokens) - pooled).norm() / pooled.norm() < 1e-5
        other = build_head(tensors, num_heads=HEADS, eps=1e-1)
        assert (other(tokens) - expected).norm() / expected.norm() > 1e-3


def test_a_file_of_probes_is_read(head: AttentiveHead, tmp_path: Path) -> None:
    other = AttentiveHead(head.config)
    states = [
        {f"module.{name}": tensor for name, tensor in to_meta(one.state_dict()).items()}
        for one in (head, other)
    ]
    path = tmp_path / "ssv2.pt"
    torch.save({"classifiers": states, "opt": [{}], "epoch": 20, "scaler": None}, path)
    found = read_meta_probes(path)
    assert len(found) == 2
    rebuilt = build_head(found[0], num_heads=HEADS)
    assert rebuilt.config == head.config and not rebuilt.training
    tokens = torch.randn(2, 8, DIM, generator=torch.Generator().manual_seed(1))
    assert torch.equal(rebuilt(tokens), head(tokens))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"encoder": {}}, "under `classifiers`, got encoder"),
        ({"classifiers": []}, "under `classifiers`, got classifiers"),
        ([1], "under `classifiers`, got .*list"),
    ],
)
def test_a_file_without_probes_is_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=message):
        read_meta_probes(tmp_path / "x.pt")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"no archive")
    for name in ("x.pt", "missing.pt"):
        with pytest.raises(CheckpointError, match=f"cannot read .*{name}"):
            read_meta_probes(tmp_path / name)


def test_tensors_of_something_else_are_refused(head: AttentiveHead) -> None:
    tensors = dict(head.state_dict())
    with pytest.raises(CheckpointError, match=r"not an attentive probe .*several outputs"):
        build_head({"verb.weight": tensors["linear.weight"]}, num_heads=HEADS)
    with pytest.raises(CheckpointError, match="1 in the file but not in the model: extra"):
        build_head({**tensors, "extra": tensors["linear.bias"]}, num_heads=HEADS)
    with pytest.raises(CheckpointError, match="does not divide into num_heads 5"):
        build_head(tensors, num_heads=5)


def test_a_probe_without_all_its_keys_is_refused(published: VJEPA2ForVideoClassification) -> None:
    theirs = dict(published.state_dict())
    del theirs["pooler.self_attention_layers.0.self_attn.k_proj.bias"]
    with pytest.raises(CheckpointError, match=r"but not .*k_proj\.bias"):
        from_huggingface(theirs)
