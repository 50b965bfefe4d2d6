"""`benchmarks/data.py`: its arithmetic; all arms see the same clips; it prints what it promises."""

import json
import math
import subprocess
import sys
from pathlib import Path

import data
import numpy as np
import pytest

from nexus.data.catalog.catalog import scan
from nexus.data.loading.cache import CacheConfig
from nexus.data.videos.pyav import PyAVDecoder

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "data.py"
SMALL = "--sizes 64x48 --videos 2 --seconds 2 --frames 4 --img-size 32 --batch 2 --batches 1"
ARMS = [
    "bare decoding", "nexus' decoder", "loader", "loader, memory cache", "loader, disk cache"
]  # fmt: skip


def test_rates_and_shares_are_taken_over_all_rounds() -> None:
    options = data.parse(["--batch", "2", "--batches", "3"])
    bare = [data.Turn(wall=1.0, busy=2.0), data.Turn(wall=3.0, busy=2.0)]
    mine = [data.Turn(wall=2.0, busy=4.0), data.Turn(wall=3.0, busy=4.0)]
    row = data.summary("loader", mine, bare, options)
    assert row["clips_per_second"] == 12 / 5  # two rounds of six clips
    assert row["cpu_ms_per_clip"] == pytest.approx(8000 / 12)
    assert row["share"] == 4 / 5 and row["share_by_cpu"] == 0.5
    assert row["rounds"] == 2 and row["share_by_round"] == [0.5, 1.0]
    idle = [data.Turn(wall=2.0, busy=0.0)] * 2  # less than a tick of the system's clock
    assert math.isnan(data.summary("loader", idle, bare, options)["share_by_cpu"])


def test_options_that_leave_nothing_to_compare_are_refused(capsys) -> None:
    for words in ("--workers 0", "--minutes 0", "--decoder none"):
        with pytest.raises(SystemExit):
            data.parse(words.split())
        assert words.split()[0] in capsys.readouterr().err


def test_bare_decoding_gets_the_clips_that_the_loader_asks_for(tmp_path: Path) -> None:
    options = data.parse([*SMALL.split(), "--workers", "1"])
    data.write_videos(tmp_path / "videos", "64x48", options)
    catalog = scan(tmp_path / "videos", workers=0)
    asked = data.Jobs(catalog, options)[0:2]
    assert [len(job) for job in asked] == [options.batch] * 2
    decoder = PyAVDecoder()
    loader = data.make_loader(catalog, decoder, CacheConfig(), options, workers=0)
    for job, batch in zip(asked, loader, strict=False):
        assert [path for path, _ in job] == [catalog.records[i].path for i in batch.record_index]
    for job in asked:
        data.decode_by_hand(job)  # refuses a clip with frames that are not there
        for path, numbers in job:
            assert len(decoder.frames(path, numbers)) == len(numbers) == options.frames
            assert (np.diff(numbers) > 0).all()


@pytest.mark.slow
def test_a_small_run(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    few = ["--workers", "1", "--minutes", "0.001", "--json", str(file)]
    run = subprocess.run(
        [sys.executable, str(SCRIPT), *SMALL.split(), *few],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    rows = json.loads(file.read_text())["rows"]
    assert [row["arm"] for row in rows] == ARMS
    for row in rows:
        assert row["rounds"] == 4 == len(row["share_by_round"])
        assert row["clips_per_second"] > 0 and row["share"] > 0
        assert row["arm"] in run.stdout
    assert rows[0]["share"] == 1.0
