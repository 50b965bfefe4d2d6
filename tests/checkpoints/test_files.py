import json
import pickle

import pytest
import torch
from torch import nn

from nexus import atomic
from nexus.checkpoints import files
from nexus.checkpoints.files import (
    ModelCard,
    discard_leftovers,
    latest_checkpoint,
    load_checkpoint_model,
    load_state,
    read_card,
    resolve_checkpoint,
    save_checkpoint,
)
from nexus.checkpoints.weights import read_weights
from nexus.errors import CheckpointError
from nexus.models.ssl import build_model

TINY = {
    "img_size": 16,
    "num_frames": 4,
    "patch_size": 8,
    "encoder_dim": 16,
    "num_heads": 2,
    "num_spatial_layers": 1,
    "num_temporal_layers": 1,
    "predictor_dim": 16,
    "predictor_heads": 2,
    "num_predictor_layers": 1,
}


def card(step, **extra):
    return ModelCard(kind="vjepa", config=TINY, step=step, extra=extra)


def save(root, step, *, keep=2, state=None):
    return save_checkpoint(root, nn.Linear(2, 2), card(step), state or {}, keep=keep)


def names(root):
    return sorted(path.name for path in root.iterdir())


def test_a_checkpoint_holds_model_card_and_state(tmp_path):
    state = {
        "step": 5,
        "optimizer": {"state": {0: {"exp_avg": torch.arange(3.0)}}, "groups": [{"lr": 0.1}]},
        "nothing": None,
        "words": ["healthy", (1, 2.5)],
    }
    folder = save_checkpoint(tmp_path, nn.Linear(2, 2), card(5, recipe="small"), state)
    assert names(folder) == ["config.json", "model.safetensors", "state.pt"]
    assert read_card(folder) == card(5, recipe="small")
    loaded = load_state(folder)
    assert torch.equal(loaded["optimizer"]["state"][0]["exp_avg"], torch.arange(3.0))
    assert loaded["words"] == ["healthy", (1, 2.5)] and loaded["nothing"] is None
    assert json.loads((tmp_path / "latest.json").read_text()) == {
        "step": 5,
        "folder": "step_00000005",
    }


def test_only_the_last_ones_are_kept(tmp_path):
    for step in (10, 20, 30, 40):
        save(tmp_path, step, keep=2)
    assert names(tmp_path) == ["latest.json", "step_00000030", "step_00000040"]
    assert latest_checkpoint(tmp_path) == tmp_path / "step_00000040"


def test_a_run_that_went_back_keeps_what_it_writes(tmp_path):
    for step in (10, 20, 30):
        save(tmp_path, step, keep=3)
    (tmp_path / "latest.json").write_text('{"step": 10, "folder": "step_00000010"}')
    save(tmp_path, 20, keep=1, state={"second": True})
    assert load_state(latest_checkpoint(tmp_path)) == {"second": True}
    assert names(tmp_path) == ["latest.json", "step_00000020", "step_00000030"]


@pytest.mark.parametrize("moment", ["save_weights", "torch.save", "atomic._sync", "write_json"])
def test_a_failure_at_any_moment_leaves_a_whole_checkpoint(tmp_path, monkeypatch, moment):
    save(tmp_path, 1, state={"step": 1})

    def fail(*args, **kwargs):
        raise OSError("no space left on device")

    owner, _, name = moment.rpartition(".")
    monkeypatch.setattr({"": files, "torch": torch, "atomic": atomic}[owner], name, fail)
    with pytest.raises(OSError, match="no space"):
        save(tmp_path, 2)
    monkeypatch.undo()
    latest = latest_checkpoint(tmp_path)
    assert latest == tmp_path / "step_00000001"
    assert load_state(latest) == {"step": 1} and read_weights(latest / "model.safetensors")
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    save(tmp_path, 1)
    for name in (".leftover-0a0a0a0a", ".step_00000002.1b1b1b1b.tmp", ".step_00000002.2c.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".latest.json.12345678.tmp").write_text("{")
    assert discard_leftovers(tmp_path) == 4
    assert names(tmp_path) == ["latest.json", "step_00000001"]
    assert discard_leftovers(tmp_path / "nowhere") == 0


def test_a_run_its_folder_of_checkpoints_and_a_checkpoint_all_resolve(tmp_path):
    folder = save(tmp_path / "run" / "checkpoints", 3)
    for path in (tmp_path / "run", tmp_path / "run" / "checkpoints", folder, str(folder)):
        assert resolve_checkpoint(path) == folder


def test_without_latest_json_the_highest_step_counts(tmp_path):
    for step in (9, 10):
        save(tmp_path, step)
    (tmp_path / "latest.json").unlink()
    assert latest_checkpoint(tmp_path) == tmp_path / "step_00000010"


def test_paths_without_a_checkpoint_say_what_was_expected(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist; expected a run"):
        resolve_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds no checkpoint; expected config.json"):
        resolve_checkpoint(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="is a file"):
        resolve_checkpoint(tmp_path / "file")
    save(tmp_path, 1)
    (tmp_path / "latest.json").write_text('{"step": 7, "folder": "step_00000007"}')
    with pytest.raises(CheckpointError, match="step_00000007, which is not there"):
        latest_checkpoint(tmp_path)
    (tmp_path / "latest.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot read .*latest.json"):
        latest_checkpoint(tmp_path)


@pytest.mark.parametrize("kind", ["vjepa", "pixels"])
def test_a_model_is_built_and_loaded_from_its_folder_alone(tmp_path, kind):
    torch.manual_seed(3)
    model = build_model({"kind": kind, **TINY})
    config = model.config.to_mapping()
    save_checkpoint(tmp_path / "checkpoints", model, ModelCard(kind, config, 4), {})
    loaded = load_checkpoint_model(tmp_path)
    assert type(loaded) is type(model) and not loaded.training
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


def test_weights_that_do_not_fit_their_card_are_an_error(tmp_path):
    model = build_model({"kind": "vjepa", **TINY})
    config = {**TINY, "num_predictor_layers": 2}
    save_checkpoint(tmp_path, model, ModelCard("vjepa", config, 1), {})
    with pytest.raises(CheckpointError, match="missing from the file: predictor"):
        load_checkpoint_model(tmp_path)


def test_a_card_from_another_version_is_an_error(tmp_path):
    config = {**TINY, "wormholes": 3}
    save_checkpoint(tmp_path, build_model(TINY), ModelCard("vjepa", config, 1), {})
    with pytest.raises(CheckpointError, match="unknown key 'wormholes'"):
        load_checkpoint_model(tmp_path)


def test_a_damaged_card_is_an_error(tmp_path):
    folder = save(tmp_path, 1)
    (folder / "config.json").write_text('{"kind": "vjepa"}')
    with pytest.raises(CheckpointError, match="expected a mapping with kind, config and step"):
        read_card(folder)


class Trap:
    def __reduce__(self):
        return (print, ("code ran while loading",))


def test_a_state_that_would_run_code_is_refused(tmp_path, capsys):
    folder = save(tmp_path, 1)
    (folder / "state.pt").write_bytes(pickle.dumps({"trap": Trap()}, protocol=2))
    with pytest.raises(CheckpointError, match="state.pt"):
        load_state(folder)
    torch.save({"trap": Trap()}, folder / "state.pt")
    with pytest.raises(CheckpointError, match="state.pt"):
        load_state(folder)
    assert not capsys.readouterr().out


def test_a_cut_state_is_an_error(tmp_path):
    folder = save(tmp_path, 1, state={"tensor": torch.zeros(1000)})
    path = folder / "state.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="state.pt"):
        load_state(folder)
