"""Which sources are runs, which are weights, and what those are called."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from oracles.tiny import tiny_model

import nexus
from nexus.checkpoints.official import save_official
from nexus.data.catalog.catalog import scan
from nexus.data.catalog.sources import Entry
from nexus.data.loading.batch import normalise
from nexus.errors import CheckpointError
from nexus.features.table_files import load_table
from nexus.jobs.opening import open_encoder, read_videos
from nexus.runs.folder import find_run, run_folder
from nexus.toy.world import ToyConfig, write_toy_world

TINY = (
    "training.steps=0", "training.threads=1", "model.encoder_dim=32", "model.num_heads=2",
    "model.positions=rope_tiled", "model.factorized=false", "model.num_spatial_layers=2",
    "model.num_temporal_layers=0", "model.predictor_dim=16", "model.predictor_heads=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """`world/` (a list of clips) and `runs/first`, in a folder that is itself full of recipes."""
    home = tmp_path_factory.mktemp("home")
    world = ToyConfig.from_mapping(
        {"train_clips": 6, "validation_clips": 2, "test_clips": 2, "tasks": {"speed": 1.0}}
    )
    listing = write_toy_world(home / "world", world, seed=0)
    nexus.pretrain(listing, home / "runs/first", recipe="small", overrides=TINY, report=False)
    return home


def test_a_run_is_known_by_its_files_and_nothing_beside_it_is_one(home):
    run = home / "runs/first"
    [step] = run.glob("checkpoints/step_*")
    for inside in (run, run / "checkpoints", step):
        assert find_run(inside) == run and run_folder(inside) == run
    for other in (run / "results", run / "hf", home / "runs", home / "runs/none", step / "deep"):
        assert find_run(other) is None and run_folder(other) == other
    assert find_run("org/name") is None and find_run(run / "recipe.yaml") is None


@pytest.mark.parametrize("to", ["hf", "meta", "nexus"])
def test_weights_that_were_converted_into_a_run_are_weights(home, to):
    run = home / "runs/first"
    nexus.convert(run, run / to, to=to)
    opened = open_encoder(run / to)
    assert opened.recipe is None and opened.name == to
    kept = open_encoder(run).clips.spec  # transformers' files have no place for a stride
    assert opened.clips.spec == (kept.chosen({"fps": 4.0}) if to == "hf" else kept)
    assert open_encoder(run).recipe is not None


def test_a_checkpoint_that_was_taken_out_of_its_run_keeps_its_clips(home, tmp_path):
    [step] = (home / "runs/first").glob("checkpoints/step_*")
    shutil.copytree(step, tmp_path / "alone")
    alone, run = open_encoder(tmp_path / "alone"), open_encoder(home / "runs/first")
    assert alone.recipe is None and alone.clips.spec == run.clips.spec
    assert run.clips.spec.fps is None and run.clips.spec.resize is None
    loaded = nexus.load(home / "runs/first")
    assert nexus.processor(loaded).spec == nexus.processor(home / "runs/first").spec


def test_a_recipe_in_the_project_does_not_make_weights_a_run(home, tmp_path):
    nexus.convert(home / "runs/first", tmp_path / "vitl-hf", to="hf")
    shutil.copy(home / "runs/first/recipe.yaml", tmp_path / "recipe.yaml")
    assert open_encoder(tmp_path / "vitl-hf").recipe is None
    assert find_run(tmp_path) is None


def test_the_home_folder_may_be_written_as_a_tilde(home, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    for source in ("~/runs/first", Path("~/runs/first")):
        opened = open_encoder(source)
        assert opened.recipe is not None and opened.source == str(home / "runs/first")
        assert opened.results == home / "runs/first/results"
    tables = [
        load_table(nexus.embed(run, "~/world/test", tmp_path / "f.parquet", force=True))
        for run in ("~/runs/first", home / "runs/first")
    ]
    starts = [table.rows["start"].tolist() for table in tables]
    assert starts[0] == starts[1] and len(starts[0]) == 4
    with pytest.raises(CheckpointError, match="does not exist"):
        open_encoder("~/runs/none")


def test_a_runs_probes_stay_in_the_run_when_it_is_written_with_a_tilde(home, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    rows = nexus.probe("~/runs/first", label="speed", kinds=("knn",))
    assert {row.arm for row in rows} == {"vjepa", "random init", "raw pixels", "frame differences"}
    assert (home / "runs/first/results/probes.json").exists() and not list(tmp_path.iterdir())


def test_different_weights_have_different_names(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny_model(positions="rope_tiled", factorized=False, num_temporal_layers=0)
    for file in ("a/model.pt", "b/model.pt", "vjepa2.1-vitl.pt"):
        Path(file).parent.mkdir(exist_ok=True)
        save_official(file, model)
    for folder in ("vjepa2.1-vitl-hf", "vjepa2.1-vitg"):
        Path(folder).mkdir()
    opened = open_encoder("a/model.pt")

    def results(source):
        return str(replace(opened, source=source).results)

    assert opened.name == "a" and results("b/model.pt") == "probes/b"
    assert results("vjepa2.1-vitl.pt") == "probes/vjepa2.1-vitl"
    assert results("vjepa2.1-vitl-hf/") == "probes/vjepa2.1-vitl-hf"
    assert results("vjepa2.1-vitg") == "probes/vjepa2.1-vitg"
    assert results("org1/vitl") == "probes/org1--vitl"
    assert results("hf://org2/vitl") == "probes/org2--vitl"
    assert replace(opened, source="org1/vitl").name == "org1/vitl"
    monkeypatch.chdir(tmp_path / "a")
    assert results(".") == results("../a") == results("model.pt") == "probes/a"
    monkeypatch.chdir(tmp_path / "b")
    assert results("../vjepa2.1-vitg/..") == f"probes/{tmp_path.name}"


def test_the_processor_gives_the_input_that_embedding_reads(folder, trained, tmp_path):
    """A run's, a file's, an open model's: each shows the middle clip as the weights expect it."""
    video = next((folder / "clips").rglob("*.mp4"))
    loaded = nexus.load(folder / "w.pt")
    choice = {"fps": 8.0}
    inputs = nexus.processor(loaded, choice)(video)
    config = loaded.model.config
    assert inputs.shape == (1, config.in_chans, config.num_frames, *config.image_sides)
    assert torch.equal(nexus.processor(folder / "w.pt", choice)(video), inputs)
    opened = open_encoder(folder / "w.pt").with_clips(choice)
    assert torch.equal(nexus.processor(opened)(video), inputs)
    read = opened.reading(scan(video, workers=0)).dataset().sample(0, seed=0, epoch=0).video
    assert torch.equal(normalise(read[None]), inputs)
    assert loaded.encoder(inputs).isfinite().all()


