"""The runs of a sweep or study: each is trained to its end once, and probed.

What is finished is used again, what was interrupted goes on: called again with the same arms, a
sweep does what is left of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nexus.data.catalog.catalog import Catalog
from nexus.jobs.console import messages, progress
from nexus.jobs.opening import open_encoder
from nexus.probes.suite import Measured, measure_encoder
from nexus.runs.folder import is_finished
from nexus.training.loop import train
from nexus.training.recipe import Recipe
from nexus.training.start import Start


@dataclass(frozen=True)
class Sweep:
    """A folder of runs that see the same videos and are judged by the same probes."""

    out: Path
    catalog: Catalog
    """The videos to train on."""
    labelled: Catalog
    """The videos to probe with."""
    columns: Sequence[str]
    kinds: Sequence[str]
    """The probes."""
    command: str
    """How the sweep is called again."""

    def folder(self, arm: str) -> Path:
        """Where the run of this name is."""
        return self.out / "runs" / arm

    def train(self, name: str, folder: Path, recipe: Recipe, start: Start | None = None) -> bool:
        """Train a run, or what is left of it; False: it was interrupted.

        Raises:
            KeyboardInterrupt: on Ctrl-C or SIGTERM at the very end of the run, which is finished.
            TrainingError: it cannot be trained to its end, or is one of another recipe.
        """
        if is_finished(folder):
            return True
        messages().print(f"{name}:", markup=False)
        there = (folder / "run.json").exists()
        done = train(recipe, self.catalog, folder, resume=there, start=start, command=self.command)
        if done.status == "finished" and done.signal:  # it came too late for the training
            raise KeyboardInterrupt
        return done.status == "finished"

    def measure(self, name: str, folder: Path, recipe: Recipe) -> Measured:
        """The probes of a run that has come to its end.

        Raises:
            DataError: no clip could be read.
            NexusError: the features are no finite numbers.
        """
        opened = open_encoder(folder, recipe=recipe)
        with progress(f"probing {name}") as tick:
            return measure_encoder(
                opened.encoder,
                opened.reading(self.labelled),
                self.columns,
                kinds=self.kinds,
                cache_dir=opened.results / "features",
                progress=tick,
            )
