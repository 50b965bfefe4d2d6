"""Encoders as graphs: their numbers for any batch size, and what is refused."""

import sys

import jaxtyping
import pytest
import torch
from oracles.tiny import clips, stir, tiny_model

from nexus.checkpoints import export
from nexus.checkpoints.export import export_onnx, export_program
from nexus.errors import CheckpointError, VideoShapeError

ARMS = {
    "learned": {},
    "sincos": {"positions": "sincos"},
    "2.0": {"factorized": False, "positions": "rope_tiled"},
    "2.1": {
        "factorized": False,
        "positions": "rope_interleaved",
        "rope_stretch": 16,
        "image_input": True,
        "modality_embedding": True,
        "feature_levels": (0, 2),
    },
}


@pytest.fixture(autouse=True)
def _unchecked_shapes():
    """The checks of annotations would fix the batch size of a traced graph."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def encoder_of(arm):
    model = tiny_model(**ARMS[arm])
    stir(model)
    return model.context_encoder


def check_other_clips(encoder, run, frames=8):
    encoder.eval()
    for batch in (1, 2, 5):
        video = clips(batch, seed=batch, frames=frames)
        with torch.no_grad():
            wanted = encoder(video)
        torch.testing.assert_close(run(video), wanted, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("arm", ARMS)
def test_a_program_gives_the_encoders_features(tmp_path, arm):
    encoder = encoder_of(arm).train()
    assert export_program(encoder, tmp_path / "x.pt2", (8, 16, 16)) < 1e-5
    assert encoder.training
    program = torch.export.load(tmp_path / "x.pt2")
    calls = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert not [call for call in calls if "mkldnn" in str(call)]  # it runs on other machines too
    check_other_clips(encoder, program.module())


@pytest.mark.parametrize("arm", ["learned", "2.1"])  # 2.0's goes through `nexus convert`
def test_an_onnx_graph_gives_the_encoders_features(tmp_path, arm):
    import onnxruntime

    encoder = encoder_of(arm)
    frames = 1 if arm == "2.1" else 8
    assert export_onnx(encoder, tmp_path / "x.onnx", (frames, 16, 16)) < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
    [video], [features] = session.get_inputs(), session.get_outputs()
    assert (video.name, features.name) == ("video", "features")
    assert video.shape[1:] == [3, frames, 16, 16]

    def run(clip):
        return torch.from_numpy(session.run(None, {"video": clip.numpy()})[0])

    check_other_clips(encoder, run, frames)


def test_clips_that_the_encoder_does_not_take_are_refused(tmp_path):
    for write in (export_program, export_onnx):
        with pytest.raises(VideoShapeError, match="multiples of tubelet_size 2"):
            write(encoder_of("2.0"), tmp_path / "x", (7, 16, 16))
    assert not list(tmp_path.iterdir())


def test_a_graph_with_other_numbers_is_refused():
    encoder, clip = encoder_of("2.0"), (8, 16, 16)
    with pytest.raises(CheckpointError, match="gives other features than the encoder"):
        export._checked(encoder, lambda video: encoder(video) * 1.01, clip, "x", 1e-4)
    assert export._checked(encoder, encoder, clip, "x", 0.0) == 0.0


@pytest.mark.parametrize("write", [export_program, export_onnx])
def test_a_refused_graph_leaves_what_was_there(tmp_path, write):
    path = tmp_path / "x"
    path.write_text("older")
    with pytest.raises(CheckpointError, match="gives other features than the encoder"):
        write(encoder_of("2.0"), path, (8, 16, 16), tolerance=-1.0)
    assert path.read_text() == "older" and list(tmp_path.iterdir()) == [path]


def test_a_refused_graph_appears_nowhere(tmp_path):
    with pytest.raises(CheckpointError), export._apart(tmp_path / "made/x") as written:
        written.write_text("new")
        raise CheckpointError("other numbers")
    assert not list((tmp_path / "made").iterdir())


def test_weights_in_a_file_of_their_own_come_along(tmp_path):
    with export._apart(tmp_path / "x.onnx") as written:
        for name in ("x.onnx", "x.onnx.data"):
            written.with_name(name).write_text(name)
        assert not list(tmp_path.glob("x.*"))
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"x.onnx": "x.onnx", "x.onnx.data": "x.onnx.data"}


def test_without_onnx_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(CheckpointError, match=r"onnxscript is not.*pip install 'nexus-vjepa\[exp"):
        export_onnx(encoder_of("2.0"), tmp_path / "x.onnx", (8, 16, 16))
