"""Which seeds goals are drawn from: those of an evaluation are never those of training episodes."""

from collections.abc import Iterable, Sequence

from nexus.errors import DataError

FIRST = 500_000_000
"""Seeds of evaluations begin here: far above those that people type, and below 10^9, where those
of collected episodes begin."""
BETWEEN, NUMBERS = 1_000_000, 500
"""So many seeds lie between two evaluations, and so many evaluations there are."""


def evaluation_seeds(number: int, count: int) -> range:
    """The seeds of the starts and goals of an evaluation.

    Args:
        number: the evaluation's own, below 500; others share no seed with it.
        count: episodes.

    Raises:
        DataError: there are no such seeds.
    """
    if not 0 <= number < NUMBERS or not 1 <= count <= BETWEEN:
        raise DataError(
            f"an evaluation has a number (--seed) from 0 to {NUMBERS - 1} and 1 to {BETWEEN} "
            f"episodes; got number {number} and {count} episodes"
        )
    first = FIRST + number * BETWEEN
    return range(first, first + count)


def check_unseen(evaluation: Iterable[int], training: Sequence[range]) -> None:
    """See to it that no training episode had the start and goal of an evaluation.

    Args:
        training: the seeds of the episodes that a policy was made from, a range a recording.

    Raises:
        DataError: some did; naming them.
    """
    shared = sorted(seed for seed in evaluation if any(seed in one for one in training))
    if shared:
        some = ", ".join(map(str, shared[:5])) + (", ..." if len(shared) > 5 else "")
        raise DataError(
            f"{len(shared)} seeds of the evaluation were seen in training ({some}): success on "
            "them says nothing about new goals; evaluate with another --seed"
        )
