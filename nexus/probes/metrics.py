"""Scores and their uncertainty: accuracy, recall, confusion, R², and 95 % intervals.

Which interval is used when:

- one encoder, one test set, an accuracy: Wilson's binomial interval (`wilson_interval`). It speaks
  of other test files from the same source, not of other training runs.
- one encoder, one test set, any other score: the percentile bootstrap over test files
  (`bootstrap_interval`).
- several pretraining seeds: Student's t over the seeds' values (`mean_interval`). It speaks of
  other training runs scored on the same test files; with two or three seeds it is wide, as it
  should be.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import stats

CONFIDENCE = 0.95


def accuracy(truth: Int[ndarray, " n"], guess: Int[ndarray, " n"]) -> float:
    """Share of guesses that are right, 0 to 1."""
    return float(np.mean(truth == guess))


def r_squared(truth: Float[ndarray, " n"], guess: Float[ndarray, " n"]) -> float:
    """Share of the variance explained: 1 is perfect, 0 is no better than the mean, can be negative.

    Returns NaN when the truth does not vary.
    """
    spread = float(np.sum((truth - truth.mean()) ** 2))
    return 1.0 - float(np.sum((truth - guess) ** 2)) / spread if spread > 0 else math.nan


def confusion_matrix(
    truth: Int[ndarray, " n"], guess: Int[ndarray, " n"], classes: int
) -> Int[ndarray, "classes classes"]:
    """Counts by (true class, guessed class)."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth, guess), 1)
    return counts


def per_class_recall(confusion: Int[ndarray, "classes classes"]) -> Float[ndarray, " classes"]:
    """Share of each class's samples that were found; NaN for a class without samples."""
    totals = confusion.sum(axis=1)
    found = np.diag(confusion).astype(float)
    return np.divide(found, totals, out=np.full(len(totals), math.nan), where=totals > 0)


def wilson_interval(
    successes: float, trials: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Wilson's score interval for a share (Wilson 1927; Brown, Cai and DasGupta 2001).

    `successes` may be fractional: the mean over several probe seeds on the same test files.

    Raises:
        ValueError: no trials, or successes outside 0 to `trials`.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"got {successes} successes in {trials} trials; expected 0 ≤ k ≤ n, n ≥ 1")
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    half /= 1 + z * z / trials
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(
    values: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, tuple[float, float]]:
    """Mean over seeds with Student's t interval.

    Raises:
        ValueError: fewer than two values (one run says nothing about the spread between runs).
    """
    if len(values) < 2:
        raise ValueError(f"a t interval needs at least two values, got {len(values)}")
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(stats.t.ppf(0.5 + confidence / 2, len(values) - 1)) * error
    return mean, (mean - half, mean + half)


def bootstrap_interval(
    score: Callable[[Int[ndarray, " n"]], float],
    samples: int,
    *,
    seed: int = 0,
    draws: int = 1000,
    confidence: float = CONFIDENCE,
) -> tuple[float, float]:
    """Percentile bootstrap: `score(rows)` over `draws` resamples of the rows 0 to `samples - 1`.

    Resamples whose score is not a number (a resample without variance) are left out; if all are,
    the interval is (NaN, NaN).
    """
    generator = np.random.default_rng(seed)
    scores = np.array(
        [score(generator.integers(samples, size=samples)) for _ in range(draws)], dtype=float
    )
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return math.nan, math.nan
    low, high = np.quantile(scores, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def chance_rate(train: Int[ndarray, " n"], test: Int[ndarray, " m"], classes: int) -> float:
    """What knowing nothing scores: the better of a uniform guess and of always guessing the class
    that is the most frequent in training."""
    majority = int(np.bincount(train, minlength=classes).argmax())
    return max(1.0 / classes, accuracy(test, np.full_like(test, majority)))


def accuracy_interval(right: Bool[ndarray, " n"]) -> tuple[float, float]:
    """Wilson's interval of the share of right guesses."""
    return wilson_interval(int(right.sum()), len(right))
