"""Published probes made ready for use: their classes, the clips that they were trained on."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus.checkpoints.clips import PRETRAINING_FPS
from nexus.checkpoints.huggingface import CONFIG_FILE, is_huggingface, read_huggingface_tensors
from nexus.checkpoints.probe_folder import CARD_FILE
from nexus.checkpoints.probes import (
    HUGGINGFACE_PARTS,
    PUBLISHED_HEADS,
    build_head,
    from_huggingface,
    read_meta_probes,
)
from nexus.checkpoints.video_processor import PROCESSOR_FILE, processor_clips
from nexus.data.clip_spec import ClipSpec
from nexus.errors import CheckpointError, DataError
from nexus.models.contract import SeenClips
from nexus.models.heads import HUGGINGFACE_EPS, AttentiveHead


@dataclass(frozen=True)
class ImportedProbe:
    """A published probe, the clips (but for their size) and blocks that it reads.

    `notes` say what had to be assumed.
    """

    head: AttentiveHead
    classes: tuple[str, ...]
    task: str
    clips: ClipSpec
    layers: tuple[int, ...]
    notes: tuple[str, ...]


def is_probe_folder(path: str | Path) -> bool:
    """Whether a path is the folder of a probe that nexus saved, or was meant to be one."""
    path = Path(path)
    return (path / CARD_FILE).exists() or (path.is_dir() and not is_huggingface(path))


def import_meta(
    path: str | Path,
    depth: int,
    num_frames: int,
    *,
    classes: Sequence[str] | str | Path | None = None,
    index: int | None = None,
    num_heads: int = PUBLISHED_HEADS,
) -> ImportedProbe:
    """One of Meta's `.pt` probe files.

    The published files are known by their names (`ssv2-vitl-16x2x3.pt`: 16 frames, 2 clips, 3
    crops); of others the clips have to be given by the user.

    Args:
        depth: blocks of the encoder that it stands on.
        num_frames: frames a clip where the file's name does not say.
        classes: class names in the order of the outputs, or a file of them (`read_classes`).
        index: which of the file's probes; needed if there are several.

    Raises:
        CheckpointError: the file cannot be read, or its classes are not as many as given.
        DataError: the file of classes cannot be read.
    """
    path = Path(path)
    found = read_meta_probes(path)
    if (index is None and len(found) > 1) or not -1 < (index or 0) < len(found):
        raise CheckpointError(
            f"{path} holds {len(found)} probes, got index {index}; choose one from 0 to "
            f"{len(found) - 1}"
        )
    head = build_head(found[index or 0], num_heads=num_heads)
    published = published_clips(path.stem, depth)
    notes = []
    if published is None:
        published = ClipSpec(num_frames=num_frames, fps=PRETRAINING_FPS, sampling="uniform"), (-1,)
        notes.append(
            f"{path.name} does not say which clips it was trained on: {num_frames} frames at "
            f"{PRETRAINING_FPS:g} a second are assumed"
        )
    else:
        notes.append(
            "one crop of each clip is used; the published figures average three, so expect a "
            "little less"
        )
    names, more = _classes(path, head, classes)
    return ImportedProbe(head, names, path.stem, *published, (*notes, *more))


def import_huggingface(
    folder: str | Path, *, classes: Sequence[str] | str | Path | None = None
) -> ImportedProbe:
    """The pooler and classifier of a `VJEPA2ForVideoClassification` folder.

    Raises:
        CheckpointError: there are none, or its classes are not as many as given.
        DataError: the file of classes cannot be read.
    """
    folder = Path(folder)
    tensors = from_huggingface(read_huggingface_tensors(folder, HUGGINGFACE_PARTS))
    if not tensors:
        raise CheckpointError(
            f"{folder} has no classifier: it holds an encoder alone. Train a probe on it with "
            "nexus train-probe FOLDER DATA"
        )
    config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    heads = config.get("num_attention_heads", 16)
    head = build_head(tensors, num_heads=heads, eps=HUGGINGFACE_EPS)
    if classes is None and config.get("id2label"):
        classes = _ordered(f"id2label in {folder / CONFIG_FILE}", config["id2label"])
    names, more = _classes(folder, head, classes)
    frames = config.get("frames_per_clip", 64)
    clips = ClipSpec(num_frames=frames, fps=PRETRAINING_FPS, sampling="uniform", pad="repeat_last")
    shown = processor_clips(folder, SeenClips(num_frames=frames))
    if shown.is_published:  # nothing is said: the middle of the three views that it was trained on
        more.append(
            f"the folder has no {PROCESSOR_FILE}: its clips are shown as published probes are "
            "evaluated, all that the crop can hold"
        )
    else:
        clips = clips.with_changes(size=shown.spec.size, resize=shown.spec.resize)
    note = (
        f"the folder does not say how fast its clips play: {PRETRAINING_FPS:g} frames a second are "
        "assumed"
    )
    return ImportedProbe(head, names, folder.name, clips, (-1,), (note, *more, *shown.notes))


def published_clips(stem: str, depth: int) -> tuple[ClipSpec, tuple[int, ...]] | None:
    """What the published evaluation files say about a probe file, by its name; None if unknown.

    Returns:
        Its clips (short videos repeat their last frame there), and the blocks that it reads.
    """
    match = re.fullmatch(r"(ssv2|diving48)-vit\w+(?:-\d{3})?(?:-(\d+)x(\d+)x\d+)?", stem)
    if match is None:
        return None
    diving, layers = match[1] == "diving48", (-1,)
    frames, several = int(match[2] or (32 if diving else 16)), int(match[3] or (4 if diving else 2))
    if diving:
        layers = {24: (17, 19, 21, 23), 40: (24, 29, 34, 39)}.get(depth, layers)
    clips = ClipSpec(
        num_frames=frames,
        stride=2 if diving or frames > 16 else 4,
        sampling="uniform",
        clips_per_video=several,
        pad="repeat_last",
        join=several > 1,
    )
    return clips, layers


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Class names in the order of a probe's outputs.

    A `.json` file holds a list of names, `{"0": name, ...}` or `{name: "0", ...}` (as
    Something-Something's does); any other file one name a line.

    Raises:
        DataError: the file is missing or of another layout.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            return tuple(line.strip() for line in text.splitlines() if line.strip())
        content = json.loads(text)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the class names in {path}: {error}") from error
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return tuple(content)
    if isinstance(content, dict):
        return _ordered(str(path), content)
    raise DataError(f"{path}: expected a JSON list of class names or a mapping of number and name")


def _ordered(what: str, mapping: dict[str, Any]) -> tuple[str, ...]:
    """Names by number, whichever of the two is the key."""
    pairs = {str(key): str(value) for key, value in mapping.items()}
    if not all(key.isdecimal() for key in pairs):
        pairs = {value: key for key, value in pairs.items()}
    names = {int(key): name for key, name in pairs.items() if key.isdecimal()}
    if sorted(names) != list(range(len(mapping))):
        raise DataError(
            f"{what}: expected one name for each number from 0 to {len(mapping) - 1}, got the "
            f"numbers {', '.join(map(str, sorted(names)[:10])) or '(none)'}"
        )
    return tuple(names[number] for number in range(len(names)))


def _classes(
    path: Path, head: AttentiveHead, given: Sequence[str] | str | Path | None
) -> tuple[tuple[str, ...], list[str]]:
    count = head.config.num_classes
    if given is None:
        note = f"{path.name} does not name its {count} classes: they are numbered from 0"
        return tuple(f"class {number}" for number in range(count)), [note]
    names = read_classes(given) if isinstance(given, str | Path) else tuple(given)
    if len(names) != count:
        raise CheckpointError(
            f"{path} has {count} classes, {len(names)} names were given; give one for each output, "
            "in order"
        )
    return names, []
