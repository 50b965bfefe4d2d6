"""`train_probe`: the published attentive probe on any weights, kept as a folder."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nexus.atomic import check_writable
from nexus.checkpoints.probe_folder import EncoderIdentity, ProbeCard, save_probe
from nexus.checkpoints.weights import tensor_digest
from nexus.config import parse_overrides
from nexus.data.catalog import Catalog
from nexus.data.clip_spec import ClipSpec
from nexus.digest import digest
from nexus.errors import DataError
from nexus.features.encoding import FeatureConfig, check_layers, device_of, fitting_batch
from nexus.features.tokens import JoinedTokens, TokenSource, token_source
from nexus.jobs.console import messages, progress, say_each, say_notes, say_problems
from nexus.jobs.opening import OpenedEncoder, open_encoder
from nexus.jobs.probe_place import ANOTHER, check_free, keep_rows
from nexus.probes.attentive import PUBLISHED, AttentiveProbe, FittedProbe
from nexus.probes.columns import brief, class_columns, class_task
from nexus.probes.results import probe_row
from nexus.runs.folder import expanded
from nexus.runs.schema import ProbeRow


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
    force: bool = False,
    keep_tokens: bool = True,
    device: str = "auto",
) -> list[TrainedProbe]:
    """Train the published attentive probe on a frozen encoder: 20 heads of 4 blocks at once.

    The learning rate and weight decay are chosen on the validation split, the test split is read
    for the chosen head alone. Of several seeds the one that validates best is kept.

    Args:
        source: weights, as for `embed`.
        data: a list with labels; default: the data that a run was trained on.
        label: the column to learn; default: every one of classes that can be learned.
        overrides: changes to `AttentiveProbe`, `["epochs=5", "depth=1", ...]`.
        clips: keys of `nexus.data.clip_spec.CHOICES`; default: one clip in a video's middle, as
            trained.
        join_clips: pool the tokens of a video's clips together, as published, instead of averaging
            their probabilities.
        layers: blocks, from 0, whose tokens are pooled together; default: the last.
        seeds: repetitions.
        precision: "fp32" or "bf16", of the encoder.
        save: the probe's folder; default: RUN/results/LABEL or probes/WEIGHTS/LABEL. With several
            columns: the folder of their folders.
        force: replace another probe that is kept there: of other weights, data or settings.
        keep_tokens: keep the encoder's tokens on the disk (beside the probes) if they fit there.

    Raises:
        CheckpointError: the weights cannot be read.
        ConfigError: an override that is not acceptable.
        DataError: no usable video, no label column, or one that cannot be learned; or another
            probe is kept there.
        OutputError: the probe cannot be written, which is found out before anything is encoded.
    """
    if save is not None:
        check_writable(expanded(save), remedy=ANOTHER)
    config = AttentiveProbe.from_mapping({**PUBLISHED.to_mapping(), **parse_overrides(overrides)})
    opened = open_encoder(source, which, device=device).with_clips(
        {"join": join_clips, **(clips or {})}
    )
    opened.check_results()
    layers = tuple(layers) or (-1,)
    check_layers(opened.encoder, layers)
    catalog = opened.videos(data)
    columns, unlearned = class_columns(catalog, label)
    say_problems(catalog)
    say_notes((*opened.notes, opened.off_distribution(), *unlearned))

    folders, wanted, spec = {}, {}, opened.clips.spec
    identity = EncoderIdentity(
        source=str(Path(opened.source).absolute() if opened.is_local else opened.source),
        which=opened.which,
        digest=tensor_digest(opened.encoder.state_dict()),
        dim=opened.encoder.embed_dim,
        layers=layers,
    )
    home = opened.results if save is None else Path(expanded(save))
    for column in columns:
        folders[column] = home / column if save is None or len(columns) > 1 else home
        wanted[column] = {
            "encoder": {"digest": identity.digest, "layers": identity.layers},
            "clips": spec.to_mapping(),
            "training": {
                **config.to_mapping(),
                "seeds": seeds,
                "precision": precision,
                "data_digest": data_digest(catalog, column),
            },
        }
        check_writable(folders[column], remedy=ANOTHER)
        check_free(folders[column], wanted[column], force)

    features = FeatureConfig.from_mapping(
        {
            "pooling": "tokens",
            "layers": layers,
            "precision": precision,
            "batch_size": fitting_batch(opened.encoder, spec.num_frames, spec.size),
        }
    )
    with progress("encoding") as tick:
        tokens: TokenSource = token_source(
            opened.encoder,
            opened.reading(catalog),
            features,
            cache_dir=opened.results / "features" if keep_tokens else None,
            progress=tick,
            say=lambda text: say_notes([text]),
        )
    say_each(tokens.problems)
    if spec.join and spec.clips_per_video > 1:
        tokens = JoinedTokens(tokens, spec.clips_per_video)
        for key in tokens.left_out:
            messages().print(f"left out {key}: not all of its clips can be read", markup=False)

    trained = []
    for column in _still_learned(tokens, columns, config, strict=label is not None):
        folder = folders[column]
        fitted = _fit(tokens, column, config, seeds, opened)
        best = max(fitted, key=lambda one: one.result.validation)
        training = {**wanted[column]["training"], "data": catalog.source}
        card = _card(best, column, training, identity, spec)
        save_probe(folder, best.head, card)
        seed = opened.recipe.training.seed if opened.recipe else 0
        row = probe_row(opened.name, "trained", {seed: [one.result for one in fitted]})
        keep_rows(opened.results / "probes.json", [row], notes=best.result.notes)
        trained.append(TrainedProbe(folder, row))
    return trained


def data_digest(catalog: Catalog, column: str) -> str:
    """A hash of what a probe learns from: files, segments, splits and one column of labels."""
    rows = (
        [str(one.path), one.start, one.end, one.split, one.labels.get(column, "")]
        for one in catalog.records
    )
    return digest("".join(json.dumps(row) for row in rows))


def _still_learned(
    tokens: TokenSource, columns: Sequence[str], config: AttentiveProbe, *, strict: bool
) -> list[str]:
    """The columns that can be learned from the videos that could be read; says notes on all.

    Raises:
        DataError: none can, or (if `strict`) not all.
    """
    learned: list[str] = []
    notes: list[str] = []
    failed: DataError | None = None
    for column in columns:
        try:
            task = class_task(tokens.rows, column, split_seed=config.split_seed)
        except DataError as error:
            if strict:
                raise
            failed = error
            say_notes([f"{column}: not learned ({brief(error)})"])
        else:
            learned.append(column)
            notes += task.parts.notes
    say_notes(dict.fromkeys(notes))
    if failed is not None and not learned:
        raise failed
    return learned


def _fit(
    tokens: TokenSource,
    column: str,
    config: AttentiveProbe,
    seeds: int,
    opened: OpenedEncoder,
) -> list[FittedProbe]:
    device, fitted = device_of(opened.encoder), []
    with progress(f"training probes of {column}") as tick:

        def told(done: int, total: int) -> None:
            tick(len(fitted) * total + done, seeds * total)

        for seed in range(seeds):
            fitted.append(config.fit(tokens, column, seed=seed, device=device, progress=told))
    return fitted


def _card(
    best: FittedProbe,
    column: str,
    training: Mapping[str, Any],
    encoder: EncoderIdentity,
    clips: ClipSpec,
) -> ProbeCard:
    return ProbeCard(
        task=column,
        classes=best.result.classes,
        head=best.head.config,
        encoder=encoder,
        clips=clips,
        chosen=dict(best.result.chosen),
        sweep=best.sweep,
        training={**training, "seed": best.result.seed},
        result={
            **asdict(best.result),
            "recall": [share if math.isfinite(share) else None for share in best.result.recall],
        },
    )
