"""`embed`: features of every window of every video, with its times; or of every picture."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nexus.data.clips import ClipConfig
from nexus.data.stills import StillDecoder, find_stills, is_still
from nexus.errors import DataError
from nexus.evaluation import embed as windows
from nexus.evaluation.frozen import FeatureConfig, check_layers, device_of, fitting_batch
from nexus.jobs.console import messages, progress, say_problems
from nexus.jobs.labelling import load_probe
from nexus.jobs.opening import ClipChoice, OpenedEncoder, open_encoder
from nexus.jobs.runs import read_videos
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
    overlap: float = 0.0,
    pooling: str = "mean",
    layers: Sequence[int] = (),
    probe: str | Path | None = None,
    images: bool = False,
    which: str = "target",
    precision: str = "fp32",
    batch_size: int | None = None,
    device: str = "auto",
) -> Path:
    """Write features of every window of every video to a .parquet or .npz file.

    Memory stays bounded: windows are decoded, encoded and written a few at a time.

    Args:
        source: weights: a run's or checkpoint's folder, one of Meta's .pt files, a folder of
            transformers', or a hub id.
        num_frames: frames a window, a multiple of the tubelet; default: as trained.
        fps: frames a second of the windows; default: as a run was trained, 4 for published weights.
        pad: fill up videos shorter than a window with their last frame, instead of leaving them
            out.
        img_size: side of the pictures in pixels, a multiple of the patch; default: as trained.
        overlap: share of a window that the next one repeats, from 0 to below 1.
        pooling: "mean" (over all tokens), "mean_time" (a mean for each time step, side by side),
            "tokens" (none; .npz only), or "attentive" (the vector that `probe` pools).
        layers: blocks, from 0, whose features stand side by side; default: the last (or the
            probe's).
        probe: a trained probe's folder, for attentive pooling.
        images: take `data` as pictures, one window each (a single picture file is one anyway).
        which: "target" or "context" encoder.
        precision: "fp32" or "bf16".
        batch_size: windows at a time; default: 32, fewer if they are long.

    Raises:
        CheckpointError: the weights or the probe cannot be read or do not fit each other.
        DataError: no window could be read, or the window does not fit the encoder.
    """
    config = FeatureConfig.from_mapping({"pooling": pooling, "precision": precision})
    opened = open_encoder(source, which, device=device)
    still = images or is_still(data)
    choice = ClipChoice.from_mapping(
        {"num_frames": num_frames, "fps": fps, "pad": pad, "img_size": img_size}
    )
    if still:
        opened = for_stills(opened, choice)
    else:
        opened = opened.with_clips(choice)
    if batch_size is None:
        clips = opened.clips
        batch_size = fitting_batch(opened.encoder, clips.clip.num_frames, clips.sides)
    config = config.with_changes(batch_size=batch_size)
    head, config = _pooling(opened, config, tuple(layers), probe)
    check_layers(opened.encoder, config.layers)
    catalog = find_stills(data) if still else read_videos(data)
    say_problems(catalog)
    for note in (*opened.notes, opened.off_distribution()):
        if note:
            messages().print(f"note: {note}", markup=False)
    clips = opened.clips
    with progress("embedding") as tick:
        written = windows.embed(
            opened.encoder,
            catalog,
            out,
            clip=clips.clip,
            img_size=clips.img_size,
            overlap=overlap,
            config=config,
            channels=clips.channels,
            decoder=StillDecoder() if still else clips.decoder,
            still=still,
            head=head,
            progress=tick,
        )
    for problem in written.problems:
        messages().print(f"left out {problem.path}: {problem.reason}", markup=False)
    return written.path


def for_stills(opened: OpenedEncoder, choice: ClipChoice) -> OpenedEncoder:
    """Windows of one picture: as an image where the encoder takes images, else repeated to fill
    one tubelet (or `choice.num_frames`)."""
    config = opened.encoder.config
    frames = choice.num_frames or (1 if config.image_input else config.tubelet_size)
    clip = ClipConfig(num_frames=frames, pad="repeat_last")
    still = replace(opened, clips=replace(opened.clips, clip=clip))
    return still.with_clips(ClipChoice(img_size=choice.img_size))


def _pooling(
    opened: OpenedEncoder,
    config: FeatureConfig,
    layers: tuple[int, ...],
    probe: str | Path | None,
) -> tuple[AttentiveHead | None, FeatureConfig]:
    """The probe that pools, if one is to, and the layers."""
    if (probe is None) == (config.pooling == "attentive"):
        raise DataError(
            "attentive pooling and a probe belong together: give --pooling attentive --probe "
            "FOLDER, or neither"
        )
    if probe is None:
        return None, config.with_changes(layers=layers or (-1,))
    classifier = load_probe(probe, encoder=opened)
    own = classifier.card.encoder.layers
    if layers and layers != own:
        raise DataError(
            f"the probe in {probe} reads the layers {', '.join(map(str, own))}; leave --layers out"
        )
    return classifier.head.to(device_of(opened.encoder)), config.with_changes(layers=own)
