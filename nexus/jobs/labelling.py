"""`load_probe` and `label`: a trained or published probe, and the labels that it gives videos."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nexus.checkpoints.hub import locate
from nexus.checkpoints.huggingface import is_huggingface
from nexus.checkpoints.probe_folder import EncoderIdentity, ProbeCard, load_probe_folder
from nexus.checkpoints.probe_import import import_huggingface, import_meta, is_probe_folder
from nexus.checkpoints.weights import tensor_digest
from nexus.data.clip_spec import ClipSpec
from nexus.errors import CheckpointError
from nexus.features.encoding import FeatureConfig, check_layers, device_of, fitting_batch
from nexus.jobs.console import (
    progress,
    say_each,
    say_notes,
    say_problems,
    starts_over,
    told_on_interrupt,
)
from nexus.jobs.opening import OpenedEncoder, open_encoder, read_videos
from nexus.models.heads import Head, PooledHeadConfig
from nexus.probes.classifier import Labelled, VideoClassifier, check_label_file
from nexus.runs.folder import expanded

LABEL_CLIPS = 3
"""Clips that a video is labelled from where the probe learned from a single one: at the start, in
the middle (as the probe learned), at the end."""


def load_probe(
    probe: str | Path,
    *,
    encoder: str | Path | OpenedEncoder | None = None,
    classes: Sequence[str] | str | Path | None = None,
    index: int | None = None,
    clips: Mapping[str, Any] | None = None,
    join_clips: bool | None = None,
    layers: Sequence[int] = (),
    any_encoder: bool = False,
    precision: str = "fp32",
    batch_size: int | None = None,
    device: str = "auto",
) -> VideoClassifier:
    """A trained probe on its encoder.

    Args:
        probe: the folder of a probe that nexus saved; one of Meta's .pt probe files; or a folder
            or hub id of transformers' with a classifier.
        encoder: its weights; default: those that the probe names, or that lie beside it.
        classes: class names in the order of the outputs, or a file of them: for probes that do not
            bring them (Meta's).
        index: which of several probes in one of Meta's files.
        clips, join_clips, layers: how the probe is used (`clips`: keys of
            `nexus.data.clip_spec.CHOICES`), where it does not say or should be used differently.
            Of a probe that learned from one clip a video, several label it unless
            `clips_per_video` is given.
        any_encoder: take an encoder of the right width even if it is not the one that the probe was
            trained on.
        precision: "fp32" or "bf16", of the encoder.

    Raises:
        CheckpointError: probe or encoder cannot be read, or the encoder is another one.
        DataError: the file of class names cannot be read, or the clips do not fit the encoder.
    """
    probe = expanded(probe)
    own = isinstance(probe, Path) or Path(probe).exists()
    if own and is_probe_folder(probe):
        _refuse_index(probe, index)
        head, card, opened = _of_folder(Path(probe), encoder, any_encoder, device)
        notes: tuple[str, ...] = ()
    else:
        head, card, opened, notes = _imported(probe, encoder, classes, index, device)
        classes = None
    if classes is not None:
        raise CheckpointError(f"{probe} names its classes itself; leave the class names out")
    choices = {"join": join_clips, **(clips or {})}
    opened, learned = opened.with_clips(choices, card.clips), card.clips
    spec, layers = opened.clips.spec, tuple(layers) or card.encoder.layers
    check_layers(opened.encoder, layers)
    if isinstance(card.head, PooledHeadConfig) and (layers != card.encoder.layers or spec.join):
        raise CheckpointError(
            f"the probe {probe} is {card.head.kind}: it reads the mean over a clip's tokens in the "
            f"layers {', '.join(map(str, card.encoder.layers))}; leave --layers and --join out"
        )
    known = card.encoder.with_changes(layers=layers)
    card = card.model_copy(update={"clips": spec, "encoder": known})
    if (unlike := opened.off_distribution()) is not None:
        notes = (*notes, unlike)
    if batch_size is None:
        batch_size = fitting_batch(opened.encoder, spec.num_frames, spec.size)
    config = FeatureConfig.from_mapping({"precision": precision, "batch_size": batch_size})
    head = head.to(device_of(opened.encoder))
    several = choices.get("clips_per_video") or spec.join or learned.clips_per_video > 1
    count = None if several else LABEL_CLIPS
    return VideoClassifier(opened.encoder, head, card, config, notes, count)


def label(
    classifier: VideoClassifier,
    data: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    windows: bool = False,
    overlap: float = 0.0,
    top: int = 1,
    force: bool = False,
) -> Labelled:
    """Label videos with a probe: each from several clips spread through it, as is said.

    Args:
        out: a .csv, .parquet or .jsonl file for the labels.
        windows: label each window of a video instead of the video as a whole.
        overlap: share of a window that the next one repeats, from 0 to below 1.
        top: labels a row in the file.
        force: replace a file that is there.

    Raises:
        DataError: no video can be read.
        OutputError: `out` cannot be written or, without `force`, is there already.
    """
    if out is not None:
        check_label_file(out, force)
    with told_on_interrupt(partial(starts_over, None if out is None else Path(out))):
        catalog = read_videos(data)
        say_problems(catalog)
        say_notes([*classifier.notes, None if windows else _how_many(classifier.spec)])
        with progress("labelling") as tick:
            if windows:
                labelled = classifier.windows(catalog, overlap, progress=tick)
            else:
                labelled = classifier.videos(catalog, progress=tick)
        say_each(labelled.problems)
        if out is not None:
            labelled.save(out, top)
    return labelled


def _how_many(clips: ClipSpec) -> str | None:
    """How videos are labelled from several clips, if they are."""
    if clips.clips_per_video == 1:
        return None
    count, how = clips.clips_per_video, "pooled together" if clips.join else "averaged"
    alone = "" if clips.join else "; --clips 1 (clips_per_video) takes the one in the middle alone"
    what = "their tokens" if clips.join else "their probabilities"
    return f"each video is labelled from {count} clips spread through it, {what} {how}{alone}"


def _of_folder(
    folder: Path, encoder: str | Path | OpenedEncoder | None, any_encoder: bool, device: str
) -> tuple[Head, ProbeCard, OpenedEncoder]:
    head, card = load_probe_folder(folder)
    known = card.encoder
    if encoder is None and not known.source:
        raise CheckpointError(f"{folder} does not name its encoder; give its weights")
    opened = _opened(known.source if encoder is None else encoder, known.which, device)
    check_encoder(folder, card, opened, any_encoder)
    return head, card, opened


def check_encoder(
    probe: str | Path, card: ProbeCard, opened: OpenedEncoder, any_encoder: bool = False
) -> None:
    """Refuse an encoder of another width, or (unless told otherwise) with other weights.

    Raises:
        CheckpointError: saying which encoder is expected.
    """
    width, known = opened.encoder.embed_dim, card.encoder
    if width != known.dim:
        raise CheckpointError(
            f"the probe {probe} was trained on features of width {known.dim}, {opened.source} "
            f"gives {width}; give its own encoder ({known.source or 'unknown'})"
        )
    if not known.digest or any_encoder:
        return
    if tensor_digest(opened.encoder.state_dict()) != known.digest:
        raise CheckpointError(
            f"{opened.source} ({opened.which} encoder) holds other weights than those that the "
            f"probe {probe} was trained on ({known.source or 'unknown'}, {known.which}); give "
            "those, or say that any encoder of this width will do (--any-encoder)"
        )


def _imported(
    probe: str | Path,
    encoder: str | Path | OpenedEncoder | None,
    classes: Sequence[str] | str | Path | None,
    index: int | None,
    device: str,
) -> tuple[Head, ProbeCard, OpenedEncoder, tuple[str, ...]]:
    """A published probe, with the card that it would have had."""
    path = locate(probe).path
    if path.is_dir() and is_huggingface(path):
        _refuse_index(probe, index)
        found = import_huggingface(path, classes=classes)
        opened = _opened(probe if encoder is None else encoder, "target", device)
    elif encoder is None:
        raise CheckpointError(
            f"{path} is a probe without its encoder; give the encoder's weights as well, for "
            f"example: nexus label {path} DATA --encoder vitl.pt"
        )
    else:
        opened = _opened(encoder, "target", device)
        depth, frames = opened.encoder.depth, opened.trained.num_frames
        found = import_meta(path, depth, frames, classes=classes, index=index)
    head, own = found.head, opened.clips.spec
    clips = found.clips.chosen({"size": own.size})
    card = ProbeCard(
        task=found.task,
        classes=found.classes,
        head=head.config,
        encoder=EncoderIdentity(source=opened.source, dim=head.config.dim, layers=found.layers),
        clips=clips.with_changes(channels=own.channels, short_side=own.short_side),
    )
    check_encoder(probe, card, opened)
    return head, card, opened, (*opened.notes, *found.notes)


def _refuse_index(probe: str | Path, index: int | None) -> None:
    if index is not None:
        raise CheckpointError(
            f"{probe} holds one probe; an index ({index}) is for Meta's files of several: leave it "
            "out"
        )


def _opened(encoder: str | Path | OpenedEncoder, which: str, device: str) -> OpenedEncoder:
    if isinstance(encoder, OpenedEncoder):
        return encoder
    return open_encoder(encoder, which, device=device)
