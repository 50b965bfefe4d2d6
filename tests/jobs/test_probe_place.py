"""Where probes and their results are kept, and that none replaces another unsaid."""

import json

import pandas as pd
import pytest
from tiny_weights import QUICK, make_model

import nexus
from nexus.checkpoints.official import save_official
from nexus.checkpoints.probe_folder import load_probe_folder
from nexus.cli.main import run
from nexus.errors import DataError, OutputError


def test_a_probe_is_not_replaced_by_another(folder, trained, here, capsys):
    data = folder / "clips/labels.csv"
    again = {"label": "speed", "clips": {"fps": 8.0}, "save": trained.folder}
    before = {path.name: path.read_bytes() for path in trained.folder.iterdir()}
    for changes, told in (
        ({"overrides": [*QUICK, "epochs=3"]}, r"training\.epochs \(2 there, 3 now\)"),
        ({"clips": {"fps": 4.0}}, r"clips\.fps \(8\.0 there, 4\.0 now\)"),
        ({"which": "context"}, r"encoder\.digest"),
        ({"seeds": 2}, r"training\.seeds \(1 there, 2 now\)"),
        ({"layers": (0, 2)}, r"encoder\.layers \(\[-1\] there, \[0, 2\] now\)"),
    ):
        arguments = {"overrides": QUICK, **again, **changes}
        with pytest.raises(DataError, match=rf"holds another probe: {told}.*--force"):
            nexus.train_probe(folder / "w.pt", data, **arguments)
    assert before == {path.name: path.read_bytes() for path in trained.folder.iterdir()}
    assert not list(here.iterdir())  # nothing was encoded for that

    kept = here / "kept"
    nexus.train_probe(folder / "w.pt", data, **{**again, "overrides": QUICK, "save": kept})
    card = json.loads((kept / "probe.json").read_text())
    nexus.train_probe(folder / "w.pt", data, **{**again, "overrides": QUICK, "save": kept})
    assert json.loads((kept / "probe.json").read_text()) == card
    capsys.readouterr()
    again |= {"overrides": [*QUICK, "epochs=1", "learning_rates=[1e-6]"], "save": kept}
    nexus.train_probe(folder / "w.pt", data, **again, force=True)
    assert load_probe_folder(kept)[1].training["epochs"] == 1


def test_a_row_of_other_values_does_not_go_unnoticed(folder, here, capsys):
    options = {"label": "speed", "clips": {"fps": 8.0}, "overrides": QUICK}
    data, table = folder / "clips/labels.csv", here / "probes/w/probes.json"
    nexus.train_probe(folder / "w.pt", data, **options)
    nexus.train_probe(folder / "w.pt", data, **options)
    assert "takes the place" not in capsys.readouterr().err
    content = json.loads(table.read_text())
    content["rows"][0] |= {"values": [0.125], "mean": 0.125}
    table.write_text(json.dumps(content))
    nexus.train_probe(folder / "w.pt", data, **options, save="elsewhere")
    told = " ".join(capsys.readouterr().err.split())
    assert "note: the row w, speed, attentive, 2 blocks of probes/w/probes.json takes" in told
    assert "the place of one with accuracy 0.125" in told


def test_rows_of_other_weights_of_the_same_name_are_not_lost_unsaid(folder, here, capsys):
    data, options = folder / "clips/labels.csv", {"kinds": ("linear",), "clips": {"fps": 8.0}}
    (here / "other").mkdir()
    save_official(here / "other/w.pt", make_model(encoder_dim=48, num_heads=3))
    first = {row.name: row for row in nexus.probe(folder / "w.pt", data, **options)}
    nexus.probe(folder / "w.pt", data, **options)
    assert "takes the place" not in capsys.readouterr().err
    second = {row.name: row for row in nexus.probe(here / "other/w.pt", data, **options)}
    told = " ".join(capsys.readouterr().err.split())
    changed = [name for name, row in second.items() if row.values != first[name].values]
    assert changed and told.count("takes the place of one with") == len(changed)
    for name in changed:
        was = f"{', '.join(name)} of probes/w/probes.json takes the place of one with accuracy "
        assert f"note: the row {was}{first[name].mean}" in told


