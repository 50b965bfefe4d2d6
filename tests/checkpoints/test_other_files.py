"""Files that are not V-JEPA 2's: each error names the path and what it seems to be."""

import gzip
import pickle
import re
from functools import partial

import pytest
import torch
from oracles import published
from oracles.published import GIVEN, TINY, Sizes
from safetensors.torch import save_file

import nexus
from nexus.checkpoints.load import load
from nexus.cli.main import run
from nexus.errors import CheckpointError
from nexus.jobs import opening


class Harmful:
    def __reduce__(self):
        import os

        return os.mkdir, ("was-run",)


BYTES = {
    "text": (
        b"# V-JEPA 2 weights\n\nsee the other folder\n" * 30,
        "text file.*'# V-JEPA 2 weights",
    ),
    "accents": ("Gewichte f\u00fcr alle\n".encode() * 99, "text file"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
    "page": (b"\n<!DOCTYPE html>\n<html><head></head></html>", "web page"),
    "gzip": (gzip.compress(b"weights"), "gzip archive; unpack"),
    "empty": (b"", "it is empty"),
    "noise": (bytes(range(1, 256)) * 9, "none of the formats"),
    "code": (
        pickle.dumps(Harmful(), protocol=2),
        r"holds code or objects of its own \(posix.mkdir",
    ),
    "old code": (pickle.dumps(Harmful(), protocol=0), r"holds code .*posix.mkdir"),
    "cut pickle": (pickle.dumps({"encoder": list(range(999))}, protocol=2)[:-9], "damaged pickle"),
}


@pytest.mark.parametrize("kind", BYTES)
def test_what_is_no_weights_file_is_told_in_our_words(tmp_path, monkeypatch, kind, capsys):
    monkeypatch.chdir(tmp_path)
    content, seems = BYTES[kind]
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(
        CheckpointError, match=rf"(?s)cannot read {tmp_path}/w\.pt: .*{seems}"
    ) as it:
        load(tmp_path / "w.pt")
    for words in ("weights_only", "\x1b", "torch.serialization", "unpickl", "Traceback"):
        assert words not in str(it.value)
    assert run(["embed", "w.pt", "videos", "--out", "f.parquet"]) == 1
    assert re.search("cannot read w.pt", " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "was-run").exists()


def test_an_archive_with_code_in_it_and_others_are_told(tmp_path):
    torch.save({"encoder": {}, "more": Harmful()}, tmp_path / "code.pt")
    torch.save({"encoder": {"a": torch.randn(999)}}, tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-500])
    save_file({"a": torch.ones(3)}, tmp_path / "tensors.pt")
    for name, seems in (
        ("code", r"holds code or objects of its own \(posix\.mkdir\)"),
        ("cut", "damaged or incomplete archive"),
        ("tensors", "safetensors file"),
    ):
        with pytest.raises(CheckpointError, match=rf"{name}\.pt: it.*{seems}"):
            load(tmp_path / f"{name}.pt")


CONTENTS = {
    "probe": ({"classifiers": [{}]}, "published probe.*--encoder WEIGHTS"),
    "network": ({"patch_embed.proj.weight": torch.ones(1), "norm.bias": torch.ones(1)}, "a single"),
    "training": ({"state_dict": {}, "epoch": 1}, r"\['state_dict', 'epoch'\].*another training"),
    "list": ([1, 2], "it holds list"),
    "empty": ({"encoder": {}}, "no patch_embed.proj.weight but nothing"),
    "other": ({"encoder": {"conv1.weight": torch.ones(1)}}, "no patch_embed.*but conv1.weight"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_other_content_is_told(tmp_path, kind):
    content, seems = CONTENTS[kind]
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/w\.pt.*{seems}"):
        load(tmp_path / "w.pt")


@pytest.mark.parametrize("predictor", ["file", "fresh"])
@pytest.mark.parametrize("kind", ["image", "ijepa"])
def test_an_encoder_of_pictures_is_told(tmp_path, predictor, kind):
    """I-JEPA's files have all the names of V-JEPA's, and one frame a patch."""
    content = published.random_file("vjepa2", Sizes(mask_tokens=1), prefix="module.")
    for part in ("encoder", "target_encoder"):
        state = content[part]
        state["module.patch_embed.proj.weight"] = torch.randn(24, 3, 4, 4)
        state["module.pos_embed"] = torch.randn(1, 16, 24)
    if kind == "image":
        content = {"encoder": content["encoder"]}
    torch.save(content, tmp_path / "in1k.pth.tar")
    with pytest.raises(
        CheckpointError, match=rf"{tmp_path}/in1k.*encoder of pictures \(I-JEPA.*\(24, 3, 4, 4\)"
    ):
        load(tmp_path / "in1k.pth.tar", predictor=predictor, config=GIVEN)


@pytest.mark.parametrize("predictor", ["file", "fresh"])
@pytest.mark.parametrize("tokens", [None, 1, 2])
@pytest.mark.parametrize("parts", [("encoder",), ("encoder", "target_encoder")])
def test_position_tables_that_would_be_left_aside_are_refused(tmp_path, predictor, tokens, parts):
    content = published.random_file("vjepa2", Sizes(mask_tokens=tokens or 2))
    content = {part: content[part] for part in (*parts, "predictor")}
    for part in parts:
        content[part]["pos_embed"] = torch.zeros(1, 64, 24)
    if tokens is None:
        del content["predictor"]
    torch.save(content, tmp_path / "v1.pt")
    found = {None: "no predictor", 1: "one mask token", 2: "two mask tokens"}[tokens]
    with pytest.raises(CheckpointError, match=rf"v1\.pt looks like V-JEPA, the.*{found}\."):
        load(tmp_path / "v1.pt", predictor=predictor, config=GIVEN)
    rotary = {**GIVEN, "positions": "rope_tiled"}
    loaded = load(
        tmp_path / "v1.pt", predictor=predictor, config=rotary, allow_missing=["predictor.*"]
    )
    assert "encoder: pos_embed" in loaded.report.ignored


def test_a_stray_table_beside_ten_mask_tokens_is_left_aside(tmp_path):
    content = published.random_file("vjepa2", Sizes(mask_tokens=10))
    content["target_encoder"]["pos_embed"] = torch.zeros(1, 64, 24)
    torch.save(content, tmp_path / "w.pt")
    assert load(tmp_path / "w.pt", config=GIVEN).report.ignored == ("target_encoder: pos_embed",)


@pytest.mark.parametrize("width", [12, 36, 48])
def test_a_predictor_of_another_width_is_told(tmp_path, width):
    content = published.random_file("vjepa2", TINY)
    other = published.random_file("vjepa2", Sizes(dim=width))
    torch.save({**content, "predictor": other["predictor"]}, tmp_path / "w.pt")
    with pytest.raises(
        CheckpointError, match=rf"w\.pt: its predictor is for features of width {width}.*have 24"
    ):
        load(tmp_path / "w.pt", config=GIVEN)
    loaded = load(tmp_path / "w.pt", config=GIVEN, predictor="fresh")
    assert loaded.predictor_is_fresh and loaded.model.config.predicted_levels == 1


def test_the_account_says_which_encoder_is_in_use_and_what_else_there_is(tmp_path):
    torch.save(published.random_file("vjepa2", TINY), tmp_path / "vitl.pt")
    for role, part, other, its in (
        ("target", "target_encoder", "context", "encoder"),
        ("context", "encoder", "target", "target_encoder"),
    ):
        loaded = load(tmp_path / "vitl.pt", role=role, config=GIVEN)
        account = loaded.explain()
        assert f"the {role} encoder is in use, `{part}`" in account
        assert (
            f"the {other} encoder, `{its}`" in account and f"--which {other}); further" in account
        )
        assert "; further: a predictor, `opt` (left aside), `epoch` (left aside)" in account
        assert "`encoder`, from which transformers' folders on the hub were conv" in loaded.choice
        assert account.count("transformers' folders") == 1
    one = {"encoder": published.random_file("vjepa2", TINY)["encoder"]}
    torch.save(one, tmp_path / "vitl.pt")
    loaded = load(tmp_path / "vitl.pt", config=GIVEN, predictor="fresh")
    assert "one encoder, `encoder`; it is both" in loaded.explain()
    assert "--which" not in loaded.explain() and not loaded.choice


@pytest.mark.parametrize(
    ("name", "side", "why"),
    [
        ("my-vitg384.pt", 384, "from its name, my-vitg384.pt"),
        ("tuned_256_best.pt", 256, "from its name"),
        ("mine.pt", 256, "as published files of this kind have"),
        ("256-to-384.pt", 256, "as published files of this kind have"),
        ("step1500.pt", 256, "as published files of this kind have"),
        ("vitl.pt", 256, None),
        ("vitg-384.pt", 384, None),
    ],
)
def test_a_size_that_the_file_does_not_say_is_told_and_never_written(tmp_path, name, side, why):
    content = published.random_file("vjepa2", Sizes(dim=48, patch=16))
    torch.save(content, tmp_path / name)
    told = {"num_heads": 2, "predictor_heads": 2, "num_frames": 8}
    loaded = load(tmp_path / name, config=told)
    assert loaded.model.config.image_sides == (side, side)
    notes = [note for note in loaded.notes if "are assumed" in note]
    if why is None:
        assert not notes and not loaded.assumed_size
        nexus.convert(tmp_path / name, tmp_path / "out", to="nexus", config=told)
        return
    assert len(notes) == 1 and f"{side} x {side} pixels are assumed, {why}" in notes[0]
    line = ["convert", str(tmp_path / name), *(f"{k}={v}" for k, v in told.items()), "--out"]
    for to in ("hf", "nexus", "meta", "torch-export"):
        with pytest.raises(CheckpointError, match=rf"A guess is not.*--img-size {side} if it"):
            nexus.convert(tmp_path / name, tmp_path / "out", to=to, config=told)
    assert run([*line, str(tmp_path / "out"), "--to", "nexus", "--img-size", "64"]) == 0
    assert nexus.load(tmp_path / "out").model.config.image_sides == (64, 64)


def test_a_size_that_is_given_is_no_guess(tmp_path, monkeypatch):
    """The note goes, and no other one comes: what was trained is not known."""
    torch.save(published.random_file("vjepa2", TINY), tmp_path / "mine.pt")
    told = {"num_heads": 2, "predictor_heads": 2, "num_frames": 8}
    monkeypatch.setattr(opening, "load", partial(opening.load, config=told))
    opened = opening.open_encoder(tmp_path / "mine.pt")
    assert any("are assumed" in note for note in opened.notes)
    larger = opened.with_clips({"img_size": 384})
    assert not any("are assumed" in note for note in larger.notes)
    assert larger.off_distribution() is None
    assert "16 frames, not 8" in (larger.with_clips({"num_frames": 16}).off_distribution() or "")
