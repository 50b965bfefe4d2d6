"""`nexus embed` writes what `nexus.embed` writes with the same settings."""

import numpy as np
import pytest
from PIL import Image

import nexus
from nexus.checkpoints.weights import tensor_digest
from nexus.cli.main import run
from nexus.features.table_files import load_table
from nexus.jobs.opening import open_encoder

CASES = [
    ("", {}),
    ("--which context --overlap 0.5", {"which": "context", "overlap": 0.5}),
    ("--frames 2 --fps 4 --pooling tokens", {"num_frames": 2, "fps": 4.0, "pooling": "tokens"}),
    (
        "--layers 0,1 --precision bf16 --size 32 --pooling mean_time",
        {"layers": (0, 1), "precision": "bf16", "img_size": 32, "pooling": "mean_time"},
    ),
    ("--pooling attentive --probe probe", {"pooling": "attentive", "probe": "probe"}),
]


@pytest.mark.parametrize(("options", "settings"), CASES)
def test_the_options_are_the_settings(here, capsys, options, settings):
    line = ["embed", "finished", "videos/test", "--out", "cli.arrow", *options.split()]
    assert run(line) == 0
    assert "Features: cli.arrow" in capsys.readouterr().out
    nexus.embed("finished", "videos/test", "api.arrow", **settings)
    shown, wanted = load_table("cli.arrow"), load_table("api.arrow")
    np.testing.assert_array_equal(shown.features, wanted.features)
    if settings:
        nexus.embed("finished", "videos/test", "plain.arrow")
        plain = load_table("plain.arrow").features
        assert plain.shape != shown.features.shape or not np.array_equal(plain, shown.features)


def test_videos_shorter_than_a_clip_are_padded_if_asked(here, capsys):
    line = ["embed", "finished", "videos/test", "--out", "f.arrow", "--frames", "16"]
    assert run(line) == 1
    assert run([*line, "--pad"]) == 0
    assert len(load_table("f.arrow").features) == 6


def test_pictures_are_taken_as_pictures(here, capsys):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(here / "videos" / name)
    assert run(["embed", "finished", "videos", "--out", "f.arrow", "--images"]) == 0
    assert len(load_table("f.arrow").features) == 2


def test_layers_are_numbers(here, capsys):
    assert run(["embed", "finished", "videos", "--out", "f.arrow", "--layers", "5;11"]) == 2
    assert "expected block numbers" in capsys.readouterr().err


def test_a_file_names_its_weights_and_is_not_replaced_unasked(here, capsys):
    line = ["embed", "finished", "videos/test", "--out", "f.parquet", "--overlap", "0.5"]
    assert run(line) == 0
    assert "of 6 videos, " in capsys.readouterr().err
    about = load_table("f.parquet").about
    opened = open_encoder("finished")
    spec = opened.clips.spec
    assert about["weights"] == str(here / "finished") and about["overlap"] == 0.5
    assert about["weights_sha256"] == tensor_digest(opened.encoder.state_dict())
    assert (about["num_frames"], about["fps"], about["size"]) == (
        spec.num_frames, spec.fps, list(spec.size)
    )  # fmt: skip
    assert about["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    before = (here / "f.parquet").read_bytes()
    assert run(line) == 1
    assert "is there already; add --force" in capsys.readouterr().err
    assert (here / "f.parquet").read_bytes() == before
    assert run([*line, "--force", "--frames", "2"]) == 0
    assert load_table("f.parquet").about["num_frames"] == 2
    label = ["label", "probe", "videos/test", "--encoder", "finished", "--out", "l.csv"]
    assert [run(label), run(label), run([*label, "--force"])] == [0, 1, 0]


COMMANDS = {
    "plan-run": ["plan-run", "videos", "--out", "{}/p.yaml"],
    "pretrain": ["pretrain", "videos", "--out"],
    "adapt": ["adapt", "videos/labels.csv", "--init", "none.pt", "--out"],
    "embed": ["embed", "none.pt", "videos", "--out", "{}/f.parquet"],
    "train-probe": ["train-probe", "none.pt", "videos/labels.csv", "--save"],
    "label": ["label", "none", "videos", "--encoder", "none.pt", "--out", "{}/l.csv"],
    "convert": ["convert", "none.pt", "--to", "hf", "--out"],
    "report": ["report", "finished", "--out", "{}/r.html"],
    "data motion": ["data", "motion", "videos", "--out"],
    "demo": ["demo", "--out"],
    "study toy": ["study", "toy", "--out"],
    "check": ["check", "videos", "--json", "{}/c.json"],
}
"""Before the weights are even looked for: there are none of this name."""


@pytest.mark.parametrize("place", ["/proc/new", "file", "file/new"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_unwritable_place_is_found_before_any_work(here, capsys, command, place):
    (here / "file").touch()
    before = sorted(here.rglob("*"))
    *line, last = COMMANDS[command]
    line += [last.format(place)] if "{}" in last else [last, place]
    assert run(line) == 1
    told = capsys.readouterr().err
    assert "cannot be written: " in told or "is a file, and a folder is needed" in told
    assert len(told.strip().splitlines()) == 1 and "(--" in told
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    "line",
    [
        ["pretrain", "bad", "--out", "out"],
        ["plan-run", "bad"],
        ["embed", "finished", "bad", "--out", "out.parquet"],
        ["label", "probe", "bad", "--encoder", "finished", "--out", "out.csv"],
        ["probe", "finished", "bad"],
        ["data", "motion", "bad", "--out", "out"],
    ],
)
def test_a_folder_without_a_usable_video_is_one_sentence(here, capsys, line):
    (here / "bad").mkdir()
    (here / "bad/a.mp4").write_text("no video")
    assert run(line) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "Error: bad: no usable video - " in told and "bad/a.mp4: cannot be opened" in told
    assert not list(here.glob("out*"))
