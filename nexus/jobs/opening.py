"""What jobs work on: any source of weights as a frozen encoder with its clips; and videos.

A run says in its recipe how its clips are cut, and what nexus converts keeps it. Others' weights
are shown clips as their makers' code shows them (`nexus.checkpoints.clips`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nexus.atomic import check_writable
from nexus.checkpoints.files import load_checkpoint_model
from nexus.checkpoints.hub import HUB_MARK
from nexus.checkpoints.load import Loaded, clips_of, load
from nexus.checkpoints.weights import tensor_digest
from nexus.data.catalog.catalog import Catalog, scan
from nexus.data.catalog.index import user_index_dir
from nexus.data.catalog.sources import FOLDER_LABEL
from nexus.data.catalog.split_lists import find_lists
from nexus.data.clip_spec import ClipSpec
from nexus.data.loading.batch import MEAN_AND_STD
from nexus.data.loading.clip_source import ClipSource
from nexus.data.loading.processor import ClipProcessor
from nexus.errors import DataError, NexusError, VideoShapeError
from nexus.jobs.console import progress, say_notes
from nexus.models.contract import Encoder, EncoderRole, SeenClips, SelfSupervisedModel, checked_role
from nexus.registry import Choice
from nexus.runs.folder import data_of, expanded, find_run, run_folder
from nexus.training.environment import choose_device
from nexus.training.recipe import Recipe, read_run_recipe
from nexus.version import nexus_version


@dataclass(frozen=True)
class OpenedEncoder:
    """A frozen encoder and how clips are cut for it."""

    encoder: Encoder
    model: SelfSupervisedModel
    """The whole that it is a part of."""
    source: str
    """As the user named it, `~` written out."""
    which: EncoderRole
    clips: ClipSource
    """Its catalog is empty."""
    trained: SeenClips
    """What the weights were made for."""
    recipe: Recipe | None
    """Of a run; None for published weights."""
    notes: tuple[str, ...] = ()
    assumed_size: str = ""
    """One of the notes: that the size of pictures is a guess."""

    @property
    def name(self) -> str:
        """A short name for tables: a run's kind, a file's name without its ending, or a hub id.

        A file called model.pt, as conversions write it, is called after its folder.
        """
        if self.recipe is not None:
            return self.recipe.model.kind
        if not self.is_local:
            return self.source.removeprefix(HUB_MARK)
        path = Path(self.source).absolute()  # a link keeps its name: resolve() would not leave it
        if path.is_file() and path.stem != "model":
            return path.stem
        folder = path.parent if path.is_file() else path
        return (folder.resolve() if folder.name == ".." else folder).name

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

    def check_results(self) -> None:
        """Check, before any work is done, that results can be kept.

        Raises:
            OutputError: they cannot.
        """
        if self.recipe is not None:
            remedy = "results are kept in the run: copy it to where you may write"
        else:
            remedy = "call nexus in a folder where you may write"
        check_writable(self.results, remedy=remedy)

    def with_clips(
        self, choices: Mapping[str, Any], spec: ClipSpec | None = None
    ) -> "OpenedEncoder":
        """With other clips: `spec` (default: its own), changed as a user wants (`ClipSpec.chosen`).

        Raises:
            ConfigError: a choice that there is not, or a value that is not acceptable.
            DataError: clips that the encoder cannot take.
        """
        spec = (spec or self.clips.spec).chosen(choices)
        try:
            self.encoder.grid_for(spec.num_frames, spec.size)
        except VideoShapeError as error:
            raise DataError(f"the encoder does not take such clips: {error}") from error
        notes = self.notes
        if spec.size != self.clips.spec.size:  # it is told, and nothing is guessed
            notes = tuple(note for note in notes if note != self.assumed_size)
        return replace(self, clips=replace(self.clips, spec=spec), notes=notes)

    def videos(self, data: str | Path | None) -> Catalog:
        """The videos in `data`, or (None) those that a run was trained on.

        Raises:
            DataError: nothing is named, and the weights have no data of their own.
        """
        frames = self.recipe.frames_needed if self.recipe else 1
        if data is None and self.recipe is not None:
            return read_videos(data_of(self.source), frames, self.recipe.data.reader)
        if data is None:
            raise DataError(f"{self.source} has no data of its own; name a list with labels")
        return read_videos(data, frames)

    def reading(self, catalog: Catalog) -> ClipSource:
        """The clips of some videos."""
        return replace(self.clips, catalog=catalog)

    def about(self) -> dict[str, Any]:
        """What makes its features, JSON-ready: weights, clips, what is done to their pictures."""
        spec = self.clips.spec
        mean, std = MEAN_AND_STD[spec.channels]
        return {
            "weights": str(Path(self.source).absolute()) if self.is_local else self.source,
            "weights_sha256": tensor_digest(self.encoder.state_dict()),
            "which": self.which,
            "num_frames": spec.num_frames,
            "fps": spec.fps,
            "stride": None if spec.fps else spec.stride,
            "size": list(spec.size),
            "channels": spec.channels,
            "pad": spec.pad,
            "preprocessing": {
                "short_side": spec.short_side,
                "resize": spec.resize or "cover",
                "interpolation": "bilinear, antialiased",
                "crop": "center",
                "scale": 1 / 255,
                "mean": mean,
                "std": std,
            },
            "nexus": nexus_version(),
        }

    def off_distribution(self) -> str | None:
        """How its clips leave the positions that the weights were trained with, if they do."""
        spec, stages = self.clips.spec, self.recipe.stages if self.recipe else ()
        seen = [
            self.trained.with_changes(num_frames=stage.clip.num_frames, img_size=stage.clip.size)
            for stage in stages
        ]
        size = self.trained.image_sides if self.assumed_size else spec.size  # else: not known
        told = [each.off_distribution(spec.num_frames, size) for each in seen or [self.trained]]
        return None if None in told else told[-1]


def open_encoder(
    source: str | Path,
    which: str = "target",
    *,
    device: str = "auto",
    recipe: Recipe | None = None,
) -> OpenedEncoder:
    """The encoder of a run, a checkpoint, published weights, or a hub id `org/name`.

    Args:
        device: "auto" takes the GPU if there is one, unless a run's recipe asks for the CPU. What
            was trained on a GPU can be used where there is none.
        recipe: takes the place of the one in a run's folder.

    Raises:
        CheckpointError: there are no weights, or they do not fit.
    """
    source = expanded(source)
    role = checked_role(which)
    if (run := find_run(source)) is not None:
        model: SelfSupervisedModel = load_checkpoint_model(source)
        recipe = recipe or read_run_recipe(run)
        trained, notes, assumed = recipe.model_settings, (), ""
        clips = recipe.evaluation_source(Catalog("", (), ()))
    else:
        loaded = load(source, role=role, allow_missing=["predictor.*"])
        known = loaded.clips()
        model, trained, assumed = loaded.model, loaded.model.config, loaded.assumed_size
        clips = ClipSource(known.spec)
        notes = tuple(filter(None, (loaded.choice, *loaded.notes, *known.notes)))
    if device == "auto" and recipe is not None and recipe.training.device == "cpu":
        device = "cpu"
    model.to(choose_device(device)).eval()
    encoder = model.evaluation_encoder(role)
    return OpenedEncoder(encoder, model, str(source), role, clips, trained, recipe, notes, assumed)


def read_videos(
    data: str | Path | Sequence[str | Path], min_frames: int = 1, reader: Choice | None = None
) -> Catalog:
    """Scan videos with the user's index and a progress bar; see `nexus.data.catalog.catalog.scan`.

    What the names of a folder's folders were taken for is said.

    Raises:
        DataError: no video can be used.
    """
    with progress("reading videos") as tick:
        catalog = scan(
            data, index_dir=user_index_dir(), min_frames=min_frames, progress=tick, reader=reader
        )
    catalog.check_usable()
    if reader in (None, "folder"):  # a reader of the user's own names what it reads
        say_notes([_taken_from_folders(data, catalog)])
    return catalog


def _taken_from_folders(data: str | Path | Sequence[str | Path], catalog: Catalog) -> str | None:
    if not isinstance(data, (str, Path)) or not Path(data).expanduser().is_dir():
        return None
    folder = Path(data).expanduser()
    classes = {record.labels[FOLDER_LABEL] for record in catalog.records if record.labels}
    splits = Counter(record.split for record in catalog.records if record.split)
    if not (classes or splits):
        return None
    told = [f"{len(classes)} classes (the label column {FOLDER_LABEL!r})"] if classes else []
    if splits:
        told.append(f"the splits {', '.join(f'{name} ({n})' for name, n in splits.items())}")
    lists = find_lists(folder.absolute())
    if lists and lists.of([record.key for record in catalog.records]):
        return (
            f"the lists in {lists.folder} (split {lists.number} of {lists.numbers[-1]}) were taken "
            f"for {' and '.join(told)}; another split is read by naming its list instead of "
            f"{data}, and data.reader=plain_folder reads none"
        )
    return (
        f"the folders in {data} were taken for {' and '.join(told)}; if they are none, set "
        "data.reader=plain_folder"
    )


def clips_in_use(loaded: Loaded) -> ClipSpec:
    """The clips of loaded weights: a run's are in its recipe.

    Raises:
        CheckpointError: their pictures are prepared in a way that nexus does not know.
    """
    run = find_run(loaded.path) if loaded.kind == "nexus" else None
    if run is not None:
        with suppress(NexusError):  # a damaged recipe: the checkpoint itself may say it
            return read_run_recipe(run).final_clip.for_evaluation()
    return loaded.clips().spec


def processor(
    weights: str | Path | Loaded | OpenedEncoder, clips: Mapping[str, Any] | None = None
) -> ClipProcessor:
    """What turns a path, arrays or PIL pictures into input for an encoder: `inputs = processor(x)`.

    Args:
        weights: what `nexus.load` gave, or where the weights lie.
        clips: keys of `nexus.data.clip_spec.CHOICES`; default: clips as the weights were trained
            with, published ones at 4 frames a second and resized as Meta's and transformers' code
            does.

    Raises:
        CheckpointError: the weights cannot be read.
        ConfigError: a choice that there is not, or a value that is not acceptable.
    """
    if isinstance(weights, Loaded):
        spec = clips_in_use(weights)
    elif isinstance(weights, OpenedEncoder):
        spec = weights.clips.spec
    elif (run := find_run(weights)) is not None:
        spec = read_run_recipe(run).final_clip
    else:
        spec = clips_of(expanded(weights)).spec
    return ClipProcessor(spec.chosen(clips or {}))
