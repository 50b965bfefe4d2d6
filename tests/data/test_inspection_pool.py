"""Checks in other processes: a crash, a hang or a process that does not start."""

import sys
from pathlib import Path

import pytest

from nexus.data.inspection import Inspection, inspect
from nexus.data.inspection_pool import InspectionPool
from nexus.errors import NexusError

# Answers like the real child, but dies or sleeps over some names.
STAND_IN = """
import json, os, signal, sys, time
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    name = os.path.basename(json.loads(line))
    if "crash" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "exit" in name:
        sys.exit(3)
    if "hang" in name:
        time.sleep(600)
    finding = {"kind": "odd", "reason": name, "fatal": True}
    print(json.dumps({"facts": None, "findings": [finding]}), flush=True)
"""


def results(pool: InspectionPool, paths) -> dict[str, tuple[Inspection, bool]]:
    found = {}
    pool.inspect_all(paths, lambda path, result, lasting: found.update({path: (result, lasting)}))
    return found


def test_a_crash_or_a_hang_costs_one_file_only():
    command = [sys.executable, "-c", STAND_IN]
    names = ["a", "crash", "b", "hang", "c", "exit", "d", "e"]
    found = results(InspectionPool(2, timeout=3, command=command), [Path(n) for n in names])
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
    found = results(InspectionPool(2), paths)
    assert found == {path: (inspect(path), True) for path in paths}


def test_a_process_that_does_not_start():
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    with pytest.raises(NexusError, match="does not start"):
        results(InspectionPool(1, command=command), [Path("a")])


def test_nothing_to_check():
    assert results(InspectionPool(2, command=["no such program"]), []) == {}


def test_inspections_survive_the_way_through_json(good_clip):
    result = inspect(good_clip)
    assert result.facts is not None and result.facts.num_frames == 40
    assert Inspection.from_mapping(result.to_mapping()) == result
