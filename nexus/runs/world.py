"""What a world model was measured to be worth: `results/world.json`, and films beside it.

Errors of latents are mean squares over tokens and dimensions; ratios stand for themselves, each
with a 95 % interval over episodes. Shares lie in [0, 1].
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from jaxtyping import UInt8

from nexus.atomic import atomic_path
from nexus.runs.schema import Record, Row

WORLD, WORLD_FILMS = "results/world.json", "results/world_films.npz"

Decision = Literal["yes", "doubtful", "no", "unknown"]
Fault = Literal["perception", "dynamics", "data"]
Ends = tuple[float, float]


class Measured(Row):
    """A number with its 95 % interval over episodes."""

    value: float
    ci95: Ends


class WorldErrorRow(Row):
    """The error so many model steps ahead, and how it compares.

    `vs_copy`: in parts of the error of the last frame that was seen; `vs_shuffled`, `vs_mean`: of
    the same model's with the actions of other excerpts, and with the mean action. Below 1: better.
    `state_vs_copy`: of the foretold states, in parts of the last state's that was seen.
    `training`: the same error on episodes of training.
    """

    steps: int
    seconds: float
    error: Measured
    vs_copy: Measured
    vs_shuffled: Measured
    vs_mean: Measured
    state_vs_copy: Measured | None = None
    training: float | None = None


class WorldRankRow(Row):
    """Where the true actions stand among random ones, by one term of the cost.

    `rank`: the share of the random ones that the model takes for better; chance is 0.5.
    """

    steps: int
    term: str
    rank: Measured
    excerpts: int


class WorldPlaceRow(Row):
    """A number of the simulator's exact state, read from latents.

    Errors are roots of mean squares, in the state's units; `spread` is what always saying the mean
    would give. `perception`: from real latents; `dynamics`: from predicted ones, and `copied` from
    the last real ones, after each of `WorldReport.errors`' steps.
    """

    name: str
    unit: str | None = None
    spread: float
    perception: float
    r2: float
    dynamics: tuple[float, ...] = ()
    copied: tuple[float, ...] = ()


class WorldActionRow(Row):
    """A dimension of the action.

    `inverse_r2`: how well it is read from two neighbouring real latents. `effect`: the correlation
    of what the model says that it does with what is missing without it; 1 is right, 0 nothing,
    below 0 the opposite. `reversed`: the error with this dimension turned round, in parts of the
    error as it is. `flipped`: the model takes it for its opposite.
    """

    name: str
    unit: str | None = None
    inverse_r2: float | None = None
    effect: Measured
    reversed: Measured
    flipped: bool = False


class WorldLandscape(Row):
    """The goal energy over two dimensions of the action, the others as in the true one.

    `energy[j][i]`: at `x[i]`, `y[j]`; `true` and `best` are (x, y).
    """

    episode: int
    frame: int
    names: tuple[str, str]
    x: tuple[float, ...]
    y: tuple[float, ...]
    energy: tuple[tuple[float, ...], ...]
    true: Ends
    best: Ends


class WorldVerdict(Row):
    """Whether to plan with the model, what is at fault if not, and why."""

    plan: Decision
    fault: Fault | None = None
    sentence: str
    reasons: tuple[str, ...] = ()
    flipped: tuple[str, ...] = ()


class WorldReport(Record):
    """`results/world.json`: a world model on episodes that it was not trained on.

    `fitted`: the episodes that probes were fitted on. `calibration`: the error on the judged
    episodes in parts of that on training ones; `spread`: the 10th and the 90th percentile of
    episodes' errors in parts of their mean.
    """

    verdict: WorldVerdict
    robot: str
    step: int | None = None
    source: str
    choice: str
    """In words: which episodes were judged, and why these."""
    episodes: tuple[int, ...]
    excerpts: int
    fitted_source: str | None = None
    fitted: tuple[int, ...] = ()
    candidates: int
    seed: int = 0
    errors: tuple[WorldErrorRow, ...]
    ranks: tuple[WorldRankRow, ...] = ()
    places: tuple[WorldPlaceRow, ...] = ()
    places_of: Literal["simulator", "robot"] = "simulator"
    """Whose numbers they are: where no simulator was recorded, what the robot knows of itself."""
    actions: tuple[WorldActionRow, ...] = ()
    landscapes: tuple[WorldLandscape, ...] = ()
    calibration: float | None = None
    spread: Ends | None = None
    notes: tuple[str, ...] = ()
    command: str | None = None
    date: str | None = None


@dataclass(frozen=True, eq=False)
class WorldFilms:
    """Some excerpts: what was seen, and for each prediction the training frame that is nearest.

    The first of `real` is the last frame that the model saw.
    """

    real: UInt8[np.ndarray, "films columns height width 3"]
    imagined: UInt8[np.ndarray, "films steps height width 3"]
    names: tuple[str, ...]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The file's arrays.

        Raises:
            OSError, ValueError, KeyError, EOFError, BadZipFile: the file is damaged.
        """
        with np.load(path, allow_pickle=False) as file:
            real, imagined = file["real"], file["imagined"]
            names = tuple(str(name) for name in file["names"])
        for name, array in (("real", real), ("imagined", imagined)):
            if array.ndim != 5 or array.shape[-1] != 3 or array.dtype != np.uint8:
                raise ValueError(
                    f"{name} is {array.dtype} {array.shape}; expected uint8 (films, steps, h, w, 3)"
                )
        if len(real) != len(imagined) or real.shape[1] != imagined.shape[1] + 1:
            raise ValueError(f"{real.shape} real frames do not fit {imagined.shape} imagined ones")
        return cls(real, imagined, names)

    def save(self, path: str | Path) -> None:
        """Write a .npz file, atomically."""
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            names = np.array(self.names, dtype=np.str_)
            np.savez_compressed(handle, real=self.real, imagined=self.imagined, names=names)
