"""Who goes to which split, and that classes are alike in all but their motion."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nexus.data.catalog.catalog import scan
from nexus.motion.config import SPLITS, MotionConfig
from nexus.motion.footage import look_at
from nexus.motion.plan import MIN_TEXTURE, deal_sources, draw_places, plan_split
from nexus.motion.windows import DIRECTIONS, reach

CONFIG = MotionConfig(size=32, seconds=1, fps=8, train_clips=150)


@given(lengths=st.lists(st.floats(1, 1000), min_size=3, max_size=40))
def test_every_split_gets_its_share_of_sources(lengths):
    named = {f"{number}.mp4": length for number, length in enumerate(lengths)}
    splits = deal_sources(named, {})
    assert splits.keys() == named.keys()
    counts = Counter(splits.values())
    for split, share in (("train", 0.5), ("validation", 0.2), ("test", 0.3)):
        assert counts[split] >= 1
        assert abs(counts[split] - share * len(lengths)) < 1.01
    assert splits == deal_sources(dict(reversed(named.items())), {})


def test_long_and_short_sources_go_to_every_split():
    splits = deal_sources({f"{n:02d}": 100.0 - n for n in range(30)}, {})
    for split in SPLITS:
        places = [int(name) for name, its in splits.items() if its == split]
        assert 12 < np.mean(places) < 17


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(SPLITS), max_size=5))
def test_what_the_user_has_put_somewhere_stays_there(chosen):
    lengths = {name: 10.0 + place for place, name in enumerate("abcdefgh")}
    splits = deal_sources(lengths, chosen)
    assert splits.keys() == lengths.keys()
    assert all(splits[name] == split for name, split in chosen.items())
    assert set(splits.values()) == set(SPLITS) or len(set(chosen.values())) < 3


def plan(sources, config=CONFIG, seed=0):
    catalog = scan(sources)
    footage = [look_at(catalog, number, config) for number in range(3)]
    digests = [f"{number:064x}" for number in range(3)]
    return footage, plan_split("train", footage, digests, config, seed)


def test_classes_are_balanced_within_each_source(sources):
    footage, clips = plan(sources)
    assert len(clips) == 150
    assert [clip.index for clip in clips] == list(range(150))
    for one in footage:
        own = [clip.motion for clip in clips if clip.source == one.number]
        assert Counter(motion.task for motion in own) == {"pan": 20, "zoom": 15, "still": 15}
        for name, classes in (("direction", DIRECTIONS), ("zoom", None), ("arrow", None)):
            counts = Counter(value for value in (getattr(m, name) for m in own) if value)
            assert max(counts.values()) - min(counts.values()) <= 1
            assert classes is None or set(counts) == set(classes)


def test_the_place_of_a_clip_is_drawn_without_sight_of_its_class(sources):
    _, clips = plan(sources)
    _, others = plan(sources, CONFIG.with_changes(tasks={"pan": 1, "zoom": 0, "still": 0}))
    places = {clip.place for clip in clips}
    # With other tasks the same places come, but for which of the spare ones are left out.
    assert len(places & {clip.place for clip in others}) > 100


def test_another_seed_shows_other_places(sources):
    _, clips = plan(sources)
    _, others = plan(sources, seed=1)
    assert not {clip.place for clip in clips} & {clip.place for clip in others}


def test_still_windows_stand_where_most_happens(sources):
    _, clips = plan(sources)
    for number in range(3):
        own = [clip for clip in clips if clip.source == number]
        still = [clip.place.change for clip in own if clip.motion.task == "still"]
        moving = [clip.place.change for clip in own if clip.motion.task != "still"]
        assert min(still) >= max(moving)


def test_places_show_texture_and_leave_room(sources):
    catalog = scan(sources)
    footage = look_at(catalog, 0, CONFIG)
    footage.small[:, :, :40] = 128  # of 64 columns; windows there would show nothing
    for place in draw_places(footage, CONFIG, 50, np.random.default_rng(0)):
        room = place.side * reach(CONFIG.seconds)
        assert room <= place.x <= footage.width - room
        assert room <= place.y <= footage.height - room
        assert place.x > 65
        assert place.start in footage.starts
    assert MIN_TEXTURE > 0
