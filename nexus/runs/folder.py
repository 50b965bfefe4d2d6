"""The folder of a run: who may write to it, what was asked for, and how far it came.

RUN/recipe.yaml    the resolved recipe           RUN/journal.jsonl  one line a logged step
RUN/run.json       status, environment, data     RUN/problems.json  files that could not be used
RUN/checkpoints/   see `nexus.checkpoints`       RUN/log.txt        what was printed
"""

import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nexus.config import Config, read_yaml, write_yaml
from nexus.errors import DataError, RunError, TrainingError
from nexus.runs.schema import RunInfo, Status, reason_of

if sys.platform != "win32":
    import fcntl

MAY_CHANGE = {
    "data.num_workers",
    "data.cache.kind",
    "data.cache.max_gigabytes",
    "data.cache.folder",
    "data.max_bad_files",
    "training.device",
    "training.checkpoint_every",
    "training.checkpoint_minutes",
    "training.keep_checkpoints",
    "training.tensorboard",
    "training.on_collapse",
    "training.max_skipped_steps",
}
"""Keys that may differ when a run is resumed: none of them decides what the steps compute."""
LENGTH = "training.steps"
"""May grow when a run is resumed; from there on its schedules are those of a longer run."""

CHECKPOINTS, CHECKPOINT = "checkpoints", re.compile(r"step_(\d{8,})")
"""The folder of a run's checkpoints, and what each of them is called."""


