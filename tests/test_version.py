"""Which version is running, also where nexus is a source folder that was never installed."""

import json
import re
from importlib import metadata

import pytest
from oracles.tiny import tiny_model

import nexus
from nexus import version
from nexus.checkpoints.files import ModelCard, save_checkpoint
from nexus.checkpoints.probe_folder import (
    EncoderIdentity,
    ProbeCard,
    load_probe_folder,
    save_probe,
)
from nexus.cli.main import run
from nexus.data.clip_spec import ClipSpec
from nexus.models.heads import AttentiveHead, AttentiveHeadConfig
from nexus.training.environment import describe_environment


@pytest.fixture
def not_installed(monkeypatch):
    real = metadata.version

    def without_nexus(name):
        if name == version.DISTRIBUTION:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", without_nexus)


def test_the_installed_version_has_numbers():
    assert re.match(r"\d+\.\d+", version.nexus_version())


def test_from_a_source_folder_it_is_unknown(not_installed, capsys):
    assert version.nexus_version() == describe_environment()["nexus"] == "unknown"
    assert run(["version"]) == 0
    assert "nexus unknown" in capsys.readouterr().out


def test_from_a_source_folder_probes_are_saved(tmp_path, not_installed):
    head = AttentiveHeadConfig(dim=8, num_classes=2, num_heads=2, depth=1)
    card = ProbeCard(
        task="action",
        classes=("open", "close"),
        head=head,
        encoder=EncoderIdentity(source="runs/a", dim=8),
        clips=ClipSpec(num_frames=8, fps=4.0, size=16),
    )
    _, written = load_probe_folder(save_probe(tmp_path, AttentiveHead(head), card))
    assert written.nexus == "unknown"


def test_from_a_source_folder_weights_are_converted(tmp_path, not_installed):
    model = tiny_model()
    card = ModelCard("vjepa", model.config.to_mapping(), 1)
    save_checkpoint(tmp_path / "run", model, card, {})
    nexus.convert(tmp_path / "run", tmp_path / "out", to="nexus")
    assert json.loads((tmp_path / "out/config.json").read_text())["nexus"] == "unknown"
    assert "| written by | nexus unknown, " in (tmp_path / "out/README.md").read_text()
