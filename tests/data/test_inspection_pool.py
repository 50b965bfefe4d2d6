"""Checks in other processes: a crash, a hang or a process that does not start."""

import faulthandler
import gc
import json
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path

from nexus.data.catalog.inspection import Finding, Inspection, inspect
from nexus.data.catalog.inspection_pool import inspect_all


def stand_in(path: Path) -> Inspection:
    """Checks nothing, but dies or sleeps over some names."""
    faulthandler.disable()  # pytest's: a crash here is meant
    if "crash" in path.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "exit" in path.name:
        os._exit(3)
    if "hang" in path.name:
        time.sleep(600)
    return Inspection(None, (Finding("odd", path.name, True),))


def results(paths, workers=2, **options) -> dict[Path, tuple[Inspection, bool]]:
    found = {}

    def done(path, result, lasting):
        found[path] = (result, lasting)

    inspect_all(paths, done, workers, **options)
    return found


def test_a_crash_or_a_hang_costs_one_file_only():
    names = ["a", "crash", "b", "hang", "c", "exit", "d", "e"]
    found = results([Path(name) for name in names], timeout=3, check=stand_in)
    assert set(found) == {Path(name) for name in names}
    for name in ("a", "b", "c", "d", "e"):
        result, lasting = found[Path(name)]
        assert lasting and result.findings[0].reason == name
    for name, words in (("crash", "SIGSEGV"), ("exit", "exit code 3"), ("hang", "longer than 3 s")):
        result, lasting = found[Path(name)]
        assert not lasting and result.facts is None
        assert result.findings[0].kind == "unreadable" and result.findings[0].fatal
        assert words in result.findings[0].reason


def test_the_real_processes_find_what_this_one_finds(odd_folder):
    folder, expected = odd_folder
    paths = [folder / name for name in expected]
    found = results(paths)
    assert found == {path: (inspect(path), True) for path in paths}


def test_nothing_to_check():
    assert results([]) == {}


def test_inspections_survive_the_way_through_json(good_clip):
    result = inspect(good_clip)
    assert result.facts is not None and result.facts.num_frames == 40
    assert Inspection.from_mapping(json.loads(json.dumps(asdict(result)))) == result


class Dropped:
    """Says where it is tidied up, as an encoder would join its threads there."""

    def __init__(self, note: Path) -> None:
        self.note, self.itself = note, self

    def __del__(self) -> None:
        with self.note.open("a") as file:
            file.write(f"{os.getpid()}\n")


def tidying(path: Path) -> Inspection:
    gc.collect()
    return stand_in(path)


def test_what_the_parent_dropped_is_not_tidied_up_in_a_child(tmp_path):
    note = tmp_path / "note"
    gc.collect()
    gc.disable()
    try:
        Dropped(note)
        assert not note.exists()
        assert len(results([Path("a"), Path("b")], check=tidying)) == 2
        assert not note.exists()
    finally:
        gc.enable()
    gc.collect()
    assert note.read_text().split() == [str(os.getpid())]
