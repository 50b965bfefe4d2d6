"""`convert`: weights from any layout that nexus reads to any that it writes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nexus.atomic import atomic_folder, check_writable, write_text
from nexus.checkpoints.clips import CLIPS_KEY
from nexus.checkpoints.export import export_onnx, export_program
from nexus.checkpoints.files import CONFIG_FILE, MODEL_FILE, ModelCard, write_card
from nexus.checkpoints.huggingface import PREDICTOR_MASK_TOKEN, save_huggingface
from nexus.checkpoints.load import FROM_PREDICTOR, Loaded, load
from nexus.checkpoints.official import OFFICIAL_FILE, save_official
from nexus.checkpoints.official_world import RATE, published_world
from nexus.checkpoints.source import own_encoder
from nexus.checkpoints.video_processor import PROCESSOR_FILE, has_processor
from nexus.checkpoints.weights import checked_patterns, save_weights
from nexus.data.clip_spec import ClipSpec
from nexus.data.episodes.opening import open_episodes
from nexus.data.episodes.robot import Robot
from nexus.errors import CheckpointError
from nexus.jobs.model_card import CARD_FILE, model_card
from nexus.jobs.opening import clips_in_use
from nexus.models.contract import EncoderRole
from nexus.models.ssl import VJEPAConfig
from nexus.training.world_recipe import trained_on
from nexus.version import nexus_version

ROLES: dict[str, EncoderRole] = {"target": "target", "context": "context"}
LAYOUTS = ("hub", "training")
FORMATS = ("hf", "meta", "nexus", "world", "onnx", "torch-export")
ONNX_FILE, PROGRAM_FILE = "encoder.onnx", "encoder.pt2"
OWN_FILES = {
    CARD_FILE, CONFIG_FILE, MODEL_FILE, OFFICIAL_FILE, ONNX_FILE, f"{ONNX_FILE}.data", PROGRAM_FILE,
    PROCESSOR_FILE,
}  # fmt: skip
"""All that a folder may hold for `force` to replace it; its card must be ours, too."""
OUR_CARD = "| written by | nexus "
"""A line of every model card that a conversion writes."""
FILE_SUFFIXES = {".pt", ".pth", ".pt2", ".onnx", ".safetensors"}


@dataclass(frozen=True)
class Converted:
    """Where the weights went, what was loaded, and what a user should know."""

    out: Path
    loaded: Loaded
    notes: tuple[str, ...]

    def explain(self) -> str:
        """The account of the conversion, a line each."""
        return "\n".join([self.loaded.explain(), *self.notes, f"Written: {self.out}"])


def convert(
    source: str | Path,
    out: str | Path,
    *,
    to: str,
    which: str = "target",
    force: bool = False,
    config: Mapping[str, Any] | None = None,
    in_chans: int | None = None,
    predictor: Literal["file", "fresh"] = "file",
    allow_missing: Sequence[str] = (),
    revision: str | None = None,
    num_frames: int | None = None,
    img_size: int | tuple[int, int] | None = None,
    layout: Literal["hub", "training"] = "hub",
    robot: str | Path | None = None,
) -> Converted:
    """Convert weights; the folder appears whole, with a model card in README.md.

    Args:
        source: what `nexus.load` takes.
        out: a folder.
        to: "hf" (transformers), "meta" (the published `.pt` layout), "nexus", "world" (a world
            model of V-JEPA 2-AC's weights), or a graph of one encoder: "onnx", "torch-export".
        which: the encoder that goes out where the format has one ("hf" and the graphs).
        force: replace a folder that an earlier conversion wrote; no other is ever replaced.
        config, in_chans, predictor, allow_missing, revision: as in `nexus.load`. For a graph, the
            predictor may be missing.
        num_frames, img_size: size of a graph's clips; default: the model's own.
        layout: of "meta": "hub", the names of published files, or "training", those that Meta's
            training loop loads strictly, with a fresh optimizer.
        robot: of "world": a recording of the robot that is to act; None: the published arm.

    Raises:
        CheckpointError: the source cannot be loaded, the format cannot say what this model
            computes, or `out` is there already.
        OutputError: `out` cannot be written, or the disk is full.
    """
    out = Path(out)
    if to not in FORMATS:
        raise CheckpointError(f"format {to!r}; expected one of {', '.join(FORMATS)}")
    if which not in ROLES:
        raise CheckpointError(f"which is {which!r}; expected one of {', '.join(ROLES)}")
    if layout not in LAYOUTS or (layout != "hub" and to != "meta"):
        raise CheckpointError(
            f"layout is {layout!r} of format {to!r}; expected one of {', '.join(LAYOUTS)}, the "
            "latter of format 'meta' alone"
        )
    if robot is not None and to != "world":
        raise CheckpointError(f"a robot is named for the format 'world' alone, not for {to!r}")
    _check_free(out, force)
    graph = to in ("onnx", "torch-export")
    allow_missing = checked_patterns(allow_missing)
    loaded = load(
        source,
        role=ROLES[which],
        config=config,
        in_chans=in_chans,
        predictor=predictor,
        allow_missing=[*allow_missing, f"{FROM_PREDICTOR}*"] if graph else allow_missing,
        revision=revision,
    )
    if loaded.action_predictor is not None and to in ("hf", "nexus"):
        raise CheckpointError(
            f"the format {to!r} has no place for the action-conditioned predictor of "
            f"{loaded.path}; to convert the encoder alone, ask for a new predictor "
            "(--fresh-predictor, predictor='fresh'); to plan with both, the format is 'world'"
        )
    if loaded.assumed_size and not (graph and img_size):
        raise CheckpointError(
            f"{loaded.path}: {loaded.assumed_size}. A guess is not written into another format: "
            f"give --img-size {loaded.model.config.image_sides[0]} if it is right"
        )
    acting = _robot(robot) if robot is not None else None
    clip = _clip(loaded, num_frames, img_size) if graph else None
    if not graph and (num_frames, img_size) != (None, None):
        raise CheckpointError(
            "the size of clips is given for a graph alone (onnx, torch-export); for other formats "
            "it is a setting of the model: config={'img_size': 256, 'num_frames': 16}"
        )
    one_encoder = which if graph or to == "hf" else ""
    sides = clip[1:] if clip else loaded.model.config.image_sides
    shown = clips_in_use(loaded).chosen({"img_size": sides})
    with atomic_folder(out) as folder:
        notes = _write(folder, loaded, to, clip, shown, str(source), layout, acting)
        card = model_card(
            loaded,
            source=str(source),
            to=to,
            which=one_encoder,
            clip=clip,
            shown=shown,
            notes=notes,
        )
        write_text(folder / CARD_FILE, card)
    return Converted(out, loaded, tuple(notes))


def _write(
    folder: Path,
    loaded: Loaded,
    to: str,
    clip: tuple[int, int, int] | None,
    shown: ClipSpec,
    source: str,
    layout: Literal["hub", "training"],
    robot: Robot | None,
) -> list[str]:
    """Write the weights' files and return what is worth a remark."""
    model = loaded.model
    if to == "hf":
        save_huggingface(folder, model, loaded.role, shown)
        return _transformers_notes(loaded, shown)
    if to == "meta":
        file = folder / OFFICIAL_FILE
        save_official(file, model, loaded.action_predictor, shown, layout=layout)
        return _training_notes(model.config) if layout == "training" else []
    if to == "nexus":
        save_weights(folder / MODEL_FILE, model)
        kept = {CLIPS_KEY: shown.to_mapping()}
        about = {"converted_from": source, "nexus": nexus_version(), **kept}
        card = ModelCard("vjepa", model.config.to_mapping(), int(model.ema_step), about)
        write_card(folder, card)
        return []
    if to == "world":
        world = published_world(loaded, robot)
        save_weights(folder / MODEL_FILE, world)
        about = {"converted_from": source, "nexus": nexus_version()}
        card = ModelCard("world", world.config.to_mapping(), 0, about)
        write_card(folder, card)
        return _world_notes(world.config.robots[0])
    assert clip is not None  # graphs have one
    export, name = (export_onnx, ONNX_FILE) if to == "onnx" else (export_program, PROGRAM_FILE)
    apart = export(own_encoder(loaded.encoder), folder / name, clip)
    return [f"run again, the graph's features are {apart:.1e} of the largest one apart"]


def _robot(recording: str | Path) -> Robot:
    """The robot of a recording, its statistics those of the training episodes."""
    episodes = open_episodes(recording)
    return Robot.of(episodes, trained_on(episodes), name="robot")


def _world_notes(robot: Robot) -> list[str]:
    order = "position (3), angles about x, y and z (3, radians), gripper (0 to 1)"
    notes = [
        f"a state is {order}; an action is its change, the angles' as a rotation from the left"
    ]
    if robot.rate != RATE:
        notes.append(
            f"the predictor was trained at {RATE:g} steps a second, robot {robot.name!r} has "
            f"{robot.rate:g}: its actions are smaller or larger than those it knows"
        )
    return notes


def _training_notes(config: VJEPAConfig) -> list[str]:
    return [
        "for Meta's training loop: meta.load_checkpoint and meta.read_checkpoint (or "
        "optimization.anneal_ckpt) name the file; the optimizer starts afresh at epoch 0",
        f"its predictor has {config.num_mask_tokens} mask tokens: the loop builds as many where "
        "the entries of `mask` times those of data.dataset_fpcs give that number",
    ]


def _transformers_notes(loaded: Loaded, shown: ClipSpec) -> list[str]:
    config = loaded.model.config
    side = config.image_sides[0]
    notes = [
        f"the {loaded.role} encoder is written; transformers' model has one",
        f"transformers counts positions on the grid of {side} x {side} pixels: give it such clips",
    ]
    if shown.fps is None:
        notes.append(
            f"transformers' files have no place for {shown.pace}: nexus reads the folder at 4 "
            "frames a second unless it is told otherwise (--fps)"
        )
    if has_processor(shown):
        notes.append(
            f"{PROCESSOR_FILE} is for transformers' AutoVideoProcessor (which needs torchvision): "
            f"it brings the short side to {shown.resize or side} pixels and shows the middle "
            f"{side}, as nexus does"
        )
        if shown.short_side not in (None, side):
            notes.append(
                f"clips of these weights were reduced to a short side of {shown.short_side} first, "
                "which transformers' video processor does not do: reduce your videos to it"
            )
    else:
        notes.append(f"transformers' video processor is for RGB, not {config.in_chans} channels")
    used = PREDICTOR_MASK_TOKEN % config.num_mask_tokens
    if used != config.mask_token:
        notes.append(
            f"transformers' predictor always uses mask token {used}; this model's uses "
            f"{config.mask_token}, so that predictions there are not those here"
        )
    return notes


def _clip(
    loaded: Loaded, num_frames: int | None, img_size: int | tuple[int, int] | None
) -> tuple[int, int, int]:
    config = loaded.model.config
    rows, columns = config.image_sides
    if img_size is not None:
        rows, columns = (img_size, img_size) if isinstance(img_size, int) else img_size
    return num_frames or config.num_frames, rows, columns


def _check_free(out: Path, force: bool) -> None:
    """Check that a folder may be written.

    Raises:
        CheckpointError: there is something else, or an earlier conversion without `force`.
        OutputError: it cannot be written.
    """
    if out.suffix in FILE_SUFFIXES:
        raise CheckpointError(
            f"{out} names a file; give a folder, for instance {out.with_suffix('')}: the weights "
            "go into it, with a model card beside them"
        )
    check_writable(out)
    if not out.exists() or not any(out.iterdir()):
        return
    if not force:
        raise CheckpointError(
            f"{out} is there already; choose another folder, or add --force (force=True) to "
            "replace it"
        )
    strange = sorted(entry.name for entry in out.iterdir() if entry.name not in OWN_FILES)
    if strange:
        raise CheckpointError(
            f"{out} holds {json.dumps(strange[:5])}, which no conversion wrote; it is not "
            "replaced. Choose another folder"
        )
    if not _has_our_card(out):
        raise CheckpointError(
            f"{out} has no {CARD_FILE} that says that nexus wrote it; expected an earlier "
            "conversion, and nothing else is replaced. Choose another folder, or remove this one "
            "yourself"
        )


def _has_our_card(folder: Path) -> bool:
    card = folder / CARD_FILE
    return card.is_file() and OUR_CARD in card.read_text(encoding="utf-8", errors="replace")
