"""Pictures of one folder sorted into series: those that are named alike but for a number or date.

img_1.jpg img_2.jpg flow_x_1.jpg flow_x_2.jpg cover.jpg
└── img_#.jpg ────┘ └── flow_x_#.jpg ───────┘ └ of no series
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

MARK = "#"
"""Stands for a number that varies in the names of a series."""
NOT_FOOTAGE = re.compile(
    r"(?<![a-z])(masks?|flow|depth|seg|segm|segmentations?|labels?|disp|disparity)(?![a-z])", re.I
)
"""Words in names of pictures that are not seen by a camera, but computed or drawn."""
_RUN = re.compile(r"([0-9]+)")
_PAUSE = 10  # times the usual time between two pictures that are named after their time

Units = tuple[range, ...]
"""What varies in names of one skeleton: runs of digits, several where they are one date or time."""


@dataclass(frozen=True)
class Series:
    """At least two pictures, in their order. `pattern`: their name, `#` for what varies."""

    pattern: str
    images: tuple[Path, ...]

    @property
    def computed(self) -> str | None:
        """The word in its name that says that no camera saw this: mask, flow, ..."""
        word = NOT_FOOTAGE.search(self.pattern)
        return word[1].lower() if word else None

    def gaps(self) -> list[tuple[str, str]]:
        """Pairs of neighbours between which numbers are missing, the widest first.

        Of numbers with a decimal point only pauses of ten times the usual spacing count; dates have
        no gaps.
        """
        runs = [_RUN.split(image.stem) for image in self.images]
        varying = [at for at in range(1, len(runs[0]), 2) if len({one[at] for one in runs}) > 1]
        last = varying[-1]
        decimals = last > 1 and runs[0][last - 1] == "."
        if not set(varying) <= ({last - 2, last} if decimals else {last}):
            return []
        texts = [one[last - 2] + "." + one[last] if decimals else one[last] for one in runs]
        steps = [(Decimal(b) - Decimal(a), a, b) for a, b in pairwise(texts)]
        usual = median(step for step, _, _ in steps) * (_PAUSE if decimals else 1)
        wide = sorted((step for step in steps if step[0] > usual), key=lambda step: -step[0])
        return [(before, after) for _, before, after in wide]


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key under which `frame_2` comes before `frame_10`."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts] + [(-2, name)]


def find_series(images: Iterable[Path]) -> tuple[list[Series], list[Path]]:
    """The series among the pictures of one folder, and the pictures that belong to none.

    Names of one series differ in one number, date or time (dates may have any separators), or in
    several numbers that rise together. Where more than one number could be the one that counts, it
    is the one that gives the fewest series. Endings (.jpg, .png) are never mixed.
    """
    alike: dict[tuple[str, ...], list[Named]] = defaultdict(list)
    taken = set()
    for image in images:
        name = image.name
        taken.add(name)
        stem, point, ending = name.rpartition(".")
        parts = _RUN.split(stem if point else name)
        alike[(*parts[::2], ending.lower())].append(Named(parts[1::2], name, image))
    series, alone = [], []
    for skeleton, some in alike.items():
        grouped = len(some) > 1 and bool(some[0].runs)
        for group, varying in _groups(skeleton[:-1], some) if grouped else [(some, ())]:
            if len(group) < 2:
                alone += (one.image for one in group)
                continue
            pattern = _pattern(skeleton, group[0].runs, varying, taken)
            series.append(Series(pattern, tuple(one.image for one in group)))
    return sorted(series, key=lambda one: natural_order(one.pattern)), sorted(alone)


class Named(NamedTuple):
    """A picture, its name, and the runs of digits in it."""

    runs: list[str]
    name: str
    image: Path


def _groups(texts: Sequence[str], images: list[Named]) -> Iterator[tuple[list[Named], Units]]:
    """Pictures of one skeleton in groups, each with the units that vary in it."""
    units = _units(texts, [one.runs for one in images])
    order = _order(images, units, texts)
    choices: list[tuple[int, Units, list[list[Named]]]] = []
    for place in reversed(range(len(units))):
        for varying in dict.fromkeys([units[place : place + 1], units[place:]]):
            groups = _apart(order, varying)
            if len(varying) == 1 or _rise_together(groups, varying):
                choices.append((len(groups), varying, groups))
    _, varying, groups = min(choices, key=lambda choice: choice[0])
    yield from ((group, varying) for group in groups)


def _apart(images: list[Named], varying: Units) -> list[list[Named]]:
    """In groups that have everything but these units in common."""
    free = {at for unit in varying for at in unit}
    fixed = [at for at in range(len(images[0].runs)) if at not in free]
    groups: dict[tuple[str, ...], list[Named]] = defaultdict(list)
    for one in images:
        groups[tuple(one.runs[at] for at in fixed)].append(one)
    return list(groups.values())


def _rise_together(groups: list[list[Named]], varying: Units) -> bool:
    def value(one: Named, unit: range) -> list[int]:
        return [int(one.runs[at]) for at in unit]

    return all(
        value(a, unit) < value(b, unit)
        for group in groups
        for a, b in pairwise(group)
        for unit in varying
    )


def _units(texts: Sequence[str], runs: list[list[str]]) -> Units:
    """Runs of digits, those that are one date and time, or one decimal, in all names together."""
    units, at, count = [], 0, len(runs[0])
    while at < count:
        long = _date_length(texts, runs, at)
        if not long and at + 1 < count and texts[at + 1] == ".":
            # 1305031102.175304 is a time; shot010.0001 is picture 1 of shot 10: it starts low.
            long = 2 * any(run[at + 1] >= "5" for run in runs)
            if len({run[at] for run in runs}) == 1 < len({len(run[at + 1]) for run in runs}):
                long = 2  # 0.04 and 0.2, whose order is not that of their digits
        units.append(range(at, at + (long or 1)))
        at += long or 1
    return tuple(units)


def _date_length(texts: Sequence[str], runs: list[list[str]], at: int) -> int:
    """How many runs from `at` on are a date, and a time if one follows; 0: none."""
    day = "(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"
    clock = "([01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]"

    def reads(first: int, length: int, form: str) -> bool:
        if first + length > len(runs[0]):
            return False
        joined = all(len(text) == 1 for text in texts[first + 1 : first + length])
        return joined and all(re.fullmatch(form, "".join(one[first:][:length])) for one in runs)

    if reads(at, 1, f"{day}{clock}[0-9]*"):
        long = 1
    else:
        long = next((length for length in (1, 3) if reads(at, length, day)), 0)
        link = texts[at + long] if long and at + long < len(runs[0]) else "no"
        if re.fullmatch(r"[-_.T ]+(at[-_. ]+)?", link):
            times = (length for length in (1, 3) if reads(at + long, length, f"{clock}[0-9]*"))
            long += next(times, 0)
    rest = at + long < len(runs[0]) and long > 1 and re.fullmatch("[.,]", texts[at + long])
    return long + bool(rest)


def _order(images: list[Named], units: Units, texts: Sequence[str]) -> list[Named]:
    """By their numbers; 0.25 before 0.5, but shot 1.9 before shot 1.10."""
    for unit in units:
        if len(unit) != 2 or texts[unit[1]] != ".":
            continue
        parts = {one.runs[unit[1]] for one in images}
        if len({len(part) for part in parts}) > 1 and not any(re.search(".0$", p) for p in parts):
            return sorted(
                images,
                key=lambda one: (Decimal(".".join(one.runs[at] for at in unit)), one.name),
            )
    return sorted(images, key=lambda one: (*map(int, one.runs), one.name))


def _pattern(skeleton: Sequence[str], runs: list[str], varying: Units, taken: set[str]) -> str:
    free = {at for unit in varying for at in unit}
    marked = [MARK if at in free else run for at, run in enumerate(runs)]
    *texts, ending = skeleton
    pattern = "".join(text + run for text, run in zip(texts, [*marked, ""], strict=True))
    pattern += f".{ending}"
    while pattern in taken:  # somebody has a file of that very name
        pattern = MARK + pattern
    taken.add(pattern)
    return pattern
