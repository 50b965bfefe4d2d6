import pickle

import numpy as np
import pytest
import torch

from nexus.checkpoints.official import read_official
from nexus.checkpoints.pickled import read_pickled
from nexus.errors import CheckpointError


class Harmful:
    def __reduce__(self):
        import os

        return os.mkdir, ("was-run",)


def test_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"encoder": {}, "more": Harmful()}, "x.pt")
    (tmp_path / "y.pt").write_bytes(pickle.dumps(Harmful(), protocol=2))
    for name in ("x.pt", "y.pt"):
        with pytest.raises(CheckpointError, match="files that hold code are not run"):
            read_pickled(name)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("new", [True, False])
def test_both_file_formats_are_read(tmp_path, new):
    content = {"encoder": {"a": torch.arange(4.0)}, "epoch": 3, "loss": 0.5}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
    found = read_pickled(tmp_path / "x.pt")
    assert torch.equal(found["encoder"]["a"], content["encoder"]["a"]) and found["epoch"] == 3


@pytest.mark.parametrize("value", [np.float64(0.5), np.float32(2), np.int64(7), np.bool_(True)])
def test_a_training_scripts_numbers_may_be_numpys(tmp_path, value):
    torch.save({"loss": value}, tmp_path / "x.pt")
    assert read_pickled(tmp_path / "x.pt") == {"loss": value}


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damage):
    path = tmp_path / "x.pt"
    torch.save({"encoder": {"a": torch.randn(1000)}}, path)
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"empty": b"", "cut": whole[:-900], "text": b"no weights " * 20}[damage])
    with pytest.raises(CheckpointError, match=r"cannot read .*x\.pt"):
        read_pickled(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1, 2], "it holds list"),
        ({"state_dict": {}, "epoch": 1}, r"it holds \['state_dict', 'epoch'\]"),
        ({"encoder": [torch.ones(1)]}, "encoder is not a mapping of names to tensors"),
        ({"encoder": {"a": 1}}, "encoder is not a mapping of names to tensors"),
        (
            {"encoder": {"a": torch.ones(1), "module.a": torch.ones(1)}},
            "names that differ in their prefixes alone",
        ),
    ],
)
def test_other_files_are_not_taken_for_published_ones(tmp_path, content, says):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=says):
        read_official(tmp_path / "x.pt")
