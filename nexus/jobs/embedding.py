"""`embed`: features of every window of every video, with its times; or of every picture."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich import filesize

from nexus.atomic import check_writable
from nexus.data.clip_spec import ClipSpec
from nexus.data.stills.stills import find_stills, is_still
from nexus.errors import DataError
from nexus.features import extract as windows
from nexus.features.encoding import FeatureConfig, check_layers, device_of, fitting_batch
from nexus.features.table_files import check_ending
from nexus.jobs.console import (
    messages,
    progress,
    say_each,
    say_notes,
    say_problems,
    starts_over,
    told_on_interrupt,
)
from nexus.jobs.labelling import load_probe
from nexus.jobs.opening import OpenedEncoder, open_encoder, read_videos
from nexus.models.heads import AttentiveHead


def embed(
    source: str | Path,
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    num_frames: int | None = None,
    fps: float | None = None,
    pad: bool = False,
    img_size: int | None = None,
    resize: int | None = None,
    overlap: float = 0.0,
    pooling: str = "mean",
    layers: Sequence[int] = (),
    probe: str | Path | None = None,
    images: bool = False,
    which: str = "target",
    precision: str = "fp32",
    batch_size: int | None = None,
    device: str = "auto",
    force: bool = False,
) -> Path:
    """Write features of every window of every video to an .arrow or .parquet file.

    Memory stays bounded: windows are decoded, encoded and written a few at a time. The file's
    metadata (`FeatureTable.about`) say which weights and clips the features are of.

    Args:
        source: weights: a run's or checkpoint's folder, one of Meta's .pt files, a folder of
            transformers', or a hub id.
        num_frames: frames a window, a multiple of the tubelet; default: as the probe was trained,
            else as the weights were.
        fps: frames a second of the windows; default: as the probe or a run was trained, 4 for
            published weights. Pictures have none.
        pad: fill up videos shorter than a window with their last frame, instead of leaving them
            out.
        img_size: side of the pictures in pixels, a multiple of the patch; default: as the probe or
            the weights were trained.
        resize: pixels that the short side of pictures is brought to before their middle is cropped;
            default: as the probe or a run was trained, else as the makers of the weights have it.
        overlap: share of a window that the next one repeats, from 0 to below 1; none of pictures.
        pooling: "mean" (over all tokens), "mean_time" (a mean for each time step, side by side),
            "tokens" (none), or "attentive" (the vector that `probe` pools).
        layers: blocks, from 0, whose features stand side by side; default: the last (or the
            probe's).
        probe: a trained probe's folder, for attentive pooling; it also says how windows are cut.
        images: take `data` as pictures, one window each (a single picture file is one anyway).
        which: "target" or "context" encoder.
        precision: "fp32" or "bf16".
        batch_size: windows at a time; default: 32, fewer if they are long.
        force: replace a file that is there.

    Raises:
        CheckpointError: the weights or the probe cannot be read or do not fit each other.
        DataError: no window could be read, the window does not fit the encoder, or pictures are
            given a rate or an overlap.
        OutputError: `out` cannot be written or, without `force`, is there already.
    """
    check_ending(Path(out))
    check_writable(out, folder=False, replace=force, remedy="name another file (--out)")
    config = FeatureConfig.from_mapping({"pooling": pooling, "precision": precision})
    still = images or is_still(data)
    for option, value in (("fps", fps), ("overlap", overlap)):
        if still and value:
            raise DataError(
                f"{option} {value:g} says how windows follow one another in time, which pictures "
                f"do not have; leave it out (--{option})"
            )
    opened = open_encoder(source, which, device=device)
    opened, head, config = _pooling(opened, config, tuple(layers), probe)
    check_layers(opened.encoder, config.layers)
    trained = opened.clips.spec
    choices = {"num_frames": num_frames, "fps": fps, "pad": pad}
    choices |= {"img_size": img_size, "resize": resize}
    if still:
        choices |= {"stride": 1, "pad": "repeat_last"}
        choices["num_frames"] = num_frames or _frames_of_a_picture(opened)
    opened = opened.with_clips(choices)
    spec = opened.clips.spec
    if batch_size is None:
        batch_size = fitting_batch(opened.encoder, spec.num_frames, spec.size)
    config = config.with_changes(batch_size=batch_size)
    catalog = find_stills(data) if still else read_videos(data)
    say_problems(catalog)
    other = None if probe is None else _other_clips(probe, trained, spec, still)
    say_notes((*opened.notes, opened.off_distribution(), other))
    clips = opened.reading(catalog)
    with told_on_interrupt(partial(starts_over, Path(out))), progress("embedding") as tick:
        written = windows.embed(
            opened.encoder,
            clips,
            out,
            overlap=overlap,
            config=config,
            still=still,
            head=head,
            about={
                **opened.about(),
                "overlap": overlap,
                "precision": precision,
                "probe": None if probe is None else str(Path(probe).absolute()),
                "data": catalog.source,
            },
            progress=tick,
        )
    say_each(written.problems)
    size = Path(out).stat().st_size
    messages().print(
        f"{written.rows} rows of {written.videos} {'pictures' if still else 'videos'}, "
        f"{filesize.decimal(size)}"
    )
    return Path(out)


def _frames_of_a_picture(opened: OpenedEncoder) -> int:
    """One where the encoder takes images, else as many as fill a tubelet."""
    encoder, trained = opened.encoder, opened.trained
    if trained.image_input:
        return 1
    return trained.num_frames // encoder.grid_for(trained.num_frames, trained.image_sides).time


def _pooling(
    opened: OpenedEncoder,
    config: FeatureConfig,
    layers: tuple[int, ...],
    probe: str | Path | None,
) -> tuple[OpenedEncoder, AttentiveHead | None, FeatureConfig]:
    """The encoder with the clips, and the layers, of the probe that pools, if one is to."""
    if (probe is None) == (config.pooling == "attentive"):
        raise DataError(
            "attentive pooling and a probe belong together: give --pooling attentive --probe "
            "FOLDER, or neither"
        )
    if probe is None:
        return opened, None, config.with_changes(layers=layers or (-1,))
    classifier = load_probe(probe, encoder=opened)
    own, head = classifier.card.encoder.layers, classifier.head
    if not isinstance(head, AttentiveHead):
        raise DataError(
            f"the probe in {probe} is {classifier.card.head.kind}: it reads the mean over a clip's "
            "tokens; give --pooling mean without --probe, or an attentive probe"
        )
    if layers and layers != own:
        raise DataError(
            f"the probe in {probe} reads the layers {', '.join(map(str, own))}; leave --layers out"
        )
    clips = replace(opened.clips, spec=classifier.card.clips)
    head = head.to(device_of(opened.encoder))
    return replace(opened, clips=clips), head, config.with_changes(layers=own)


def _other_clips(probe: str | Path, trained: ClipSpec, spec: ClipSpec, still: bool) -> str | None:
    """How the clips differ from those that a probe was trained on, if they do."""
    known, shown = str(trained), str(spec)
    if still:
        shown = f"pictures as {spec.num_frames} frames of {spec.picture} pixels"
    return (
        None if known == shown else f"the probe {probe} was trained on {known}; these are {shown}"
    )
