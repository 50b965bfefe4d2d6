"""Which seeds goals are drawn from: those of an evaluation are never those of training episodes."""

from collections.abc import Collection, Iterable

from nexus.errors import DataError

FIRST = 1_000_000_000
"""Seeds of evaluations begin here, far above those that recordings are counted up from."""
BETWEEN = 1_000_000
"""So many seeds lie between two evaluations of other numbers."""


def evaluation_seeds(number: int, count: int) -> range:
    """The seeds of the starts and goals of an evaluation.

    Args:
        number: the evaluation's own; others share no seed with it.
        count: episodes.

    Raises:
        DataError: there are no such seeds.
    """
    if number < 0 or not 1 <= count <= BETWEEN:
        raise DataError(
            f"an evaluation has a number from 0 on and 1 to {BETWEEN} episodes; got number "
            f"{number} and {count} episodes"
        )
    first = FIRST + number * BETWEEN
    return range(first, first + count)


def check_unseen(evaluation: Iterable[int], training: Collection[int]) -> None:
    """See to it that no training episode had the start and goal of an evaluation.

    Args:
        training: the seeds of the episodes that a policy was made from; a range will do.

    Raises:
        DataError: some did; naming them.
    """
    shared = sorted(seed for seed in evaluation if seed in training)
    if shared:
        some = ", ".join(map(str, shared[:5])) + (", ..." if len(shared) > 5 else "")
        raise DataError(
            f"{len(shared)} seeds of the evaluation were seen in training ({some}): success on "
            "them says nothing about new goals; evaluate with another --seed"
        )
