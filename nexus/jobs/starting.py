"""`--init`: published weights or a run's as the start of a run, and what a resumed one needs."""

from pathlib import Path
from typing import Any

from nexus.checkpoints.files import latest_checkpoint
from nexus.checkpoints.load import load
from nexus.checkpoints.weights import tensor_digest
from nexus.errors import TrainingError
from nexus.models.predictor import PredictorConfig
from nexus.runs.folder import RunDirectory
from nexus.runs.schema import InitInfo
from nexus.training.recipe import read_run_recipe
from nexus.training.rng import kept_rng
from nexus.training.start import PREDICTOR, Start


def read_start(weights: str | Path) -> Start:
    """Weights to start a run from, of any kind that `nexus.checkpoints.load` knows.

    What the file lacks of the predictor is left out, for the run to make it from its own seed.

    Raises:
        CheckpointError: there are none, they are damaged, or they are not those of a V-JEPA model.
    """
    with kept_rng():
        loaded = load(weights, allow_missing=(f"{PREDICTOR}*",))
    tensors = {
        name: tensor
        for name, tensor in loaded.model.state_dict().items()
        if name not in loaded.fresh
    }
    config = loaded.model.config.to_mapping()
    if not any(name.startswith(PREDICTOR) for name in tensors):
        config = {
            key: each for key, each in config.items() if key not in PredictorConfig.model_fields
        }
    origin = InitInfo(
        source=str(weights),
        place=_place_of(weights),
        layout=loaded.kind,
        path=str(loaded.path),
        revision=loaded.revision,
        sha256=tensor_digest(tensors, exact=True),
        report=loaded.explain(),
        notes=tuple(loaded.notes),
    )
    return Start(config, tensors, origin)


def start_of(
    init: str | Path | None, out: Path, *, resume: bool
) -> tuple[Start | None, dict[str, Any] | None]:
    """The weights to load, if they are needed, and the model's settings that belong to them.

    A run that has saved a checkpoint no longer needs the weights that it started from: its own
    recipe holds the settings.

    Raises:
        CheckpointError: the weights cannot be read.
        TrainingError: the run to be resumed started from other weights.
    """
    run = RunDirectory(out)
    if not resume or not run.info_file.exists():
        if init is None:
            return None, None
        start = read_start(init)
        return start, dict(start.config)
    recorded = run.read_info().init
    if init is not None and not recorded:
        raise TrainingError(
            f"{out} holds a run that started from nothing, not from {init}; resume it without "
            "--init, or choose another --out"
        )
    if not recorded:
        return None, None
    if init is not None and not _are_the_same(init, recorded):
        origin = recorded.place or recorded.source
        raise TrainingError(
            f"{out} holds a run that started from {origin}, not from {_place_of(init) or init}; "
            f"go on with --init {origin}, or choose another --out"
        )
    model = read_run_recipe(out).model.to_mapping()
    if init is None or latest_checkpoint(run.checkpoints):
        return None, model
    return read_start(init), model


def _are_the_same(init: str | Path, recorded: InitInfo) -> bool:
    """Whether these are the weights of a run's records, wherever they lie and whatever their name.

    Weights that lie at another place than recorded are read, to compare what is in them.
    """
    place = _place_of(init)
    if place is None:
        return str(init) in (recorded.source, recorded.place)
    if place == recorded.place:
        return True
    return read_start(init).origin.sha256 == recorded.sha256


def _place_of(weights: str | Path) -> str | None:
    """The absolute path of weights that are on this machine; None for the hub's."""
    return str(Path(weights).resolve()) if Path(weights).exists() else None
