"""Whatever a decoder raises for some files, each job goes on and names these files."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_videos import write_variable_rate
from test_jobs import TINY

import nexus
from nexus.cli.main import run
from nexus.data.catalog.catalog import Catalog, VideoRecord, scan
from nexus.data.catalog.inspection import inspect
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.clip_source import ClipSource
from nexus.data.loading.dataset import ClipDataset, Sample
from nexus.data.loading.video_reader import VideoReader
from nexus.data.videos.pyav import PyAVDecoder
from nexus.errors import DataError
from nexus.features.table_files import load_table
from nexus.features.window_reader import WindowReader


class OwnError(Exception):
    """One that nobody has heard of, and that cannot be shown as text either."""

    def __str__(self) -> str:
        return "no more ink"


ERRORS = [
    ValueError("31 is not a valid Type"),
    KeyError("DISPLAYMATRIX"),
    RuntimeError("inconsistent"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ZeroDivisionError("division by zero"),
    OwnError(),
]
SOME = st.one_of(
    st.sampled_from(ERRORS),
    st.builds(lambda name, base: type(name, (base,), {})("x"), st.sampled_from(["Own", "Odd"]),
              st.sampled_from([Exception, ArithmeticError, LookupError, OSError, AssertionError])),
)  # fmt: skip


def of_file(path: str | Path) -> Exception | None:
    """Six of the files of each split fail, each with an error of its own."""
    number = int(Path(path).stem)
    return ERRORS[number // 2 % 6] if number % 2 and number // 2 < 6 else None


def bad_ones(files: list[Path]) -> set[str]:
    return {str(file) for file in files if of_file(file)}


@pytest.fixture
def failing(monkeypatch):
    """Decoding raises; what is said of the frames' times does not."""
    frames = PyAVDecoder.frames

    def fail(decoder, path, indices, view=None):
        if error := of_file(path):
            raise error
        return frames(decoder, path, indices, view)

    monkeypatch.setattr(PyAVDecoder, "frames", fail)


@pytest.fixture(scope="module")
def clips(folder):
    return folder / "clips"


def of_split(clips: Path, split: str) -> list[Path]:
    return sorted((clips / split).rglob("*.mp4"))


def test_check(clips, failing, monkeypatch, tmp_path, capfd):
    from nexus.data.catalog import inspection

    looks = inspection.try_decoding

    def fail(path, **choices):
        if error := of_file(path):
            raise error
        return looks(path, **choices)

    monkeypatch.setattr(inspection, "try_decoding", fail)
    monkeypatch.setenv("NEXUS_CACHE", str(tmp_path / "index"))
    files = of_split(clips, "test")
    line = ["check", str(clips / "test"), "--json", str(tmp_path / "found.json"), "--debug"]
    assert run(line) == 0
    told, log = capfd.readouterr()
    assert "Traceback" in log and all(type(error).__name__ in log for error in ERRORS)
    problems = json.loads((tmp_path / "found.json").read_text())["problems"]
    assert {one["path"] for one in problems if one["fatal"]} == bad_ones(files) != set()
    for one in problems:
        error = of_file(one["path"])
        assert f"the decoder failed ({type(error).__name__}: {error})" == one["reason"]
        assert Path(one["path"]).name in told


def test_train(clips, failing, tmp_path):
    loose = (*TINY, "data.max_bad_files=1", "training.steps=8", "data.num_workers=2")
    done = nexus.pretrain(clips / "train", tmp_path / "run", recipe="small", overrides=loose)
    assert done.status == "finished"
    rows = json.loads((tmp_path / "run/problems.json").read_text())
    # Four clips a step of 24 files: every file was asked for.
    assert {row["path"] for row in rows} == bad_ones(of_split(clips, "train")) != set()
    assert {row["reason"].partition(" (")[0] for row in rows} == {"the decoder failed"}


def test_embed(folder, clips, failing, tmp_path, capsys):
    nexus.embed(folder / "w.pt", clips / "test", tmp_path / "f.parquet", fps=8.0)
    told = capsys.readouterr().err.replace("\n", "")
    files = of_split(clips, "test")
    kept = set(load_table(tmp_path / "f.parquet").rows["path"])
    assert kept == {str(file) for file in files} - bad_ones(files)
    assert all(path in told for path in bad_ones(files))


