"""Which source goes to which split, and what each clip shows: before any window is cut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nexus.motion.config import SPLITS, MotionConfig, Task
from nexus.motion.footage import Footage, largest_side, smallest_side
from nexus.motion.windows import MOTIONS, Motion, reach
from nexus.shares import apportion

SPLIT_SHARES = {"train": 0.5, "validation": 0.2, "test": 0.3}
"""Of the sources."""
MIN_TEXTURE = 3.0
"""Change of brightness (of 255) from one small pixel to the next, along x and along y: below it,
nothing in a window shows that it moves."""
TRIES = 12
"""Places that are drawn for one that shows texture; then the best of them is taken."""
SPARE = 1.5
"""Places that are drawn for each that is needed; still windows get those where most happens."""


@dataclass(frozen=True)
class Place:
    """A centre and a side in mid-clip (pixels of the source's pictures), and when the clip starts.

    `change`: mean absolute change of brightness there from one small picture to the next.
    """

    start: int
    x: float
    y: float
    side: float
    change: float


@dataclass(frozen=True)
class MotionClip:
    """One clip before it is cut: `source` is the number of its footage."""

    split: str
    index: int
    source: int
    motion: Motion
    place: Place

    @property
    def path(self) -> str:
        """The file's path relative to the benchmark's folder; it says nothing of the labels."""
        return f"{self.split}/{self.index:06d}.mp4"


def deal_sources(
    lengths: Mapping[str, float], chosen: Mapping[str, str], wanted: Sequence[str] = SPLITS
) -> dict[str, str]:
    """The split of each source.

    Sources are dealt from the longest to the shortest, each to the split that lacks most of its
    share of them (50 % train, 20 % validation, 30 % test; at least one each): all splits get long
    ones and short ones.

    Args:
        lengths: seconds of usable footage, by a name that is the source's own.
        chosen: the split of sources that the user has put somewhere.
        wanted: the splits that hold clips; at least one source goes to each.
    """
    shares = {split: SPLIT_SHARES[split] for split in wanted}
    counts = apportion(shares, len(lengths))
    for split in reversed(wanted):
        if not counts[split]:
            counts[max(counts, key=lambda name: counts[name])] -= 1
            counts[split] = 1
    placed = list(chosen.values())
    open_for = {split: max(0, counts[split] - placed.count(split)) for split in wanted}
    rest = sorted((name for name in lengths if name not in chosen), key=lambda n: (-lengths[n], n))
    given = dict.fromkeys(wanted, 0)
    dealt = dict(chosen)
    for number, name in enumerate(rest, start=1):
        # Where the user has put more than its share somewhere, the other splits may be full.
        room = [split for split in wanted if given[split] < open_for[split]] or wanted
        lacking = {split: open_for[split] * number / len(rest) - given[split] for split in room}
        dealt[name] = max(lacking, key=lambda split: lacking[split])
        given[dealt[name]] += 1
    return dealt


def plan_split(
    split: str, footage: Sequence[Footage], digests: Sequence[str], config: MotionConfig, seed: int
) -> list[MotionClip]:
    """The clips of a split, in a random order.

    Each source gives as many as the others, to within one; within a source tasks have their
    shares, and classes are balanced to within one clip. Which footage a clip shows is drawn
    from streams of the source (by the digest of its file) and the seed, without sight of its class.
    """
    total = config.clips[split]
    shown: list[tuple[int, Motion, Place]] = []
    for turn, (source, digest) in enumerate(zip(footage, digests, strict=True)):
        count = total // len(footage) + (turn < total % len(footage))
        rng = np.random.Generator(np.random.PCG64([seed, int(digest[:16], 16)]))
        places = draw_places(source, config, round(SPARE * count), rng)
        counts = apportion(config.tasks, count)
        still = counts.get("still", 0)
        by_change = sorted(range(len(places)), key=lambda place: -places[place].change)
        others = sorted(by_change[still:])
        pans = counts.get("pan", 0)
        kept: dict[Task, list[int]] = {
            "still": by_change[:still],
            "pan": others[:pans],
            "zoom": others[pans : pans + counts.get("zoom", 0)],
        }
        for task, chosen in kept.items():
            order = rng.permutation(len(chosen))
            # A source begins where the one before has stopped: no class is always the one more.
            first = turn * len(chosen)
            for number, at in enumerate(order):
                motion = MOTIONS[task][(first + number) % len(MOTIONS[task])]
                shown.append((source.number, motion, places[chosen[at]]))
    mixed = np.random.Generator(np.random.PCG64([seed, SPLITS.index(split)])).permutation(total)
    return [MotionClip(split, index, *shown[at]) for index, at in enumerate(mixed)]


def draw_places(
    footage: Footage, config: MotionConfig, count: int, rng: np.random.Generator
) -> list[Place]:
    """Places at random stretches, of random sides, all over the picture, that show texture."""
    return [_draw_place(footage, config, rng) for _ in range(count)]


def _draw_place(footage: Footage, config: MotionConfig, rng: np.random.Generator) -> Place:
    low = smallest_side(footage.height, footage.width, config)
    high = largest_side(footage.height, footage.width, config)
    best: tuple[float, Place] | None = None
    for _ in range(TRIES):
        start = int(rng.choice(footage.starts))
        side = float(low * (high / low) ** rng.random())
        margin = side * reach(config.seconds)
        x = float(rng.uniform(margin, footage.width - margin))
        y = float(rng.uniform(margin, footage.height - margin))
        texture, change = _measure(footage, config, start, x, y, side)
        if best is None or texture > best[0]:
            best = texture, Place(start, x, y, side, change)
        if texture >= MIN_TEXTURE:
            break
    assert best is not None
    return best[1]


def _measure(
    footage: Footage, config: MotionConfig, start: int, x: float, y: float, side: float
) -> tuple[float, float]:
    """The least texture of a place along x or y during a clip, and how much it changes."""
    first = -(-start // footage.kept_every)
    end = max(first + 1, (start + config.num_frames) // footage.kept_every)
    scale = footage.small.shape[1] / footage.height
    reach_small = side / 2 * scale
    top, left = (max(0, round(middle * scale - reach_small)) for middle in (y, x))
    length = max(3, round(2 * reach_small))
    part = footage.small[first:end, top : top + length, left : left + length].astype(np.float32)
    along = [np.abs(np.diff(part, axis=axis)).mean(axis=(1, 2)).min() for axis in (1, 2)]
    change = float(np.abs(np.diff(part, axis=0)).mean()) if len(part) > 1 else 0.0
    return float(min(along)), change