class Dated:
    """A reader of a user's own, of a folder, with a label of its own."""

    def entries(self, path: Path) -> list[Entry]:
        return [Entry(one, one.name, {"day": "monday"}) for one in sorted(path.rglob("*.mp4"))]


def test_what_folders_are_taken_for_is_said_of_our_own_reader_alone(home, capsys):
    assert read_videos(home / "world").records
    assert "were taken for the splits" in capsys.readouterr().err
    mine = read_videos(home / "world", reader=f"{__name__}:Dated")
    assert {record.labels["day"] for record in mine.records} == {"monday"}
    assert "were taken for" not in capsys.readouterr().err


@pytest.mark.parametrize("to", ["hf", "meta"])
def test_a_run_that_cannot_be_converted_says_what_to_train_with(home, tmp_path, to):
    listing, run = home / "world/labels.csv", tmp_path / "run"
    odd = [change for change in TINY if "positions" not in change]
    odd += ["model.mlp=swiglu", "model.img_size=[32, 64]"] if to == "hf" else ["model.mlp=gelu"]
    nexus.pretrain(listing, run, recipe="small", overrides=odd, report=False)
    with pytest.raises(CheckpointError, match="is trained with") as refused:
        nexus.convert(run, tmp_path / "out", to=to)
    line = next(line for line in str(refused.value).splitlines() if "is trained with" in line)
    keys = line.partition("is trained with ")[2].split()
    expected = {"model.positions=rope_tiled", "model.mlp=gelu", "model.img_size=32"}
    assert set(keys) == (expected if to == "hf" else {"model.positions=rope_tiled"})
    changed = [*odd, *keys]
    nexus.pretrain(listing, tmp_path / "again", recipe="small", overrides=changed, report=False)
    nexus.convert(tmp_path / "again", tmp_path / "out", to=to)
    assert "| rate in training | every frame |" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize("to", ["hf", "meta", "nexus"])
def test_the_processor_reads_no_weights(home, tmp_path, to):
    folder = tmp_path / to
    nexus.convert(home / "runs/first", folder, to=to)
    expected = nexus.processor(nexus.load(folder)).spec
    assert nexus.processor(folder).spec == expected
    if to != "meta":  # of a .pt file the shapes are read, and its tensors stay on the disk
        (folder / "model.safetensors").write_bytes(b"nothing")
        assert nexus.processor(folder).spec == expected
    with pytest.raises(CheckpointError):
        nexus.processor(tmp_path / "none")
