"""A probe's folder: what is written is what is read, and what does not fit is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nexus.checkpoints.probe_folder import (
    EncoderIdentity,
    ProbeCard,
    SweepRow,
    load_probe_folder,
    save_probe,
    tensor_digest,
    upgraded,
)
from nexus.data.clip_spec import ClipSpec
from nexus.errors import CheckpointError, ConfigError
from nexus.models.heads import AttentiveHead, AttentiveHeadConfig

HEAD = AttentiveHeadConfig(dim=8, num_classes=3, num_heads=2, depth=2, eps=1e-6)


def make_card(**changes: Any) -> ProbeCard:
    return ProbeCard(
        **{
            "task": "action",
            "classes": ("open", "close", "naïve ☂"),
            "head": HEAD,
            "encoder": EncoderIdentity(source="runs/a", digest="ab", dim=8, layers=(1, 3)),
            "clips": ClipSpec(
                num_frames=8, fps=4.0, size=(16, 24), clips_per_video=2, sampling="uniform"
            ),
            "chosen": {"learning_rate": 1e-3, "weight_decay": 0.1},
            "sweep": (SweepRow(learning_rate=1e-3, weight_decay=0.1, accuracy=0.5, loss=1.0),),
            **changes,
        }
    )


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, AttentiveHead]:
    torch.manual_seed(0)
    head = AttentiveHead(HEAD)
    return save_probe(tmp_path / "probe", head, make_card()), head


def test_what_is_written_is_read(saved: tuple[Path, AttentiveHead]) -> None:
    folder, head = saved
    again, card = load_probe_folder(folder)
    assert card.with_changes(digest="", nexus="") == make_card()
    assert card.nexus and len(card.digest) == 64
    assert sorted(path.name for path in folder.iterdir()) == ["probe.json", "probe.safetensors"]
    tokens = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again(tokens), head.eval()(tokens)) and not again.training


def test_a_label_map_or_an_encoder_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="names 2 classes, the probe has 3 outputs"):
        ProbeCard.from_mapping({**make_card().to_mapping(), "classes": ["a", "b"]})
    with pytest.raises(ConfigError, match="reads 8 features a token, its encoder gives 16"):
        ProbeCard.from_mapping(
            {**make_card().to_mapping(), "encoder": {"source": "x", "dim": 16}},
        )


def test_a_missing_or_damaged_probe_is_an_error(
    saved: tuple[Path, AttentiveHead], tmp_path: Path
) -> None:
    folder, _ = saved
    with pytest.raises(CheckpointError, match=r"holds no probe: probe\.json is missing"):
        load_probe_folder(tmp_path / "nothing")
    card = folder / "probe.json"
    text = card.read_text(encoding="utf-8")
    content = json.loads(text)
    for broken, message in [
        ("{", "cannot use"),
        (json.dumps({**content, "classes": ["a"]}), "names 1 classes"),
        (json.dumps({**content, "format": "nexus-probe-9"}), "nexus-probe-2"),
        (json.dumps({**content, "colour": 1}), "unknown key 'colour'"),
        ("[1]", "cannot use"),
    ]:
        card.write_text(broken, encoding="utf-8")
        with pytest.raises(CheckpointError, match=message):
            load_probe_folder(folder)
    card.write_text(text, encoding="utf-8")
    (folder / "probe.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot read the weights"):
        load_probe_folder(folder)


def test_weights_of_another_probe_are_noticed(
    saved: tuple[Path, AttentiveHead], tmp_path: Path
) -> None:
    folder, _ = saved
    torch.manual_seed(1)
    other = save_probe(tmp_path / "other", AttentiveHead(HEAD), make_card())
    (other / "probe.safetensors").replace(folder / "probe.safetensors")
    with pytest.raises(CheckpointError, match=r"does not belong to the probe\.json"):
        load_probe_folder(folder)


def test_the_digest_sees_names_shapes_and_values_only() -> None:
    value = torch.arange(6.0)
    base = tensor_digest({"a": value, "b": value})
    assert tensor_digest({"b": value.clone(), "a": value.bfloat16()}) == base
    assert tensor_digest({"a": value, "c": value}) != base
    assert tensor_digest({"a": value.view(2, 3), "b": value}) != base
    assert tensor_digest({"a": value + 1e-6, "b": value}) != base
    assert tensor_digest({"n": torch.tensor(3)}) != tensor_digest({"n": torch.tensor(4)})


def test_a_card_of_0_1_opens() -> None:
    """It had the clips in two groups, and their size, joining and number outside of them."""
    folder = Path(__file__).parents[1] / "assets/v0.1/probe"
    _, card = load_probe_folder(folder)
    expected = ClipSpec(num_frames=4, size=16, sampling="uniform")
    assert card.format == "nexus-probe-2" and card.clips == expected
    old = json.loads((folder / "probe.json").read_text(encoding="utf-8"))
    old["sampling"] |= {"clips_per_video": 3, "join_clips": True, "img_size": [16, 24]}
    old["sampling"]["clip"] |= {"sampling": "random", "fps": 8.0}
    clips = ClipSpec.from_mapping(upgraded(old)["clips"])
    assert clips == expected.with_changes(clips_per_video=3, join=True, size=(16, 24), fps=8.0)
    assert upgraded(card.to_mapping()) == card.to_mapping()
