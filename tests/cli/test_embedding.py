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
