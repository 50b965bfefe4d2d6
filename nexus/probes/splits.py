"""Who trains, who validates, who tests: always by file, so clips of one video stay together.

Samples are the catalog's records: a whole video, or an annotated segment of one. A sample may have
several clips (rows of the table): a probe trains on the clips and averages its scores over them.

A table that brings its own splits is taken at its word. One that brings none is split 60/20/20,
stratified by class: within a class, files are ordered by a hash of the split seed and their key, so
that every encoder, and every rerun, is measured on the same files.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray

from nexus.digest import digest
from nexus.errors import DataError

SPLIT_SEED = 0
SHARES = (0.6, 0.2, 0.2)
MIN_FILES = 5
NAMES = ("train", "validation", "test")
SHOWN = 5
"""Classes that a message names."""


@dataclass(frozen=True)
class Part:
    """The rows of one split: `rows` index the table; `samples[i]` is the sample, numbered from 0
    within this split, that clip `rows[i]` belongs to."""

    rows: Int[ndarray, " clips"]
    samples: Int[ndarray, " clips"]

    @property
    def count(self) -> int:
        """Samples in this split."""
        return int(self.samples.max()) + 1 if len(self.samples) else 0

    def only(self, kept: Bool[ndarray, " rows"]) -> "Part":
        """Those clips of it that the table's rows `kept` name."""
        chosen = kept[self.rows]
        samples = np.unique(self.samples[chosen], return_inverse=True)[1]
        return Part(self.rows[chosen], samples)

    def vote(self, scores: Float[ndarray, "clips *rest"]) -> Float[ndarray, "samples *rest"]:
        """The mean over each sample's clips."""
        total = np.zeros((self.count, *scores.shape[1:]))
        np.add.at(total, self.samples, scores)
        clips = np.bincount(self.samples, minlength=self.count)
        return total / clips.reshape(-1, *([1] * (scores.ndim - 1)))

    def per_sample(self, values: Shaped[ndarray, " rows"]) -> Shaped[ndarray, " samples"]:
        """What a column of the table (the same for all clips of a sample) holds for each sample."""
        first = np.unique(self.samples, return_index=True)[1]
        return values[self.rows[first]]


@dataclass(frozen=True)
class Parts:
    """The three splits of a table, and what had to be decided to make them."""

    train: Part
    validation: Part
    test: Part
    notes: tuple[str, ...]


def assign_splits(
    clips: pd.DataFrame,
    strata: Sequence[str],
    *,
    split_seed: int = SPLIT_SEED,
    min_files: int = MIN_FILES,
) -> Parts:
    """Assign the clips whose stratum is not empty to train, validation and test.

    Splits that the table brings are kept. If it brings no validation (or no test) split, a quarter
    of the training files becomes the validation split (and the given validation split is the test);
    the notes say so. Only when no clip has a split is the whole table divided.

    Args:
        clips: columns key, path and split, as `nexus.features.table.clip_rows` has them.
        strata: one a clip.

    Raises:
        DataError: some files have a split and others none, only one split is given, a video stands
            in two splits, or a stratum has fewer than `min_files` files to divide.
    """
    files = clips.drop_duplicates("path")
    key_of = dict(zip(files["path"], files["key"], strict=True))
    known = clips.reset_index(drop=True).assign(stratum=list(strata))
    known = known.loc[known["stratum"] != ""]
    kinds = set(known["split"]) - {""}
    notes: list[str] = []
    if not kinds:
        split_of = _divide(known, key_of, SHARES, split_seed, min_files)
        notes.append(
            f"the data brings no splits: files were divided 60/20/20 by class (split seed "
            f"{split_seed})"
        )
    else:
        split_of = _given(known, kinds)
        if "test" not in kinds:
            split_of = {
                path: "test" if split == "validation" else split for path, split in split_of.items()
            }
            notes.append("the data brings no test split: its validation split is the test split")
        if kinds != set(NAMES):
            train = known.loc[[split_of[path] == "train" for path in known["path"]]]
            split_of |= _divide(train, key_of, (0.75, 0.25, 0.0), split_seed, 2)
            notes.append(
                f"a quarter of the training files, by class, is the validation split (split seed "
                f"{split_seed})"
            )
    return Parts(*(_part(known, split_of, name) for name in NAMES), notes=tuple(notes))


def _part(known: pd.DataFrame, split_of: Mapping[str, str], name: str) -> Part:
    chosen = known.loc[[split_of[path] == name for path in known["path"]]]
    numbers: dict[str, int] = {}
    samples = [numbers.setdefault(key, len(numbers)) for key in chosen["key"]]
    return Part(chosen.index.to_numpy(dtype=int), np.array(samples, dtype=int))


def _given(known: pd.DataFrame, kinds: set[str]) -> dict[str, str]:
    """The split of each file, as the table says."""
    without = sorted(set(known.loc[known["split"] == "", "key"]))
    if without:
        raise DataError(
            f"{len(without)} of {len(known)} samples have no split while others have one "
            f"(first: {', '.join(without[:3])}); give every row a split or none"
        )
    if "train" not in kinds or not kinds & {"validation", "test"} or kinds - set(NAMES):
        raise DataError(
            f"the data's splits are {', '.join(sorted(kinds))}; expected train with validation "
            "and/or test (or no splits at all: then files are divided 60/20/20)"
        )
    split_of: dict[str, str] = {}
    for path, split in zip(known["path"], known["split"], strict=True):
        if split_of.setdefault(path, split) != split:
            raise DataError(
                f"{path} stands in two splits ({split_of[path]}, {split}); "
                "all segments of a video must be in one"
            )
    return split_of


def _divide(
    known: pd.DataFrame,
    key_of: Mapping[str, str],
    shares: tuple[float, float, float],
    seed: int,
    min_files: int,
) -> dict[str, str]:
    """Divide the files by shares within each stratum; the split of each file.

    A file whose segments belong to several strata counts for the most frequent one.
    """
    votes: dict[str, Counter[str]] = {}
    for path, stratum in zip(known["path"], known["stratum"], strict=True):
        votes.setdefault(path, Counter())[stratum] += 1
    members: dict[str, list[str]] = {}
    for path, counts in votes.items():
        stratum = min((-count, name) for name, count in counts.items())[1]
        members.setdefault(stratum, []).append(path)
    few = {stratum: len(paths) for stratum, paths in members.items() if len(paths) < min_files}
    if few:
        names = listed([f"{name} ({count})" for name, count in sorted(few.items())])
        raise DataError(
            f"too few files to divide into splits: {names}; expected at least {min_files} a "
            "class. Add files, drop the class, or give the data its own splits."
        )
    split_of: dict[str, str] = {}
    for paths in members.values():
        order = sorted(paths, key=lambda path: digest(f"{seed}:{key_of[path]}"))
        counts = [max(1, round(share * len(order))) if share else 0 for share in shares[1:]]
        train = len(order) - sum(counts)
        names = ["train"] * train + ["validation"] * counts[0] + ["test"] * counts[1]
        split_of |= dict(zip(order, names, strict=True))
    return split_of


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
