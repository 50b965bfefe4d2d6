"""How many labels it takes: probes that see so many training clips of each class.

`python benchmarks/few_labels.py RUN [RUN ...] --label direction --per-class 5 10 20 40` prints a
table in Markdown. Runs of several seeds, and `--draws` of which clips are seen, are averaged; the
range is that over all of them. What is chosen of a probe is chosen on the whole validation split,
for every arm alike; the test split is the whole one, too.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from nexus.data.loading.clip_source import ClipSource
from nexus.features.encoding import FeatureConfig
from nexus.features.extract import extract, pixel_features
from nexus.features.table import LABEL, FeatureTable
from nexus.jobs.console import progress
from nexus.jobs.opening import open_encoder
from nexus.jobs.probing import untrained_encoder
from nexus.probes.pixel_arms import PIXEL_ARMS
from nexus.probes.suite import build_probes, measure_tables

POOLINGS = {"pooled": "mean", "tokens": "tokens"}
Tables = Mapping[str, Mapping[str, FeatureTable]]
"""By arm, then by what a probe reads."""


def main() -> None:
    """Measure every arm with every number of labels, and print the table."""
    args = parse(sys.argv[1:])
    torch.set_num_threads(args.threads)
    found: dict[tuple[int, str, str], list[float]] = defaultdict(list)
    for run in args.runs:
        tables, source, seed = tables_of(run, args)
        for number in args.per_class:
            for draw in range(args.draws):
                for arm, read in tables.items():
                    probes = {k: p for k, p in build_probes(args.kind).items() if p.reads in read}
                    some = {
                        reads: few(table, args.label, number, draw) for reads, table in read.items()
                    }
                    measured = measure_tables(
                        source, some, [args.label], probes, [seed + draw], strict=True, device="cpu"
                    )
                    for (_, probe), [result] in measured.results.items():
                        found[number, arm, probe].append(100 * result.value)
                        told = f"{run} {number} a class, draw {draw}: {arm}, {probe}"
                        print(f"{told} {found[number, arm, probe][-1]:.1f}", file=sys.stderr)
    print(table_of(found, args.per_class))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--data", help="a list with labels; default: that of the run")
    parser.add_argument("--label", required=True)
    parser.add_argument("--per-class", nargs="+", type=int, default=[5, 10, 20, 40])
    parser.add_argument("--kind", nargs="+", default=["linear", "knn", "attentive"])
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(arguments)


def tables_of(run: Path, args: argparse.Namespace) -> tuple[Tables, ClipSource, int]:
    """Features of all arms, where the clips come from, and the run's seed."""
    opened = open_encoder(run)
    assert opened.recipe is not None
    seed = opened.recipe.training.seed
    source = opened.reading(opened.videos(args.data))
    untrained = untrained_encoder(opened, seed)
    wanted = {probe.reads for probe in build_probes(args.kind).values()}
    arms: dict[str, dict[str, FeatureTable]] = {}
    with progress("encoding") as tick:
        for arm, encoder in (("trained", opened.encoder), ("random init", untrained)):
            for reads in sorted(wanted):
                config = FeatureConfig.from_mapping({"pooling": POOLINGS[reads]})
                table = extract(
                    encoder, source, config, cache_dir=opened.results / "features", progress=tick
                )
                arms.setdefault(arm, {})[reads] = table
    if "pooled" in wanted:
        pixels = pixel_features(source, cache_dir=opened.results / "features")
        arms |= {arm: {"pooled": make(pixels)} for arm, make in PIXEL_ARMS.items()}
    return arms, source, seed


def few(table: FeatureTable, label: str, number: int, draw: int) -> FeatureTable:
    """The table with so many labelled training clips of each class; all else is as it was."""
    rng = np.random.default_rng(draw)
    labels, splits = table.rows[LABEL + label], table.rows["split"]
    has = np.array([isinstance(one, str) and one != "" for one in labels])
    kept = [np.flatnonzero(has & (splits != "train").to_numpy())]
    for name in sorted(set(labels[has])):
        members = np.flatnonzero(has & ((splits == "train") & (labels == name)).to_numpy())
        if len(members) < number:
            sys.exit(f"{label} {name}: {len(members)} training clips, {number} were asked for")
        kept.append(rng.permutation(members)[:number])
    return table.take(np.sort(np.concatenate(kept)))


def table_of(found: Mapping[tuple[int, str, str], list[float]], numbers: list[int]) -> str:
    """A row for each arm and probe, a column for each number of labels."""
    head = f"| arm | {' | '.join(f'{number} a class' for number in numbers)} |"
    lines = [head, "| --- |" + " ---: |" * len(numbers)]
    for arm, probe in dict.fromkeys((arm, probe) for _, arm, probe in found):
        cells = []
        for number in numbers:
            values = found[number, arm, probe]
            spread = f" [{min(values):.1f} to {max(values):.1f}]" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.1f}{spread}")
        lines.append(f"| {arm}, {probe} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
