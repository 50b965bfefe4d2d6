"""Published probes made ready for use: classes, clips, and what had to be assumed."""

import json
from pathlib import Path

import pytest
import torch
from oracles.probe_names import to_meta
from oracles.tiny import stir
from safetensors.torch import save_file

from nexus.checkpoints.huggingface import read_huggingface_tensors
from nexus.checkpoints.probe_import import (
    import_huggingface,
    import_meta,
    published_clips,
    read_classes,
)
from nexus.data.clip_spec import ClipSpec
from nexus.errors import CheckpointError, DataError
from nexus.models.heads import AttentiveHead, AttentiveHeadConfig

NAMES = ("left", "right", "up")
TOKENS = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))


def make_head(seed: int = 0, heads: int = 16) -> AttentiveHead:
    torch.manual_seed(seed)
    config = AttentiveHeadConfig(dim=32, num_classes=3, num_heads=heads, depth=2)
    head = AttentiveHead(config)
    stir(head, seed=seed)
    return head.eval()


def meta_file(path: Path, count: int = 1) -> Path:
    states = [to_meta(make_head(seed).state_dict()) for seed in range(count)]
    torch.save({"classifiers": states}, path)
    return path


def test_a_file_of_meta_gives_its_head_classes_and_clips(tmp_path: Path) -> None:
    path = meta_file(tmp_path / "ssv2-vitl-16x2x3.pt")
    probe = import_meta(path, 24, 64, classes=NAMES)
    assert torch.equal(probe.head(TOKENS), make_head()(TOKENS))
    assert probe.classes == NAMES and probe.task == "ssv2-vitl-16x2x3"
    assert probe.clips == ClipSpec(
        num_frames=16, stride=4, sampling="uniform", clips_per_video=2, pad="repeat_last", join=True
    )
    assert probe.layers == (-1,)
    assert ["three" in note for note in probe.notes] == [True]


def test_what_a_file_does_not_say_is_assumed_and_told(tmp_path: Path) -> None:
    probe = import_meta(meta_file(tmp_path / "mine.pt"), 24, 16)
    assert probe.classes == ("class 0", "class 1", "class 2")
    assert probe.clips == ClipSpec(num_frames=16, fps=4.0, sampling="uniform")
    assert any("16 frames at 4 a second are assumed" in note for note in probe.notes)
    assert any("numbered from 0" in note for note in probe.notes)


def test_of_several_probes_one_has_to_be_chosen(tmp_path: Path) -> None:
    path = meta_file(tmp_path / "mine.pt", 3)
    for index in (None, 3, -1):
        with pytest.raises(CheckpointError, match="holds 3 probes, got index .*from 0 to 2"):
            import_meta(path, 24, 16, index=index)
    chosen = import_meta(path, 24, 16, index=2).head
    assert torch.equal(chosen(TOKENS), make_head(2)(TOKENS))


@pytest.mark.parametrize(
    ("stem", "depth", "frames", "stride", "clips", "layers"),
    [
        ("ssv2-vitl-16x2x3", 24, 16, 4, 2, (-1,)),
        ("ssv2-vitg-384-64x2x3", 40, 64, 2, 2, (-1,)),
        ("diving48-vitl-256", 24, 32, 2, 4, (17, 19, 21, 23)),
        ("diving48-vitg-384-32x4x3", 40, 32, 2, 4, (24, 29, 34, 39)),
    ],
)
def test_the_published_files_are_known_by_name(
    stem: str, depth: int, frames: int, stride: int, clips: int, layers: tuple[int, ...]
) -> None:
    known = published_clips(stem, depth)
    assert known is not None
    spec, blocks = known
    assert (spec.num_frames, spec.stride) == (frames, stride)
    assert (spec.clips_per_video, blocks) == (clips, layers)
    assert published_clips("ek100-vitl-256", 24) is None


def test_of_a_file_with_an_encoder_the_wanted_tensors_alone_are_read(tmp_path: Path) -> None:
    tensors = {"pooler.a": torch.ones(1), "vjepa2.b": torch.ones(2), "classifier.c": torch.ones(3)}
    save_file(tensors, tmp_path / "model.safetensors")
    found = read_huggingface_tensors(tmp_path, ("pooler.", "classifier."))
    assert set(found) == {"pooler.a", "classifier.c"}
    assert set(read_huggingface_tensors(tmp_path)) == set(tensors)


def test_a_transformers_folder_gives_its_classifier(tmp_path: Path) -> None:
    from transformers import VJEPA2Config, VJEPA2ForVideoClassification

    torch.manual_seed(0)
    config = VJEPA2Config(
        crop_size=32, frames_per_clip=4, hidden_size=32, num_attention_heads=4,
        num_hidden_layers=1, pred_hidden_size=24, pred_num_attention_heads=2,
        pred_num_hidden_layers=1, num_pooler_layers=1, id2label=dict(enumerate(NAMES)),
        label2id={name: number for number, name in enumerate(NAMES)},
    )  # fmt: skip
    model = VJEPA2ForVideoClassification(config).eval()
    model.save_pretrained(tmp_path / "ssv2")
    probe = import_huggingface(tmp_path / "ssv2")
    assert probe.classes == NAMES and probe.clips.num_frames == 4
    with torch.no_grad():
        expected = model.classifier(model.pooler(TOKENS))
        torch.testing.assert_close(probe.head(TOKENS), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(CheckpointError, match="has 3 classes, 2 names were given"):
        import_huggingface(tmp_path / "ssv2", classes=["a", "b"])
    model.save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    index = json.loads((tmp_path / "shards/model.safetensors.index.json").read_text())
    own = {f for name, f in index["weight_map"].items() if not name.startswith("vjepa2.")}
    for file in set(index["weight_map"].values()) - own:
        (tmp_path / "shards" / file).unlink()  # of the encoder alone, which is not read
    sharded = import_huggingface(tmp_path / "shards")
    assert torch.equal(sharded.head(TOKENS), probe.head(TOKENS))
    model.vjepa2.save_pretrained(tmp_path / "encoder")
    with pytest.raises(CheckpointError, match="has no classifier"):
        import_huggingface(tmp_path / "encoder")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.json", json.dumps(NAMES)),
        ("by_number.json", json.dumps({"2": "up", "0": "left", "1": "right"})),
        ("by_name.json", json.dumps({"up": "2", "left": "0", "right": 1})),
        ("lines.txt", "left\nright\n\nup\n"),
    ],
)
def test_class_names_in_any_common_layout(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_classes(tmp_path / name) == NAMES
    probe = import_meta(meta_file(tmp_path / "mine.pt"), 24, 16, classes=tmp_path / name)
    assert probe.classes == NAMES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"0": "a", "2": "b"}', "each number from 0 to 1, got the numbers 0, 2"),
        ('{"a": "b"}', r"got the numbers \(none\)"),
        ("3", "expected a JSON list"),
        ("[1, 2]", "expected a JSON list"),
        ("{", "cannot read the class names"),
    ],
)
def test_other_files_of_names_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "names.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_classes(tmp_path / "names.json")


def test_missing_and_wrong_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the class names in .*none\.json"):
        read_classes(tmp_path / "none.json")
    with pytest.raises(CheckpointError, match="has 3 classes, 1 names were given"):
        import_meta(meta_file(tmp_path / "mine.pt"), 24, 16, classes=["a"])
