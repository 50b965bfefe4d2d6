"""The house stays in order: floors, file sizes, light imports."""

import json
import subprocess
import sys
from pathlib import Path

import nexus

ROOT = Path(__file__).resolve().parents[1]
MOST_LINES = 400


def test_no_file_of_the_package_needs_much_scrolling():
    lengths = {path: len(path.read_text().splitlines()) for path in ROOT.glob("nexus/**/*.py")}
    assert len(lengths) > 20
    too_long = {str(path): lines for path, lines in lengths.items() if lines > MOST_LINES}
    assert not too_long


def test_every_name_says_what_the_file_is_about():
    vague = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert not [path for path in ROOT.glob("nexus/**/*.py") if path.name in vague]


def test_no_room_has_the_name_of_a_job():
    # Once imported, the room would take the job's place: `nexus.report(run)` could not be called.
    rooms = {path.parent.name for path in (ROOT / "nexus").glob("*/__init__.py")}
    rooms |= {path.stem for path in (ROOT / "nexus").glob("*.py")}
    assert {"reports", "config"} <= rooms
    assert not rooms & set(nexus.__all__)


def test_no_two_files_of_tests_have_one_name():
    """pytest knows a file by its name alone, and would not begin."""
    names = [path.name for path in ROOT.glob("tests/**/*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


def test_files_import_only_from_lower_floors():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_seeds_import_needs_torch_and_nothing_heavy():
    heavy = {
        "av",
        "sklearn",
        "scipy",
        "pandas",
        "pyarrow",
        "matplotlib",
        "typer",
        "rich",
        "tensorboard",
        "jinja2",
    }
    code = "import sys, json, nexus.models.ssl; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "torch" in loaded
    assert not heavy & loaded


def test_the_pins_hold_what_the_package_asks_for_and_name_no_place():
    from importlib.metadata import requires

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[canonicalize_name(name)] = Version(version)
    assert all(version.local is None for version in pins.values())
    wanted = [Requirement(text) for text in requires("nexus-vjepa") or []]
    needed = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": "dev"})]
    assert len(needed) > 15
    for requirement in needed:
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), requirement
