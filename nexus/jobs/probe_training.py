"""`train_probe`: a probe on any weights, kept as a folder: attentive, linear or neighbours."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from nexus.atomic import check_writable
from nexus.checkpoints.probe_folder import EncoderIdentity, ProbeCard, save_probe
from nexus.checkpoints.weights import tensor_digest
from nexus.config import parse_overrides
from nexus.data.catalog.catalog import Catalog
from nexus.data.clip_spec import ClipSpec
from nexus.digest import digest
from nexus.errors import ConfigError, DataError, did_you_mean
from nexus.features.encoding import FeatureConfig, check_layers, device_of, fitting_batch
from nexus.features.extract import extract
from nexus.features.table import FeatureTable
from nexus.features.tokens import JoinedTokens, TokenSource, token_source
from nexus.jobs.console import (
    kept_features,
    messages,
    progress,
    say_each,
    say_notes,
    say_problems,
    told_on_interrupt,
)
from nexus.jobs.opening import OpenedEncoder, open_encoder
from nexus.jobs.probe_place import ANOTHER, check_free, keep_rows
from nexus.jobs.seen import with_seen
from nexus.probes.attentive import PUBLISHED, AttentiveProbe
from nexus.probes.columns import brief, class_columns, class_task
from nexus.probes.knn import KNNProbe
from nexus.probes.linear import LinearProbe
from nexus.probes.results import FittedProbe, probe_row
from nexus.probes.unfinished import Unfinished
from nexus.runs.folder import expanded
from nexus.runs.schema import ProbeRow

KeptProbe = AttentiveProbe | LinearProbe | KNNProbe
KINDS: dict[str, KeptProbe] = {"attentive": PUBLISHED, "linear": LinearProbe(), "knn": KNNProbe()}
"""What can be kept, with its settings."""


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
    kind: str = "attentive",
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
    """Train a probe on a frozen encoder and keep it, for `label` to use.

    By default it is the published attentive probe: 20 heads of 4 blocks at once. Its settings
    (learning rate and weight decay, the penalty's strength, or neighbours and temperature) are
    chosen on the validation split, the test split is read for what was chosen alone. Of several
    seeds the one that validates best is kept. An attentive training that Ctrl-C stops is kept in
    the probe's folder, and the same call goes on from there.

    Args:
        source: weights, as for `embed`.
        data: a list with labels; default: the data that a run was trained on.
        label: the column to learn; default: every one of classes that can be learned.
        kind: "attentive", or of the mean over a clip's tokens "linear" or "knn": as `nexus.probe`
            measures them, done in seconds once the clips are encoded.
        overrides: changes to the settings of `AttentiveProbe`, `LinearProbe` or `KNNProbe`:
            `["epochs=5", "depth=1", ...]`.
        clips: keys of `nexus.data.clip_spec.CHOICES`; default: one clip in a video's middle, as
            trained.
        join_clips: pool the tokens of a video's clips together, as published, instead of averaging
            their probabilities; attentive probes alone do.
        layers: blocks, from 0, whose tokens are pooled together; default: the last.
        seeds: repetitions of an attentive probe; the others draw nothing at random.
        precision: "fp32" or "bf16", of the encoder.
        save: the probe's folder; default: RUN/results/LABEL or probes/WEIGHTS/LABEL, LABEL-KIND
            of other kinds than attentive. With several columns: the folder of their folders.
        force: replace another probe that is kept there: of other weights, data or settings.
        keep_tokens: keep the encoder's tokens on the disk (beside the probes) if they fit there.

    Raises:
        CheckpointError: the weights cannot be read.
        ConfigError: an unknown kind, or an override that is not acceptable for it.
        DataError: no usable video, no label column, or one that cannot be learned; or another
            probe is kept there.
        OutputError: the probe cannot be written, which is found out before anything is encoded.
    """
    if save is not None:
        check_writable(expanded(save), remedy=ANOTHER)
    config = _settings(kind, overrides, seeds)
    own = open_encoder(source, which, device=device)
    opened = own.with_clips({"join": join_clips, **(clips or {})})
    opened.check_results()
    layers = tuple(layers) or (-1,)
    check_layers(opened.encoder, layers)
    catalog = opened.videos(data)
    columns, unlearned = class_columns(catalog, label)
    say_problems(catalog)
    say_notes((*opened.notes, opened.off_distribution(), *unlearned))

    folders, wanted, spec = {}, {}, opened.clips.spec
    if spec.join and kind != "attentive":
        raise ConfigError(
            f"clips are joined for attentive probes alone; a {kind} probe averages what it says of "
            "each clip: leave --join out (join_clips)"
        )
    identity = EncoderIdentity(
        source=str(Path(opened.source).absolute() if opened.is_local else opened.source),
        which=opened.which,
        digest=tensor_digest(opened.encoder.state_dict()),
        dim=opened.encoder.embed_dim,
        layers=layers,
    )
    home = opened.results if save is None else Path(expanded(save))
    for column in columns:
        name = column if kind == "attentive" else f"{column}-{kind}"
        folders[column] = home / name if save is None or len(columns) > 1 else home
        wanted[column] = {
            "head": {"kind": kind},
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

    cache = opened.results / "features" if keep_tokens else None
    with told_on_interrupt(lambda: kept_features(cache)):
        features = _features(opened, catalog, kind, layers, precision, cache)
    comparable = layers == (-1,) and (opened.recipe is None or spec == own.clips.spec)
    trained = []
    for column in _still_learned(features, columns, config, strict=label is not None):
        folder = folders[column]
        kept = [
            Unfinished(
                folder / f"unfinished-{seed}.pt",
                digest(json.dumps([wanted[column], seed])),
                say=lambda text: say_notes([text]),
            )
            for seed in range(seeds)
        ]
        with told_on_interrupt(partial(_kept, kept, cache, [one.folder for one in trained])):
            fitted = _fit(features, column, config, kept, opened)
        best = max(fitted, key=lambda one: one.result.validation)
        training = {**wanted[column]["training"], "data": catalog.source}
        seed = opened.recipe.training.seed if opened.recipe else 0
        row = probe_row(opened.name, "trained", {seed: [one.result for one in fitted]})
        [row], seen = with_seen(opened, catalog, [row], features.problems)
        say_notes(seen)
        card = _card(best, column, training, identity, spec)
        result = {**card.result, "n_test_seen": row.n_test_seen}
        save_probe(folder, best.head, card.with_changes(result=result))
        for one in kept:
            one.remove()
        if kind == "attentive" or comparable:
            keep_rows(opened.results / "probes.json", [row], notes=[*best.result.notes, *seen])
        else:
            say_notes(
                [
                    f"{column}: not in {opened.results / 'probes.json'}, which compares {kind} "
                    "probes of the last layer on the clips of the recipe"
                ]
            )
        trained.append(TrainedProbe(folder, row))
    return trained


def _settings(kind: str, overrides: Sequence[str], seeds: int) -> KeptProbe:
    """The settings of a kind of probe, with changes.

    Raises:
        ConfigError: an unknown kind or setting, or seeds where nothing is drawn at random.
    """
    if kind not in KINDS:
        raise ConfigError(f"no probe to keep is called {kind!r}; {did_you_mean(kind, KINDS)}")
    if seeds > 1 and kind != "attentive":
        raise ConfigError(f"a {kind} probe draws nothing at random; leave --seeds out (seeds)")
    base = KINDS[kind]
    return type(base).from_mapping({**base.to_mapping(), **parse_overrides(overrides)})


def _features(
    opened: OpenedEncoder,
    catalog: Catalog,
    kind: str,
    layers: tuple[int, ...],
    precision: str,
    cache_dir: Path | None,
) -> TokenSource:
    """What a kind of probe reads of all clips: their tokens, or the mean over them.

    Raises:
        DataError: not a single clip could be read.
    """
    spec, source = opened.clips.spec, opened.reading(catalog)
    config = FeatureConfig.from_mapping(
        {
            "pooling": "tokens" if kind == "attentive" else "mean",
            "layers": layers,
            "precision": precision,
            "batch_size": fitting_batch(opened.encoder, spec.num_frames, spec.size),
        }
    )
    with progress("encoding") as tick:
        if kind == "attentive":
            features: TokenSource = token_source(
                opened.encoder,
                source,
                config,
                cache_dir=cache_dir,
                progress=tick,
                say=lambda text: say_notes([text]),
            )
        else:
            features = extract(opened.encoder, source, config, cache_dir=cache_dir, progress=tick)
    say_each(features.problems)
    if spec.join and spec.clips_per_video > 1:
        features = JoinedTokens(features, spec.clips_per_video)
        for key in features.left_out:
            messages().print(f"left out {key}: not all of its clips can be read", markup=False)
    return features


def data_digest(catalog: Catalog, column: str) -> str:
    """A hash of what a probe learns from: files, segments, splits and one column of labels."""
    rows = (
        [str(one.path), one.start, one.end, one.split, one.labels.get(column, "")]
        for one in catalog.records
    )
    return digest("".join(json.dumps(row) for row in rows))


def _still_learned(
    features: TokenSource, columns: Sequence[str], config: KeptProbe, *, strict: bool
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
            task = class_task(features.rows, column, split_seed=config.split_seed)
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
    features: TokenSource,
    column: str,
    config: KeptProbe,
    kept: Sequence[Unfinished],
    opened: OpenedEncoder,
) -> list[FittedProbe]:
    """A probe for each seed, whose training is `kept` while it lasts."""
    if not isinstance(config, AttentiveProbe):
        assert isinstance(features, FeatureTable)
        with threadpool_limits(1):  # as where they are measured (nexus.probes.suite)
            return [config.fit(features, column)]
    device, fitted = device_of(opened.encoder), []
    with progress(f"training probes of {column}") as tick:

        def told(done: int, total: int) -> None:
            tick(len(fitted) * total + done, len(kept) * total)

        for seed, unfinished in enumerate(kept):
            fitted.append(
                config.fit(
                    features,
                    column,
                    seed=seed,
                    device=device,
                    progress=told,
                    unfinished=unfinished,
                )
            )
    return fitted


def _kept(trainings: Sequence[Unfinished], cache: Path | None, finished: Sequence[Path]) -> str:
    """What of an interrupted training is kept, and how to go on."""
    files = [str(one.path) for one in trainings if one.path.exists()]
    done = f"finished probes: {', '.join(map(str, finished))}. " if finished else ""
    if not files:
        return done + kept_features(cache)
    return f"{done}the training so far is kept in {', '.join(files)}; the same command goes on"


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
