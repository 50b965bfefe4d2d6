"""Clips of other videos whose features are nearest: what is alike to an encoder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from nexus.data.loading.clip_source import ClipSource
from nexus.errors import DataError
from nexus.features.encoding import FeatureConfig, Progress, fitting_batch
from nexus.features.extract import cache_file, extract, identity_of
from nexus.features.pictures import different_videos, held_out
from nexus.features.thumbnails import shown_clips
from nexus.models.contract import Encoder
from nexus.runs.predictions import Neighbour, NeighbourRow, Neighbours

QUERIES, NEAREST = 6, 4
SEARCHED = 256
"""Clips that are encoded for it where their features are not there already."""


def nearest(
    features: Float[ndarray, "clips dim"], videos: Sequence[str], query: int, count: int = NEAREST
) -> list[tuple[int, float]]:
    """The clips nearest to one of them and their cosines, the nearest first.

    Each is of another video than the query and than the others. Features are taken less their mean
    over all clips: what all of them share makes every cosine 1.

    Args:
        features: one row a clip.
        videos: the video of each clip.
        query: number of the clip.
    """
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(centred, axis=1)
    cosines = centred @ centred[query] / np.maximum(lengths * lengths[query], 1e-30)
    found: list[tuple[int, float]] = []
    seen = {videos[query]}
    for row in map(int, np.argsort(-cosines, kind="stable")):
        if videos[row] not in seen and len(found) < count:
            seen.add(videos[row])
            found.append((row, float(cosines[row])))
    return found


def find_neighbours(
    encoder: Encoder,
    source: ClipSource,
    cache_dir: str | Path | None = None,
    *,
    progress: Progress | None = None,
) -> Neighbours:
    """The nearest neighbours of some held-out clips, with pictures.

    All clips are looked through if their mean features lie in `cache_dir`, else some.

    Raises:
        DataError: fewer than two videos can be read.
        NexusError: the features are not finite.
    """
    spec = source.spec
    config = FeatureConfig(batch_size=fitting_batch(encoder, spec.num_frames, spec.size))
    kept = cache_dir and cache_file(cache_dir, identity_of(encoder, config), source).exists()
    if not kept:
        source = replace(source, catalog=different_videos(source.catalog, SEARCHED))
    table = extract(
        encoder, source, config, cache_dir=cache_dir if kept else None, progress=progress
    )
    videos, keys = table.rows["path"].tolist(), table.rows["key"].tolist()
    if len(set(videos)) < 2:
        raise DataError(f"{source.catalog.source} has no two videos to compare")
    asked = {record.key for record in different_videos(held_out(source.catalog), QUERIES).records}
    first = {key: row for row, key in reversed(list(enumerate(keys))) if key in asked}
    features = np.asarray(table.features[:])
    found = {row: nearest(features, videos, row) for row in sorted(first.values())}
    pictured = shown_clips(
        source,
        {keys[row] for query, near in found.items() for row in (query, *(r for r, _ in near))},
    )
    rows = [
        NeighbourRow(
            clip=pictured[keys[query]],
            neighbours=tuple(
                Neighbour(clip=pictured[keys[row]], cosine=round(cosine, 4))
                for row, cosine in near
                if keys[row] in pictured
            ),
        )
        for query, near in found.items()
        if keys[query] in pictured
    ]
    return Neighbours(rows=tuple(rows), searched=len(table))
