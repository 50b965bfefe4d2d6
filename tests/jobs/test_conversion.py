"""`nexus convert`: every format there and back, its account, its card, and what is not replaced."""

import json
import subprocess
import sys

import jaxtyping
import pytest
import torch
from oracles import published
from oracles.published import GIVEN, TINY
from oracles.tiny import clips, stir, tiny_model
from transformers import AutoModel

import nexus
from nexus.atomic import write_json
from nexus.checkpoints.files import ModelCard, load_checkpoint_model, save_checkpoint
from nexus.cli.main import run
from nexus.config import write_yaml
from nexus.errors import CheckpointError, OutputError
from nexus.jobs.conversion import FORMATS

ROTARY = {"factorized": False, "positions": "rope_tiled", "num_mask_tokens": 3, "mask_token": 1}
FILES = {
    "hf": {"config.json", "model.safetensors", "video_preprocessor_config.json"},
    "meta": {"model.pt"},
    "nexus": {"config.json", "model.safetensors"},
    "onnx": {"encoder.onnx"},
    "torch-export": {"encoder.pt2"},
}


@pytest.fixture(autouse=True)
def _unchecked_shapes():
    """The checks of annotations would fix the batch size of a traced graph."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def model():
    made = tiny_model(**ROTARY).eval()
    stir(made)
    return made


@pytest.fixture
def a_run(tmp_path, model):
    """What a run leaves behind, as far as a card reads it."""
    folder = tmp_path / "runs/first"
    card = ModelCard("vjepa", model.config.to_mapping(), 7)
    save_checkpoint(folder / "checkpoints", model, card, {})
    write_yaml(folder / "recipe.yaml", {"kind": "vjepa", "training": {"steps": 7}})
    data = {"source": "my | videos/", "videos": 123}
    info = {"status": "finished", "seed": 5, "steps_done": 7, "data": data}
    write_json(folder / "run.json", info | {"command": "nexus pretrain 'my | videos/'"})
    row = {"arm": "vjepa", "task": "action", "probe": "linear", "mean": 0.625, "values": [0.625]}
    write_json(folder / "results/probes.json", {"rows": [row]})
    return folder


def outputs(to, folder, video):
    """The features that the converted files give, each opened the way its card says."""
    if to == "hf":
        return AutoModel.from_pretrained(folder).get_vision_features(video.transpose(1, 2))
    if to in ("meta", "nexus"):
        return nexus.load(folder / "model.pt" if to == "meta" else folder).encoder(video)
    if to == "torch-export":
        return torch.export.load(folder / "encoder.pt2").module()(video)
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "encoder.onnx")
    return torch.from_numpy(session.run(None, {"video": video.numpy()})[0])


@pytest.mark.parametrize("to", [one for one in FORMATS if one != "world"])
def test_a_run_is_converted_and_gives_its_features(tmp_path, a_run, model, to, capsys):
    out = tmp_path / "out"
    assert run(["convert", str(a_run), "--to", to, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "100 of the model's 100 tensors match" in told
    assert f"Written: {out}" in told
    assert {path.name for path in out.iterdir()} == FILES[to] | {"README.md"}
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []
    video = clips(3)
    with torch.no_grad():
        found, wanted = outputs(to, out, video), model.target_encoder(video)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)
    card = (out / "README.md").read_text(encoding="utf-8")
    for text in (
        f"converted from | `{a_run}`, a checkpoint of nexus",
        "3 blocks of width 24, 2 heads, positions `rope_tiled`",
        "2 frames of 4 x 4 pixels, 3 channels",
        f"licence of the source weights | see `{a_run}`",
        "written by | nexus 0.1.0",
        "| data | `my &#124; videos/` |",
        "| videos | 123 |",
        "| steps | 7 |",
        "steps: 7",
        "vjepa | 62.5 |",
        "ImageNet",
    ):
        assert text in card
    assert ("clips of this file | 8 frames of 16 x 16 pixels" in card) == (
        "encoder" in str(FILES[to])
    )


def test_a_published_file_becomes_a_checkpoint_that_everything_else_reads(tmp_path):
    torch.save(published.random_file("vjepa2", TINY), tmp_path / "vitl.pt")
    settings = [f"{key}={value}" for key, value in GIVEN.items()]
    line = ["convert", str(tmp_path / "vitl.pt"), *settings, "--to", "nexus"]
    assert run([*line, "--out", str(tmp_path / "vitl")]) == 0
    again = load_checkpoint_model(tmp_path / "vitl")
    wanted = nexus.load(tmp_path / "vitl.pt", config=GIVEN).model
    assert again.config == wanted.config
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    about = json.loads((tmp_path / "vitl/config.json").read_text())
    assert about["converted_from"] == str(tmp_path / "vitl.pt")
    meta = nexus.convert(tmp_path / "vitl", tmp_path / "back", to="meta")
    state = torch.load(meta.out / "model.pt", weights_only=True)
    before = torch.load(tmp_path / "vitl.pt", weights_only=True)
    for part in ("encoder", "target_encoder", "predictor"):
        assert state[part].keys() == before[part].keys()
        assert all(torch.equal(state[part][name], before[part][name]) for name in before[part])


def test_the_context_encoder_is_written_when_that_is_asked_for(tmp_path, a_run, model):
    model.context_encoder.norm.bias.data.add_(1.0)
    card = ModelCard("vjepa", model.config.to_mapping(), 8)
    save_checkpoint(a_run / "checkpoints", model, card, {})
    done = nexus.convert(a_run, tmp_path / "out", to="hf", which="context")
    reference = AutoModel.from_pretrained(tmp_path / "out")
    assert torch.equal(reference.encoder.layernorm.bias, model.context_encoder.norm.bias)
    assert "the context encoder is written" in done.explain()
    assert "encoder written | context encoder" in (done.out / "README.md").read_text()


def test_transformers_other_mask_token_is_told(tmp_path, a_run, model):
    told = nexus.convert(a_run, tmp_path / "one", to="hf").explain()
    assert "mask token" not in told
    other = tiny_model(**{**ROTARY, "mask_token": 2})
    card = ModelCard("vjepa", other.config.to_mapping(), 9)
    save_checkpoint(a_run / "checkpoints", other, card, {})
    told = nexus.convert(a_run, tmp_path / "two", to="hf").explain()
    assert "transformers' predictor always uses mask token 1; this model's uses 2" in told


def test_a_graph_needs_no_predictor_and_takes_other_clips(tmp_path):
    content = published.random_file("vjepa2", TINY)
    del content["predictor"]
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="predictor='fresh'"):
        nexus.convert(tmp_path / "x.pt", tmp_path / "out", to="hf", config=GIVEN)
    line = ["convert", str(tmp_path / "x.pt"), "num_heads=2", "predictor_heads=2", "img_size=16"]
    line += ["--frames", "4", "--size", "8", "--channels", "1", "--to", "torch-export"]
    assert run([*line, "--out", str(tmp_path / "out")]) == 0
    video = clips(2, frames=4, height=8, width=8, chans=1)
    features = outputs("torch-export", tmp_path / "out", video)
    assert features.shape == (2, 2 * 4, 24)


def test_the_size_of_clips_is_refused_where_it_has_no_meaning(tmp_path, a_run):
    with pytest.raises(CheckpointError, match="given for a graph alone"):
        nexus.convert(a_run, tmp_path / "out", to="nexus", img_size=32)
    assert not (tmp_path / "out").exists()


def test_nothing_is_replaced_unless_it_is_asked_for(tmp_path, a_run, capsys):
    out = tmp_path / "out"
    line = ["convert", str(a_run), "--out", str(out)]
    assert run([*line, "--to", "nexus"]) == 0
    before = (out / "model.safetensors").read_bytes()
    assert run([*line, "--to", "meta"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert (out / "model.safetensors").read_bytes() == before
    assert run([*line, "--to", "meta", "--force"]) == 0
    assert {path.name for path in out.iterdir()} == FILES["meta"] | {"README.md"}
    (out / "thesis.tex").write_text("years of work")
    assert run([*line, "--to", "nexus", "--force"]) == 1
    assert '"thesis.tex"' in capsys.readouterr().err
    assert (out / "model.pt").exists() and (out / "thesis.tex").exists()


@pytest.mark.parametrize("readme", [None, "# V-JEPA 2\n\nwritten by | the authors\n"])
def test_a_model_that_no_conversion_wrote_is_never_replaced(tmp_path, a_run, model, readme):
    theirs = _hf(tmp_path, model, readme)
    before = {path.name: path.read_bytes() for path in theirs.iterdir()}
    with pytest.raises(CheckpointError, match="no README.md that says that nexus wrote it"):
        nexus.convert(a_run, theirs, to="hf", force=True)
    assert {path.name: path.read_bytes() for path in theirs.iterdir()} == before


def test_a_run_is_never_replaced_by_its_conversion(tmp_path, a_run):
    with pytest.raises(CheckpointError, match="which no conversion wrote"):
        nexus.convert(a_run, a_run, to="nexus", force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        nexus.convert(a_run, tmp_path / "file", to="nexus", force=True)


@pytest.mark.parametrize("wrong", [{"to": "tensorflow"}, {"to": "hf", "which": "student"}])
def test_wrong_words_are_refused(tmp_path, a_run, wrong):
    with pytest.raises(CheckpointError, match="expected one of"):
        nexus.convert(a_run, tmp_path / "out", **wrong)


def test_what_cannot_be_converted_leaves_nothing_behind(tmp_path, capsys):
    model = tiny_model()
    card = ModelCard("vjepa", model.config.to_mapping(), 1)
    save_checkpoint(tmp_path / "plain", model, card, {})
    for to, says in (("hf", "cannot compute this one"), ("meta", "Meta's code has no model")):
        assert run(["convert", str(tmp_path / "plain"), "--to", to, "--out", f"{tmp_path}/o"]) == 1
        assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


@pytest.mark.parametrize("published", [True, False])
def test_the_processor_of_transformers_gets_its_settings(tmp_path, model, published):
    if published:
        source = _hf(tmp_path, model, None)
    else:  # a checkpoint of ours: all that the crop can hold
        source = tmp_path / "c"
        save_checkpoint(source, model, ModelCard("vjepa", model.config.to_mapping(), 1), {})
    done = nexus.convert(source, tmp_path / "out", to="hf")
    side = model.config.image_sides[0]
    short = int(side * 256 / 224) if published else side
    told = json.loads((tmp_path / "out/video_preprocessor_config.json").read_text())
    # Of the published folders (there 256 and 292) `VJEPA2VideoProcessor` has a rule of its own,
    # whatever the file says; the other class does as the file says.
    name = "VJEPA2VideoProcessor" if published else "LlavaNextVideoVideoProcessor"
    assert told["size"] == {"shortest_edge": short}
    assert told["crop_size"] == {"height": side, "width": side}
    assert told["video_processor_type"] == name and told["resample"] == 2
    assert told["image_mean"] == [0.485, 0.456, 0.406]
    assert told["image_std"] == [0.229, 0.224, 0.225]
    assert all(told[f"do_{step}"] for step in ("resize", "center_crop", "rescale", "normalize"))
    assert told["rescale_factor"] == pytest.approx(1 / 255)
    assert f"short side to {short} pixels and shows the middle {side}, as" in done.explain()
    nexus.convert(source, tmp_path / "out", to="hf", force=True)


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        ("---\nlibrary_name: transformers\nlicense: mit\ntags:\n- video\n---\n# V-JEPA 2\n", "mit"),
        ("# V-JEPA 2\n\nlicense: mit\n", None),
        ("---\nlicense: [a, b]\n---\n", None),
        ("---\nlicense: }{\n---\n", None),
        (None, None),
    ],
)
def test_the_licence_is_the_sources(tmp_path, model, readme, licence):
    nexus.convert(_hf(tmp_path, model, readme), tmp_path / "out", to="nexus")
    card = (tmp_path / "out/README.md").read_text()
    told = licence or f"see `{tmp_path / 'hf'}`"
    assert f"licence of the source weights | {told} |" in card
    assert (f"license: {licence}" in card) == (licence is not None)
    nexus.convert(tmp_path / "out", tmp_path / "more", to="meta")  # it is handed on
    assert (f"license: {licence}" in (tmp_path / "more/README.md").read_text()) == bool(licence)


def _hf(tmp_path, model, readme):
    from nexus.checkpoints.huggingface import save_huggingface

    save_huggingface(tmp_path / "hf", model)
    if readme is not None:
        (tmp_path / "hf/README.md").write_text(readme)
    return tmp_path / "hf"


def test_the_command_needs_no_libraries_that_it_does_not_use(tmp_path, model):
    folder = _hf(tmp_path, model, None)
    code = (
        "import sys; absent = ('huggingface_hub', 'transformers', 'onnx', 'onnxruntime'); "
        "sys.modules.update(dict.fromkeys(absent)); from nexus.cli.main import run; "
        f"assert run(['convert', {str(folder)!r}, '--to', 'nexus', '--out', {str(tmp_path)!r} + "
        "'/out']) == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_folder_with_metas_file_is_read_back(tmp_path, a_run, model):
    nexus.convert(a_run, tmp_path / "meta", to="meta")
    again = nexus.load(tmp_path / "meta")
    assert again.kind == "vjepa2"
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name


def test_a_file_name_is_not_taken_for_a_folder(tmp_path, a_run):
    with pytest.raises(CheckpointError, match="names a file; give a folder"):
        nexus.convert(a_run, tmp_path / "vitl.pt", to="meta")
