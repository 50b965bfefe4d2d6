"""docs/extending.md, block by block: each part trains, and is seen to have acted."""

import json
import re
import shlex
import shutil
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch

from nexus.checkpoints.files import load_checkpoint_model
from nexus.checkpoints.weights import read_weights
from nexus.cli.main import run
from nexus.errors import ConfigError
from nexus.models.ssl import build_model
from nexus.runs.read import read_run

pytestmark = pytest.mark.usefixtures("undrawn")
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
SECTIONS = {
    part.partition("\n")[0].strip(): re.findall(r"```(\w+)\n(.*?)```", part, re.DOTALL)
    for part in PAGE.split("\n## ")[1:]
}
TINY = {
    "training.steps": 2,
    "training.batch_size": 4,
    "training.threads": 1,
    "training.log_every": 1,
    "model.img_size": 16,
    "model.num_frames": 4,
    "model.encoder_dim": 12,
    "model.num_heads": 2,
}


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A folder that has nothing of nexus: all Python of the page in mine.py, and some videos."""
    folder = tmp_path_factory.mktemp("own")
    blocks = [text for part in SECTIONS.values() for kind, text in part if kind == "python"]
    (folder / "mine.py").write_text("\n\n".join(blocks), encoding="utf-8")
    shutil.copytree(ROOT / "tests/assets/v0.1/videos", folder / "videos")
    videos = pd.read_csv(folder / "videos/labels.csv")
    chosen = videos[videos["split"] == "train"].dropna(subset="direction")
    lines = chosen["path"] + " " + chosen["direction"]
    (folder / "videos/train.txt").write_text("\n".join(lines), encoding="utf-8")
    for part in SECTIONS.values():
        for kind, text in part:
            if kind == "yaml":
                (folder / "arrow.yaml").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        yield folder
    sys.modules.pop("mine", None)


@pytest.fixture(scope="module", params=SECTIONS)
def section(request, there):
    """A section whose commands have been run, on tiny clips and for a few steps."""
    for kind, text in SECTIONS[request.param]:
        for line in text.splitlines() if kind == "bash" else ():
            words = shlex.split(line.replace("videos/ ", "videos/labels.csv "))
            assert words[0] == "nexus"
            if words[1] == "pretrain":
                words += [f"{key}={value}" for key, value in TINY.items()]
            assert run(words[1:]) == 0, line
    return request.param


def journal(run_folder: str) -> list[dict]:
    return [json.loads(line) for line in Path(run_folder, "journal.jsonl").open()]


def check_mask() -> None:
    model = load_checkpoint_model("runs/mask")
    assert type(model.mask).__module__ == "mine" and model.mask.step == 2
    [mask] = model.draw_masks(torch.randn(3, 3, 8, 16, 16))
    assert mask.context.tolist() == [[0, 1, 2, 3, 8, 9, 10, 11]] * 3
    assert mask.target.tolist() == [[4, 5, 6, 7, 12, 13, 14, 15]] * 3


def check_objective() -> None:
    rows = journal("runs/objective")
    assert len(rows) == 2 and all(row["cosine_loss"] == row["loss"] for row in rows)
    assert all("prediction_loss" not in row for row in rows)


def check_encoder() -> None:
    tensors = read_weights(load_folder("runs/encoder") / "model.safetensors")
    assert tensors["context_encoder.layers.0.weight"].shape == (64, 3 * 2 * 8 * 8)
    context, target = (tensors[f"{role}_encoder.layers.2.weight"] for role in ("context", "target"))
    assert not torch.equal(context, target)
    features = pd.read_parquet("features.parquet")
    assert len(features) and len(features["features"].iloc[0]) == 12


def check_data_set() -> None:
    seen = read_run("runs/lines").info.data
    chosen = Path("videos/train.txt").read_text().splitlines()
    assert seen.videos == len(chosen) > 4
    assert seen.labels == {"class": Counter(sorted(line.split()[1] for line in chosen))}


def check_probe() -> None:
    probed = read_run("runs/probed").probes
    assert probed is not None and {row.probe for row in probed.rows} == {
        "linear",
        "knn",
        "centroids",
    }
    [row] = [row for row in probed.rows if (row.role, row.probe) == ("trained", "centroids")]
    assert row.task == "direction" and 0 <= row.mean <= 1 and row.n_test > 0


def check_model() -> None:
    rows = journal("runs/arrow")
    assert all(0 <= row["right"] <= 1 and row["momentum"] is None for row in rows)
    assert load_checkpoint_model("runs/arrow").config.weight == 2.0
    probed = read_run("runs/arrow").probes
    assert probed is not None and {row.role for row in probed.rows} >= {"trained", "untrained"}


CHECKS = {
    "A mask": check_mask,
    "An objective": check_objective,
    "An encoder": check_encoder,
    "A data set": check_data_set,
    "A probe": check_probe,
    "A model": check_model,
}


def load_folder(run_folder: str) -> Path:
    latest = json.loads(Path(run_folder, "checkpoints/latest.json").read_text())
    return Path(run_folder, "checkpoints", latest["folder"])


def test_every_part_acts(section):
    CHECKS[section]()


def test_the_page_is_short_and_each_of_its_sections_is_checked():
    assert set(SECTIONS) == set(CHECKS)


def test_a_part_that_lacks_something_is_refused_in_words(there):
    (there / "half.py").write_text(
        "from torch import nn\n"
        "from nexus.models.contract import ModelConfig\n"
        "class Half(nn.Module):\n"
        "    Config = ModelConfig\n"
        "    def __init__(self, config):\n"
        "        super().__init__()\n"
        "        self.config = config\n"
    )
    with pytest.raises(
        ConfigError, match=r"model half:Half lacks evaluation_encoder, update_target, forward; see"
    ):
        build_model({"kind": "half:Half"})
