"""What `import nexus` offers, and what each job brings along."""

import json
import re
import subprocess
import sys
from importlib import resources

import pytest

import nexus

LIGHT = {"matplotlib", "sklearn", "jinja2", "scipy", "tensorboard", "transformers"}


def loaded_after(line: str) -> set[str]:
    code = f"import sys, json, nexus; {line}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_nothing_private_is_offered():
    offered = dir(nexus)
    assert {"pretrain", "embed", "probe", "load", "label", "__version__"} <= set(offered)
    assert not [name for name in offered if name.startswith("_") and name != "__version__"]
    assert not {"importlib", "types", "Any", "TYPE_CHECKING"} & set(offered)
    for name in offered:
        assert getattr(nexus, name) is not None


def test_what_is_offered_is_documented_and_has_its_home():
    for name in nexus.jobs.HOMES:
        job = getattr(nexus, name)
        assert job.__module__ == nexus.jobs.HOMES[name].partition(":")[0] and job.__doc__
    with pytest.raises(AttributeError, match="no attribute 'pretrian'"):
        _ = nexus.pretrian


def test_the_version_is_a_string_and_types_are_declared():
    assert re.match(r"\d+\.\d+", nexus.__version__)
    assert resources.files("nexus").joinpath("py.typed").is_file()


def test_import_nexus_brings_nothing_along():
    assert not {"torch", "numpy", "pydantic", "av"} & loaded_after("nexus.__version__")


@pytest.mark.parametrize("job", ["embed", "load", "label"])
def test_jobs_that_draw_nothing_and_fit_nothing_are_light(job):
    assert not LIGHT & loaded_after(f"nexus.{job}")


def test_a_page_needs_no_network_of_neurons():
    assert not {"torch", "sklearn", "av"} & loaded_after("nexus.report")
