"""The tables of docs/real-footage.md: probes of runs that differ in their seed, as Markdown.

`python benchmarks/footage_table.py RUN [RUN ...]` reads what `nexus pretrain` and `nexus probe`
left in RUN/results/probes.json. Of arms with several seeds: mean and Student's t interval over
them; of the others the value with the interval over test clips.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from nexus.probes.metrics import mean_interval
from nexus.runs.read import read_run
from nexus.runs.schema import ProbeRow

SEEDED = ("trained", "untrained")
"""Roles whose features differ from seed to seed; pixels are the same for every run."""
NAMES = {"vjepa": "V-JEPA", "knn": "kNN"}
Reading = tuple[float, tuple[float, float]]
"""Per cent, and the interval."""


def main() -> None:
    """Print the table, the seeds one by one, and how far ahead each label is read."""
    args = parse(sys.argv[1:])
    rows: dict[tuple[str, str], dict[str, list[ProbeRow]]] = defaultdict(lambda: defaultdict(list))
    for run in args.runs:
        table = read_run(run).probes
        if table is None:
            sys.exit(f"{run} has no results/probes.json; nexus probe {run} makes it")
        for row in table.rows:
            if row.task in args.label:
                rows[row.arm, row.probe][row.task].append(row)
    cells = {
        arm: {label: reading(found[label]) for label in args.label if found[label]}
        for arm, found in rows.items()
    }
    print(f"| arm | {' | '.join(args.label)} |\n| --- |{' ---: |' * len(args.label)}")
    best = {
        label: max(one[label][0] for one in cells.values() if label in one) for label in args.label
    }
    for (arm, probe), one in cells.items():
        shown = [written(one.get(label), best[label]) for label in args.label]
        print(f"| {NAMES.get(arm, arm)}, {NAMES.get(probe, probe)} | {' | '.join(shown)} |")
    print()
    for label in args.label:
        print(f"- {compared(label, cells, rows)}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--label", nargs="+", default=["direction", "speed", "zoom", "arrow"])
    return parser.parse_args(arguments)


def reading(rows: Sequence[ProbeRow]) -> Reading:
    """Of the same arm, probe and label in several runs."""
    values = [100 * value for row in rows for value in row.values]
    if rows[0].role in SEEDED and len(rows) > 1:
        return mean_interval(values)
    low, high = rows[0].ci95 or (float("nan"),) * 2
    return values[0], (100 * low, 100 * high)


def written(one: Reading | None, best: float) -> str:
    """A cell; the best of its column is bold."""
    if one is None:
        return "–"
    value, (low, high) = one
    text = f"**{value:.1f}**" if value == best else f"{value:.1f}"
    return f"{text} [{max(0, low):.1f} to {min(100, high):.1f}]"


def compared(
    label: str,
    cells: Mapping[tuple[str, str], Mapping[str, Reading]],
    rows: Mapping[tuple[str, str], Mapping[str, Sequence[ProbeRow]]],
) -> str:
    """The best trained reading of a label beside the best of each other arm; its seeds."""
    of = {key: one[label] for key, one in cells.items() if label in one}
    role = {key: rows[key][label][0].role for key in of}
    own = max((key for key in of if role[key] == "trained"), key=lambda key: of[key][0])
    value, (low, high) = of[own]
    told = [f"{label}: {own[1]} {value:.1f}"]
    for arm in dict.fromkeys(key[0] for key in of if role[key] != "trained"):
        other = max((key for key in of if key[0] == arm), key=lambda key: of[key][0])
        rival, (least, most) = of[other]
        doubt = " (intervals overlap)" if low <= most and least <= high else ""
        told.append(f"{value - rival:+.1f} against {arm}, {other[1]} {rival:.1f}{doubt}")
    seeds = [f"{100 * one:.1f}" for row in rows[own][label] for one in row.values]
    return "; ".join(told) + f"; seeds {', '.join(seeds)}"


if __name__ == "__main__":
    main()
