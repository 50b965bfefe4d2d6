import dataclasses

import pytest

from nexus.data.catalog.catalog import Catalog
from nexus.data.clip_spec import ClipSpec
from nexus.errors import DataError
from nexus.training.feed import describe_data, training_part


def test_the_training_split_is_taken_where_there_are_splits(world):
    part = training_part(world, "train")
    assert len(part.records) == 12 and {record.split for record in part.records} == {"train"}
    assert training_part(world, None) == world
    with pytest.raises(DataError, match="holdout"):
        training_part(world, "holdout")


def test_a_plain_folder_is_taken_whole(world):
    records = tuple(dataclasses.replace(record, split=None) for record in world.records)
    folder = dataclasses.replace(world, records=records)
    assert training_part(folder, "train") == folder


def test_labels_are_counted(world):
    facts = describe_data(world, ClipSpec(num_frames=4))
    assert facts.videos == len(world.records)
    assert facts.seconds == pytest.approx(world.total_seconds, abs=1e-3)
    shapes = facts.labels["shape"]
    assert sum(shapes.values()) == len(world.records)
    first = world.records[0].labels["shape"]
    assert shapes[first] == sum(record.labels["shape"] == first for record in world.records)


def test_the_same_videos_have_the_same_fingerprint(world):
    def fingerprint(records, source="elsewhere"):
        return describe_data(
            Catalog(source, tuple(records), ()), ClipSpec(num_frames=4)
        ).fingerprint

    first = world.records[0]
    same = [dataclasses.replace(record, labels={}) for record in reversed(world.records)]
    assert fingerprint(same) == describe_data(world, ClipSpec(num_frames=4)).fingerprint
    others = (
        world.records[1:],
        [dataclasses.replace(first, key="other.mp4"), *world.records[1:]],
        [dataclasses.replace(first, end=1.0), *world.records[1:]],
        [dataclasses.replace(first, num_frames=1), *world.records[1:]],
    )
    found = {fingerprint(records) for records in (world.records, *others)}
    assert len(found) == 5