def test_probe(folder, clips, failing, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = nexus.probe(folder / "w.pt", clips / "labels.csv", label="speed", kinds=("linear",))
    files = [file for split in ("train", "validation", "test") for file in of_split(clips, split)]
    told = capsys.readouterr().err.replace("\n", "")
    assert all(f"left out {path}" in told for path in bad_ones(files))
    good = len(of_split(clips, "test")) - len(bad_ones(of_split(clips, "test")))
    assert {row.n_test for row in rows} == {good}


def test_label(clips, trained, failing, tmp_path, capsys):
    nexus.label(nexus.load_probe(trained.folder), clips / "test", tmp_path / "o.csv")
    told = capsys.readouterr().err.replace("\n", "")
    files = of_split(clips, "test")
    assert len(pd.read_csv(tmp_path / "o.csv")) == len(files) - len(bad_ones(files))
    assert all(f"left out {path}" in told for path in bad_ones(files))


class Raising:
    """A decoder that fails on one file."""

    name = "raising"

    def __init__(self, path: Path, error: Exception, times: bool) -> None:
        self.path, self.error, self.times, self.decoder = path, error, times, PyAVDecoder()

    def timestamps(self, path):
        if self.times and path == self.path:
            raise self.error
        return self.decoder.timestamps(path)

    def frames(self, path, indices, view=None):
        if path == self.path:
            raise self.error
        return self.decoder.frames(path, indices, view)


@pytest.fixture(scope="module")
def catalog(clips) -> Catalog:
    return scan(of_split(clips, "test")[:3], workers=0)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SOME, st.booleans())
def test_any_error_of_a_decoder_is_its_files(catalog, monkeypatch, error, times):
    bad: VideoRecord = catalog.records[1]
    decoder = Raising(bad.path, error, times)
    spec = ClipSpec(num_frames=8, size=16)
    results = [
        ClipDataset(spec, catalog, None, decoder).sample(n, seed=0, epoch=0) for n in range(3)
    ]
    assert [isinstance(one, Sample) for one in results] == [True, False, True]
    windows = WindowReader(ClipSource(spec, catalog, decoder))
    assert {window.record for window in windows.windows()} == {0, 2}
    said = [results[1], *windows.problems()]
    assert len(said) == 2 and {one.path for one in said} == {str(bad.path)}
    assert all(one.fatal and type(error).__name__ in one.reason for one in said)
    with pytest.raises(DataError) as caught:
        VideoReader(catalog, decoder=decoder).frames(1, np.array([0]))
    assert caught.value.__cause__ is error and str(bad.path) in str(caught.value)
    trial = Raising(bad.path, error, True).timestamps
    monkeypatch.setattr("nexus.data.catalog.inspection.try_decoding", lambda path, **_: trial(path))
    inspection = inspect(bad.path)
    expected = "cannot be read: x" if isinstance(error, OSError) else type(error).__name__
    assert inspection.facts is None and expected in inspection.findings[0].reason


def test_segments_of_a_file_that_fails_are_left_out(monkeypatch, tmp_path):
    write_variable_rate(tmp_path / "a.mp4")
    write_variable_rate(tmp_path / "b.mp4")
    (tmp_path / "list.csv").write_text("path,start,end\na.mp4,0.5,1\nb.mp4,0.5,1\n")
    bad = tmp_path / "a.mp4"
    decoder = Raising(bad, OwnError(), True)
    monkeypatch.setattr(PyAVDecoder, "timestamps", lambda _, path: decoder.timestamps(path))
    monkeypatch.setattr(
        decoder, "decoder", SimpleNamespace(timestamps=lambda _: np.arange(60) / 20)
    )
    catalog = scan(tmp_path / "list.csv", workers=0)
    assert [record.path.name for record in catalog.records] == ["b.mp4"]
    [problem] = [one for one in catalog.problems if one.fatal]
    assert (
        problem.path == str(bad) and problem.reason == "the decoder failed (OwnError: no more ink)"
    )


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()])
def test_what_is_not_the_files_fault_passes(catalog, monkeypatch, error):
    decoder = Raising(catalog.records[0].path, error, False)
    with pytest.raises(type(error)):
        VideoReader(catalog, decoder=decoder).frames(0, np.array([0]))
    trial = "nexus.data.catalog.inspection.try_decoding"
    monkeypatch.setattr(trial, lambda path, **_: decoder.frames(path, []))
    with pytest.raises(type(error)):
        inspect(decoder.path)


def test_the_log_has_the_original_error(catalog, caplog):
    decoder = Raising(catalog.records[0].path, OwnError(), False)
    with caplog.at_level(logging.DEBUG, "nexus"), pytest.raises(DataError):
        VideoReader(catalog, decoder=decoder).frames(0, np.array([0]))
    assert "no more ink" in caplog.text and "Traceback" in caplog.text
