"""Shape annotations are checked while the tests run; one thread keeps small models fast."""

import os

import hypothesis
import oracles.shapes  # noqa: F401  (the import hook finds it by name)
import pytest
import torch
from jaxtyping import install_import_hook
from markupsafe import Markup

pytest_plugins = ["skips", "tiny_runs", "report_runs", "recorded_reach"]
torch.set_num_threads(1)
# Machines are shared: how long an example takes says nothing about the code.
hypothesis.settings.register_profile("nexus", deadline=None)
hypothesis.settings.load_profile("nexus")
install_import_hook("nexus.nn", "oracles.shapes.checked")
install_import_hook("nexus.models", "oracles.shapes.checked")


@pytest.fixture(scope="module")
def undrawn():
    """Pages without ink: a picture is its description. tests/reports and the demo draw them."""
    from nexus.reports import canvas

    def describe(_figure: object, _name: str, alt: str) -> Markup:
        return Markup('<svg role="img" aria-label="{}"></svg>').format(alt)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canvas, "to_svg", describe)
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_index(tmp_path_factory):
    """Checks of videos are remembered for the user; those of the tests are not."""
    os.environ["NEXUS_CACHE"] = str(tmp_path_factory.mktemp("nexus-cache"))
