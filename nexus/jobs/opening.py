"""Any source of weights as a frozen encoder, with the clips that belong to it.

A run says in its recipe how its clips are cut. Published weights do not: they get clips of as many
frames as they were trained with, at the 4 frames a second of V-JEPA 2's training.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nexus.checkpoints.hub import HUB_MARK
from nexus.checkpoints.load import load
from nexus.checkpoints.probe_import import PRETRAINING_FPS
from nexus.data.catalog import Catalog
from nexus.data.clip_source import ClipSource
from nexus.data.clip_spec import ClipSpec
from nexus.errors import DataError, VideoShapeError
from nexus.jobs.runs import clip_source, load_run
from nexus.models.contract import Encoder, Role, SeenClips, checked_role
from nexus.runs.folder import expanded, find_run, run_folder
from nexus.training.environment import choose_device
from nexus.training.recipe import Recipe


@dataclass(frozen=True)
class OpenedEncoder:
    """A frozen encoder and how clips are cut for it."""

    encoder: Encoder
    source: str
    """As the user named it, `~` written out."""
    which: Role
    clips: ClipSource
    """Its catalog is empty."""
    trained: SeenClips
    """What the weights were made for."""
    recipe: Recipe | None
    """Of a run; None for published weights."""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A short name for tables: a run's kind, a file's or folder's name, or a hub id."""
        return weights_name(self.source) if self.recipe is None else self.recipe.kind

    @property
    def is_local(self) -> bool:
        """Whether the weights lie on this machine, not on the hub."""
        return Path(self.source).exists()

    @property
    def results(self) -> Path:
        """Where results about these weights are kept: in the run, else under ./probes."""
        if self.recipe is not None:
            return run_folder(self.source) / "results"
        return Path("probes") / self.name.replace("/", "--")

    def with_clips(
        self, choices: Mapping[str, Any], spec: ClipSpec | None = None
    ) -> "OpenedEncoder":
        """With other clips: `spec` (default: its own), changed as a user wants (`ClipSpec.chosen`).

        Raises:
            ConfigError: a choice that there is not, or a value that is not acceptable.
            DataError: clips that the encoder cannot take.
        """
        spec = (spec or self.clips.spec).chosen(choices)
        check_clips(self.encoder, spec)
        return replace(self, clips=replace(self.clips, spec=spec))

    def reading(self, catalog: Catalog) -> ClipSource:
        """The clips of some videos."""
        return replace(self.clips, catalog=catalog)

    def off_distribution(self) -> str | None:
        """How its clips differ from those that the weights were trained with, if they do."""
        spec, stages = self.clips.spec, self.recipe.stages if self.recipe else ()
        if (spec.num_frames, spec.size) in {(s.clip.num_frames, s.clip.size) for s in stages}:
            return None
        return self.trained.off_distribution(spec.num_frames, spec.size)


def check_clips(encoder: Encoder, spec: ClipSpec) -> None:
    """Raise DataError for clips that the encoder cannot cut into tokens."""
    try:
        encoder.grid_for(spec.num_frames, spec.size)
    except VideoShapeError as error:
        raise DataError(f"the encoder does not take such clips: {error}") from error


def weights_name(source: str) -> str:
    """What weights are called: a folder's name, a file's without its ending, or `org/name`.

    A file called model.pt, as conversions write it, is called after its folder.
    """
    if not Path(source).exists():
        return source.removeprefix(HUB_MARK)
    path = Path(source).absolute()  # a link keeps its name, which resolve() would not leave it
    if path.is_file() and path.stem != "model":
        return path.stem
    folder = path.parent if path.is_file() else path
    return (folder.resolve() if folder.name == ".." else folder).name


def open_encoder(
    source: str | Path, which: str = "target", *, device: str = "auto"
) -> OpenedEncoder:
    """The encoder of a run, a checkpoint, published weights, or a hub id `org/name`.

    Raises:
        CheckpointError: there are no weights, or they do not fit.
    """
    source = expanded(source)
    role = checked_role(which)
    place = choose_device(device)
    if is_run(source):
        model, recipe = load_run(source)
        encoder, trained = model.evaluation_encoder(role), recipe.model_settings
        clips = clip_source(recipe, Catalog("", (), ()))
        notes: tuple[str, ...] = ()
    else:
        loaded = load(source, role=role, allow_missing=["predictor.*"])
        encoder, recipe, notes = loaded.encoder, None, loaded.notes
        trained = loaded.model.config
        clips = clips_as_trained(trained)
    return OpenedEncoder(encoder.to(place).eval(), str(source), role, clips, trained, recipe, notes)


def is_run(source: str | Path) -> bool:
    """Whether a source is a run's folder, its checkpoints folder, or a checkpoint of it."""
    return find_run(source) is not None


def clips_as_trained(trained: SeenClips) -> ClipSource:
    """Clips for weights without a recipe: as long and large as trained, at 4 frames a second."""
    spec = ClipSpec.from_mapping(
        {
            "num_frames": trained.num_frames,
            "fps": PRETRAINING_FPS,
            "size": trained.image_sides,
            "channels": trained.in_chans,
        }
    )
    return ClipSource(spec.for_evaluation())
