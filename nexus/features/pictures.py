"""What a run's page shows of the features themselves: patch colours and error by horizon."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from nexus.data.catalog.catalog import Catalog, VideoRecord
from nexus.data.loading.clip_source import ClipSource
from nexus.errors import DataError
from nexus.features.colours import patch_colours
from nexus.features.horizon import horizon_errors
from nexus.models.contract import Encoder, PredictsFeatures, SelfSupervisedModel

COLOURED_CLIPS = 4
HORIZON_CLIPS = 256
BATCH = 32


def held_out(catalog: Catalog) -> Catalog:
    """The videos that training did not see, if the catalog has such splits; else all of them."""
    there = {record.split for record in catalog.records}
    held = next((split for split in ("validation", "test") if split in there), None)
    return catalog.select(held)


def spread(catalog: Catalog, count: int) -> Catalog:
    """At most `count` records, evenly spread over the catalog."""
    records = catalog.records
    if len(records) <= count:
        return catalog
    chosen: Sequence[VideoRecord] = [records[i * len(records) // count] for i in range(count)]
    return replace(catalog, records=tuple(chosen))


def different_videos(catalog: Catalog, count: int) -> Catalog:
    """At most `count` records, evenly spread, of as many different files as there are."""
    firsts = {record.path: record for record in reversed(catalog.records)}
    one_each = [record for record in catalog.records if firsts[record.path] is record]
    chosen = spread(replace(catalog, records=tuple(one_each)), count)
    others = tuple(record for record in catalog.records if firsts[record.path] is not record)
    more = spread(replace(catalog, records=others), count - len(chosen.records))
    return replace(chosen, records=(*chosen.records, *more.records))


def write_pictures(
    model: SelfSupervisedModel, encoder: Encoder, source: ClipSource, results: Path
) -> list[str]:
    """Write `pca.npz` and, if the model predicts features, `horizon.json`, from held-out videos.

    Returns:
        What could not be made, in words; a file that fails only makes the sample smaller.
    """
    catalog = held_out(source.catalog)
    notes = []
    try:
        clips, names = _clips(replace(source, catalog=different_videos(catalog, COLOURED_CLIPS)))
        patch_colours(encoder, clips, names).save(results / "pca.npz")
    except DataError as error:
        notes.append(f"no feature colours: {error}")
    if isinstance(model, PredictsFeatures):
        sample = replace(source, catalog=spread(catalog, HORIZON_CLIPS))
        videos = (loaded.batch.clips for loaded in sample.batches(BATCH))
        try:
            step = seconds_per_step(sample, encoder)
            errors = horizon_errors(model, videos, seconds_per_step=step)
            errors.save(results / "horizon.json")
        except DataError as error:
            notes.append(f"no prediction error by horizon: {error}")
    return notes


def seconds_per_step(source: ClipSource, encoder: Encoder) -> float:
    """Duration of a token time step: by the clip's rate, else by the videos' median own rate."""
    clip = source.spec
    rate = clip.fps
    if rate is None:
        rates = sorted(record.fps for record in source.catalog.records)
        if not rates:
            raise DataError("there is no video to measure the prediction error on")
        rate = rates[len(rates) // 2] / clip.stride
    frames = clip.num_frames / encoder.grid_for(clip.num_frames, clip.size).time
    return frames / rate


def _clips(source: ClipSource) -> tuple[Tensor, list[str]]:
    videos, names = [], []
    for loaded in source.batches(COLOURED_CLIPS):
        videos.append(loaded.batch.clips)
        names += [source.catalog.records[index].key for index in loaded.record_index.tolist()]
    clips = torch.cat(videos) if videos else torch.zeros(0)
    if not len(clips):
        raise DataError(f"no clip of {source.catalog.source} could be read")
    return clips, names