class RunDirectory:
    """Paths and small files of a run; `info` is empty until the run is started or reopened."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.recipe_file = self.root / "recipe.yaml"
        self.info_file = self.root / "run.json"
        self.journal_file = self.root / "journal.jsonl"
        self.problems_file = self.root / "problems.json"
        self.log_file = self.root / "log.txt"
        self.checkpoints = self.root / CHECKPOINTS
        self.tensorboard = self.root / "tensorboard"
        self.info = RunInfo()
        self.extended = False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second process out; the lock ends with the process, however that ends.

        Raises:
            TrainingError: another process is training into this folder.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a") as file:
            if sys.platform != "win32":
                try:
                    # A record lock: unlike flock it is not inherited by the loader's workers, which
                    # can outlive a killed run by some seconds.
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    raise TrainingError(
                        f"another process is training into {self.root}; wait for it, stop it, or "
                        "choose another --out"
                    ) from error
            yield

    def check_free(self) -> None:
        """Check that a run can be started here.

        Raises:
            TrainingError: the folder holds a run already. (One that failed before it saved anything
                does not count.)
        """
        if not self.info_file.exists():
            return
        status = self.read_info().status
        if status != "failed" or any(self.checkpoints.glob("step_*")):
            raise TrainingError(
                f"{self.root} already holds a run (status: {status}); add --resume to go on with "
                "it, or choose another --out"
            )

    def check_started(self) -> None:
        """Check that there is a run to go on with.

        Raises:
            TrainingError: there is none.
        """
        if not self.info_file.exists():
            raise TrainingError(
                f"{self.root} holds no run to resume; leave --resume out to start one there"
            )

    def reopen(self, recipe: Config) -> None:
        """Check that the run in this folder can go on with a recipe: its own, or a longer one.

        Raises:
            TrainingError: there is no run, or it was made with another recipe.
        """
        self.check_started()
        self.info = self.read_info()
        before = type(recipe).from_mapping(self.read_recipe())
        changed = changed_keys(before.to_mapping(), recipe.to_mapping())
        lines = [
            f"{key}: {old!r} in the run, {new!r} now"
            for key, (old, new) in changed.items()
            if key not in MAY_CHANGE and not (key == LENGTH and new > old)
        ]
        self.extended = LENGTH in changed
        if lines:
            raise TrainingError(
                "\n  - ".join([f"cannot resume {self.root} with another recipe", *lines])
                + "\nResume with the run's own recipe.yaml, or start a new run in another --out."
            )

    def start(self, recipe: Config, info: RunInfo) -> None:
        """Write down that a run starts here, or that the reopened one goes on.

        Args:
            recipe: as resolved.
            info: what is run, and on what. Of a run that goes on, `command` (unless the run is made
                longer), `started`, `threads` (as many give the same bits), `init` and `plan` stay
                as they were.
        """
        write_yaml(self.recipe_file, recipe.to_mapping())
        info, before = info.with_changes(status="running", started=now()), self.info
        if before != RunInfo():
            info = info.with_changes(
                command=info.command if self.extended else before.command,
                started=before.started,
                threads=before.threads,
                init=before.init,
                plan=before.plan,
                resumed=(*before.resumed, now()),
            )
        self.write(info)

    def finish(self, status: Status, error: str | None = None) -> None:
        """Write down how the run ended."""
        self.write(self.info.with_changes(status=status, ended=now(), error=error))

    @contextmanager
    def failures_recorded(self) -> Iterator[None]:
        """What is raised in here is written to `run.json` before it goes on its way."""
        try:
            yield
        except KeyboardInterrupt:
            self.finish("interrupted", "stopped by a second Ctrl-C, without saving")
            raise
        except Exception as error:  # whatever it is, the run's record names it
            with suppress(OSError):  # on a full disk the record stays as it was
                self.finish("failed", f"{type(error).__name__}: {error}")
            raise

    def read_info(self) -> RunInfo:
        """The content of `run.json`.

        Raises:
            RunError: the file is missing or damaged, or a later version wrote it.
        """
        try:
            return RunInfo.read(self.info_file)
        except (OSError, ValueError) as error:
            raise RunError(f"cannot read {self.info_file}: {reason_of(error)}") from error

    def read_recipe(self) -> dict[str, Any]:
        """The content of `recipe.yaml`.

        Raises:
            TrainingError: there is no run.
            ConfigError: its recipe is damaged.
        """
        if not self.recipe_file.exists():
            raise TrainingError(f"{self.root} holds no run: {self.recipe_file.name} is missing")
        return read_yaml(self.recipe_file)

    def write(self, info: RunInfo) -> None:
        """Write `run.json`."""
        self.info = info
        info.save(self.info_file)


def expanded(source: str | Path) -> str | Path:
    """A source with `~` as the home folder; a string stays one, since only they can be hub ids."""
    if not str(source).startswith("~"):
        return source
    path = Path(source).expanduser()
    return path if isinstance(source, Path) else str(path)


def find_run(source: str | Path) -> Path | None:
    """The run's folder for a run, its checkpoints folder, or one of its checkpoints; else None.

    A run's folder holds recipe.yaml and run.json; other folders in it, such as converted weights,
    are not the run.
    """
    folder = Path(expanded(source))
    if not folder.is_dir():
        return None
    candidates, real = [folder], folder.resolve()
    if real.name == CHECKPOINTS:
        candidates.append(real.parent)
    elif real.parent.name == CHECKPOINTS and CHECKPOINT.fullmatch(real.name):
        candidates.append(real.parents[1])
    runs = (RunDirectory(candidate) for candidate in candidates)
    return next((r.root for r in runs if r.recipe_file.exists() and r.info_file.exists()), None)


def run_folder(run: str | Path) -> Path:
    """The run's folder as `find_run` knows it; where there is no run, the path itself."""
    return find_run(run) or Path(expanded(run))


def is_finished(run: str | Path) -> bool:
    """Whether there is a run in this folder that came to its end.

    Raises:
        RunError: its run.json is damaged.
    """
    directory = RunDirectory(run)
    return directory.info_file.exists() and directory.read_info().status == "finished"


def data_of(run: str | Path) -> str | list[str]:
    """What a run was trained on.

    Raises:
        DataError: the run does not say.
    """
    source = RunDirectory(run_folder(run)).read_info().data.source
    if source is None:
        raise DataError(f"{run} does not say what it was trained on; name the data after it")
    return source if isinstance(source, str) else list(source)


def how_to_continue(command: str | None) -> str:
    """The command that goes on with an interrupted run; only `pretrain` has to be told to."""
    if not command:
        return "train(..., resume=True)"
    words = command.split()
    return command if "--resume" in words or "pretrain" not in words else f"{command} --resume"


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with both values; a key that is missing counts as None."""
    old, new = _flat(before), _flat(after)
    keys = [*old, *(key for key in new if key not in old)]
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


def now() -> str:
    """The local time with its offset, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