def test_other_labels_make_another_probe(folder, here):
    table = pd.read_csv(folder / "clips/labels.csv")
    table["path"] = [str(folder / "clips" / path) for path in table["path"]]
    table.to_csv(here / "list.csv", index=False)
    options = {"label": "speed", "overrides": QUICK, "clips": {"fps": 8.0}}
    [found] = nexus.train_probe(folder / "w.pt", here / "list.csv", **options)
    table.iloc[1:].to_csv(here / "list.csv", index=False)
    with pytest.raises(DataError, match=r"training\.data_digest"):
        nexus.train_probe(folder / "w.pt", here / "list.csv", **options)
    (found.folder / "probe.json").write_text("{")
    with pytest.raises(DataError, match=r"its probe\.json cannot be read .*--force"):
        nexus.train_probe(folder / "w.pt", here / "list.csv", **options)


def test_a_place_that_cannot_be_written_is_found_at_once(folder, here):
    (here / "probe.safetensors").write_text("weights")
    (here / "plain").write_text("text")
    data = folder / "clips/labels.csv"
    for save, told in (
        (here / "probe.safetensors", r"probe\.safetensors is a file, .*\(--save"),
        (here / "plain/deep", r"plain is a file, .*\(--save"),
        ("/proc/probe", r"/proc/probe cannot be written: .*name another folder \(--save"),
    ):
        # The weights are not even looked for.
        with pytest.raises(OutputError, match=told):
            nexus.train_probe(here / "none.pt", data, save=save)
    assert sorted(path.name for path in here.iterdir()) == ["plain", "probe.safetensors"]


def test_a_probe_may_lie_in_the_home_folder(folder, trained, here, monkeypatch):
    monkeypatch.setenv("HOME", str(trained.folder.parent))
    classifier = nexus.load_probe(f"~/{trained.folder.name}")
    assert classifier.card == load_probe_folder(trained.folder)[1]


def test_a_published_probe_replaces_no_other(folder, trained, here):
    line = ["label", str(folder / "probe.pt"), str(folder / "clips/test"), "--fps", "8"]
    line += ["--encoder", str(folder / "w.pt"), "--save"]
    before = (trained.folder / "probe.json").read_bytes()
    assert run([*line, str(trained.folder)]) == 1
    assert run([*line, str(trained.folder / "probe.json")]) == 1
    assert (trained.folder / "probe.json").read_bytes() == before
    assert run([*line, "kept"]) == 0
    assert run([*line, "kept"]) == 0  # the same one
    assert run([*line, "kept", "--frames", "4"]) == 1
    assert run([*line, "kept", "--frames", "4", "--force"]) == 0
    assert nexus.load_probe("kept").spec.num_frames == 4


def test_a_runs_probe_is_kept_in_the_run(folder, here):
    tiny = ["training.steps=0", "training.threads=1", "model.encoder_dim=32", "model.num_heads=2"]
    data = folder / "clips/labels.csv"
    nexus.pretrain(data, here / "run", recipe="small", overrides=tiny, report=False)
    [found] = nexus.train_probe(here / "run", label="speed", overrides=QUICK, seeds=2)
    assert found.folder == here / "run/results/speed" and len(found.row.values) == 1
    classifier = nexus.load_probe(found.folder)
    assert classifier.card.encoder.source == str(here / "run")
    assert classifier.spec.num_frames == 8 and classifier.spec.size == (32, 32)
    rows = json.loads((here / "run/results/probes.json").read_text())["rows"]
    assert [row["probe"] for row in rows] == ["attentive, 2 blocks"]
    with pytest.raises(DataError, match="probed on clips as its recipe cuts them"):
        nexus.probe(here / "run", clips={"num_frames": 4})
