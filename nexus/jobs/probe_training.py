"""`probe --attentive`: the published attentive probe on any weights, kept as a folder."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus.checkpoints.probe_folder import (
    EncoderIdentity,
    ProbeCard,
    Sampling,
    SweepRow,
    module_digest,
    save_probe,
)
from nexus.config import parse_overrides
from nexus.errors import DataError
from nexus.evaluation.attentive import FittedProbe, fit_attentive
from nexus.evaluation.columns import class_columns
from nexus.evaluation.features import Progress
from nexus.evaluation.frozen import FeatureConfig, check_layers, device_of, fitting_batch
from nexus.evaluation.results import ProbeRow, probe_row, write_probe_rows
from nexus.evaluation.sweep import PUBLISHED, AttentiveProbeConfig
from nexus.evaluation.token_sources import JoinedTokens, TokenSource, token_source
from nexus.jobs.console import messages, progress, say_problems
from nexus.jobs.opening import ClipChoice, OpenedEncoder, open_encoder
from nexus.jobs.runs import data_of, read_videos


@dataclass(frozen=True)
class TrainedProbe:
    """A probe's folder and its line in the table."""

    folder: Path
    row: ProbeRow


def train_probe(
    source: str | Path,
    data: str | Path | None = None,
    *,
    label: str | None = None,
    overrides: Sequence[str] = (),
    clips: Mapping[str, Any] | None = None,
    join_clips: bool = False,
    layers: Sequence[int] = (),
    which: str = "target",
    seeds: int = 1,
    precision: str = "fp32",
    save: str | Path | None = None,
    keep_tokens: bool = True,
    device: str = "auto",
) -> list[TrainedProbe]:
    """Train the published attentive probe on a frozen encoder: 20 heads of 4 blocks at once.

    The learning rate and weight decay are chosen on the validation split, the test split is read
    for the chosen head alone. Of several seeds the one that validates best is kept.

    Args:
        source: weights, as for `embed`.
        data: a list with labels; default: the data that a run was trained on.
        label: the column to learn; default: every one of classes.
        overrides: changes to `AttentiveProbeConfig`, `["epochs=5", "depth=1", ...]`.
        clips: keys of `ClipChoice`; default: one clip in a video's middle, as trained.
        join_clips: pool the tokens of a video's clips together, as published, instead of averaging
            their probabilities.
        layers: blocks, from 0, whose tokens are pooled together; default: the last.
        seeds: repetitions.
        precision: "fp32" or "bf16", of the encoder.
        save: the probe's folder; default: RUN/results/LABEL or probes/WEIGHTS/LABEL. With several
            columns: the folder of their folders.
        keep_tokens: keep the encoder's tokens on the disk (beside the probes) if they fit there.

    Raises:
        CheckpointError: the weights cannot be read.
        ConfigError: an override that is not acceptable.
        DataError: no usable video, no label column, or one that cannot be learned.
    """
    config = AttentiveProbeConfig.from_mapping(
        {**PUBLISHED.to_mapping(), **parse_overrides(overrides)}
    )
    opened = open_encoder(source, which, device=device).with_clips(
        ClipChoice.from_mapping(clips or {})
    )
    layers = tuple(layers) or (-1,)
    check_layers(opened.encoder, layers)
    if data is None and opened.recipe is None:
        raise DataError(f"{source} has no data of its own; name a list with labels")
    catalog = read_videos(data_of(source) if data is None else data)
    columns, unlearned = class_columns(catalog, label)
    say_problems(catalog)
    for note in (*opened.notes, opened.off_distribution(), *unlearned):
        if note:
            messages().print(f"note: {note}", markup=False)

    features = FeatureConfig.from_mapping(
        {
            "pooling": "tokens",
            "layers": layers,
            "precision": precision,
            "batch_size": fitting_batch(
                opened.encoder, opened.clips.clip.num_frames, opened.clips.sides
            ),
        }
    )
    with progress("encoding") as tick:
        tokens: TokenSource = token_source(
            opened.encoder,
            opened.reading(catalog),
            features,
            cache_dir=opened.results / "features" if keep_tokens else None,
            progress=tick,
            say=lambda text: messages().print(f"note: {text}", markup=False),
        )
    for problem in tokens.table.problems:
        messages().print(f"left out {problem.path}: {problem.reason}", markup=False)
    if join_clips and opened.clips.clips_per_video > 1:
        tokens = JoinedTokens(tokens, opened.clips.clips_per_video)
        for key in tokens.left_out:
            messages().print(f"left out {key}: not all of its clips can be read", markup=False)

    trained = []
    for column in columns:
        fitted = _fit(tokens, column, config, seeds, opened)
        folder = opened.results / column if save is None else Path(save)
        if save is not None and len(columns) > 1:
            folder = folder / column
        best = max(fitted, key=lambda one: one.result.validation)
        card = _card(best, column, config, opened, layers, join_clips)
        save_probe(folder, best.head, card)
        seed = opened.recipe.training.seed if opened.recipe else 0
        row = probe_row(opened.name, {seed: [one.result for one in fitted]})
        write_probe_rows(opened.results / "probes.json", [row], notes=best.result.notes)
        trained.append(TrainedProbe(folder, row))
    return trained


def _fit(
    tokens: TokenSource,
    column: str,
    config: AttentiveProbeConfig,
    seeds: int,
    opened: OpenedEncoder,
) -> list[FittedProbe]:
    with progress(f"training probes of {column}") as tick:

        def told(seed: int) -> Progress:
            return lambda done, total: tick(seed * total + done, seeds * total)

        return fit_attentive(
            tokens,
            column,
            config,
            seeds=range(seeds),
            device=device_of(opened.encoder),
            progress=told,
        )


def _card(
    best: FittedProbe,
    column: str,
    config: AttentiveProbeConfig,
    opened: OpenedEncoder,
    layers: tuple[int, ...],
    join_clips: bool,
) -> ProbeCard:
    clips = opened.clips
    return ProbeCard(
        task=column,
        classes=best.classes,
        head=best.head.config,
        encoder=EncoderIdentity(
            source=str(Path(opened.source).absolute() if opened.is_local else opened.source),
            which=opened.which,
            digest=module_digest(opened.encoder),
            dim=opened.encoder.embed_dim,
            layers=layers,
        ),
        sampling=Sampling(
            clip=clips.clip,
            img_size=clips.sides,
            channels=1 if clips.channels == 1 else 3,
            clips_per_video=clips.clips_per_video,
            join_clips=join_clips,
        ),
        chosen=dict(best.result.chosen),
        sweep=tuple(
            SweepRow(
                learning_rate=one.learning_rate,
                weight_decay=one.weight_decay,
                accuracy=one.accuracy,
                loss=one.loss if math.isfinite(one.loss) else None,
            )
            for one in best.sweep
        ),
        training={**config.to_mapping(), "seed": best.result.seed},
        result={
            **best.result.to_mapping(),
            "recall": [share if math.isfinite(share) else None for share in best.result.recall],
        },
    )
