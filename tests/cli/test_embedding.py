"""`nexus embed` writes what `nexus.embed` writes with the same settings."""

import numpy as np
import pytest
from PIL import Image

import nexus
from nexus.cli.main import run
from nexus.features.table_files import load_table

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
    line = ["embed", "finished", "videos/test", "--out", "cli.npz", *options.split()]
    assert run(line) == 0
    assert "Features: cli.npz" in capsys.readouterr().out
    nexus.embed("finished", "videos/test", "api.npz", **settings)
    shown, wanted = load_table("cli.npz"), load_table("api.npz")
    np.testing.assert_array_equal(shown.features, wanted.features)
    if settings:
        nexus.embed("finished", "videos/test", "plain.npz")
        plain = load_table("plain.npz").features
        assert plain.shape != shown.features.shape or not np.array_equal(plain, shown.features)


def test_videos_shorter_than_a_clip_are_padded_if_asked(here, capsys):
    line = ["embed", "finished", "videos/test", "--out", "f.npz", "--frames", "16"]
    assert run(line) == 1
    assert run([*line, "--pad"]) == 0
    assert len(load_table("f.npz").features) == 6


def test_pictures_are_taken_as_pictures(here, capsys):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(here / "videos" / name)
    assert run(["embed", "finished", "videos", "--out", "f.npz", "--images"]) == 0
    assert len(load_table("f.npz").features) == 2


def test_layers_are_numbers(here, capsys):
    assert run(["embed", "finished", "videos", "--out", "f.npz", "--layers", "5;11"]) == 2
    assert "expected block numbers" in capsys.readouterr().err
