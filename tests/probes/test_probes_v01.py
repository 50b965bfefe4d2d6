"""Probes give the numbers that nexus 0.1 gave: on its run, and on tables drawn at random."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_worlds import make_table

import nexus
from nexus.checkpoints.probe_folder import load_probe_folder
from nexus.probes.knn import KNNProbe
from nexus.probes.linear import LinearProbe, RidgeProbe

ASSETS = Path(__file__).parents[1] / "assets/v0.1"
LINEAR = ("linear", 1.0, 29 / 30, (0.8864866068260312, 1.0), {"strength": 0.01})
KNN = (
    "knn", 0.9, 29 / 30, (0.7437891742081593, 0.9654001112526658),
    {"neighbours": 10, "temperature": 0.2},
)  # fmt: skip
RIDGE = (
    "ridge", 0.24442469235962017, 0.06406893497699806,
    (-0.08185680815309908, 0.3696443649433288), {"strength": 1e-05},
)  # fmt: skip


def train_old_probe(run: Path) -> Path:
    """The probe that lies in the assets, trained again."""
    changes = ("epochs=1", "depth=1", "learning_rates=[0.001]", "weight_decays=[0.1]")
    data = ASSETS / "videos/labels.csv"
    [trained] = nexus.train_probe(run, data, label="speed", overrides=changes)
    return trained.folder


def test_the_rows_of_a_run_are_the_same(tmp_path: Path) -> None:
    run = shutil.copytree(ASSETS / "finished", tmp_path / "finished")
    old = json.loads((run / "results/probes.json").read_text())["rows"]
    (run / "results/probes.json").unlink()
    nexus.probe(run, ASSETS / "videos/labels.csv")
    trained = train_old_probe(run)
    rows = json.loads((run / "results/probes.json").read_text())["rows"]
    by_name = {(row["arm"], row["task"], row["probe"]): row for row in rows}
    assert len(old) == 13
    for row in old:
        new = by_name[row["arm"], row["task"], row["probe"]]
        for key, value in row.items():
            assert new[key] == pytest.approx(value, abs=1e-6), (row["arm"], row["task"], key)
    old_head, old_card = load_probe_folder(ASSETS / "probe")
    head, card = load_probe_folder(trained)
    assert card.sweep[0].loss == pytest.approx(old_card.sweep[0].loss, abs=1e-6)
    for name, tensor in head.state_dict().items():
        torch.testing.assert_close(tensor, old_head.state_dict()[name], atol=1e-6, rtol=1e-5)


def test_the_probe_labels_the_videos(tmp_path: Path) -> None:
    one = {"clips_per_video": 1}
    classifier = nexus.load_probe(ASSETS / "probe", encoder=ASSETS / "finished", clips=one)
    labelled = nexus.label(classifier, ASSETS / "videos/labels.csv")
    assert len(labelled) == 24 and labelled.classes == ("slowing_down", "speeding_up")
    assert set(labelled.labels) == {"speeding_up"}
    expected = [0.49973854, 0.49855274, 0.49913812, 0.49904081]
    np.testing.assert_allclose(labelled.probabilities[:4, 0], expected, atol=1e-6)
    assert labelled.probabilities[:, 0].mean() == pytest.approx(0.49925604, abs=1e-6)


def test_probes_of_a_drawn_table() -> None:
    """Three clips of each of 120 videos; worked out at commit 85a8f2f."""
    generator = np.random.default_rng(2)
    classes = generator.integers(2, size=120)
    centres = generator.normal(size=(2, 8))
    features = np.repeat(centres[classes], 3, 0) * 0.6 + generator.normal(size=(360, 8)) + 3
    target = features[::3] @ generator.normal(size=8) + generator.normal(size=120)
    given = {
        "splits": [("train", "train", "validation", "test")[row // 3 % 4] for row in range(360)],
        "keys": [f"v{row // 3:04d}" for row in range(360)],
    }
    features = features.astype(np.float32)
    named = make_table(features, [f"c{one}" for one in np.repeat(classes, 3)], **given)
    valued = make_table(features, [repr(float(one)) for one in np.repeat(target, 3)], **given)
    for probe, table, expected in (
        (LinearProbe(), named, LINEAR),
        (KNNProbe(), named, KNN),
        (RidgeProbe(), valued, RIDGE),
    ):
        [result] = probe.measure(table, "class")
        found = (result.probe, result.value, result.validation, result.ci95, result.chosen)
        for got, wanted in zip(found, expected, strict=True):
            assert got == pytest.approx(wanted, abs=1e-9), result.probe
