"""Whether to plan with a world model, in a sentence; and what is at fault if not.

data         there is too little of it, or what was done does not show in what was seen
perception   the encoder does not say where things are
dynamics     the predictor is no better than a copy, ignores actions, or takes one for its opposite
"""

from collections.abc import Sequence

from nexus.control.trust import thresholds
from nexus.runs.world import (
    Decision,
    Fault,
    Measured,
    WorldActionRow,
    WorldErrorRow,
    WorldPlaceRow,
    WorldRankRow,
    WorldVerdict,
)

ANGLES = frozenset({"rad", "deg"})
"""Units of numbers that jump where a turn is complete: no linear reading finds them."""
SHOWN: dict[str, str] = {
    "yes": "Planning with this model makes sense",
    "doubtful": "Plan with this model with care",
    "no": "Do not plan with this model",
}


def world_verdict(
    errors: Sequence[WorldErrorRow],
    ranks: Sequence[WorldRankRow],
    places: Sequence[WorldPlaceRow],
    actions: Sequence[WorldActionRow],
    calibration: float | None,
    episodes: int,
) -> WorldVerdict:
    """See `nexus.control.trust.thresholds` for the limits.

    Args:
        episodes: that were judged.
    """
    if episodes < thresholds.FEWEST_EPISODES:
        sentence = (
            f"Whether to plan with this model cannot be told; the data is at fault: {episodes} "
            f"episode{'s' if episodes > 1 else ''} to judge it by, where "
            f"{thresholds.FEWEST_EPISODES} are the least."
        )
        return WorldVerdict(plan="unknown", fault="data", sentence=sentence)
    flipped = tuple(row.name for row in actions if row.flipped)
    rank = headline_rank(ranks)
    reasons = _reasons(errors, rank, places, actions, calibration)
    copy = min((row.vs_copy for row in errors), key=lambda each: each.value)
    better = _clearly_below([row.vs_copy for row in errors], thresholds.CLEARLY_BELOW)
    acts = _clearly_below([row.vs_shuffled for row in errors], thresholds.ACTIONS_COUNT)

    def said(plan: Decision, fault: Fault | None, why: str) -> WorldVerdict:
        at_fault = {"data": "the data is", "dynamics": "the dynamics are"}.get(
            fault or "", f"the {fault} is"
        )
        between = f"; {at_fault} at fault: " if fault else ": "
        sentence = f"{SHOWN[plan]}{between}{why}."
        return WorldVerdict(
            plan=plan, fault=fault, sentence=sentence, reasons=reasons, flipped=flipped
        )

    if flipped:
        names = " and ".join(flipped)
        turned = min(row.reversed.value for row in actions if row.flipped)
        return said(
            "no",
            "dynamics",
            f"it takes {names} for the opposite; with the sign turned round its error is "
            f"{turned:.2f} of what it is",
        )
    blurred = [
        row.name for row in places if row.unit not in ANGLES and row.r2 < thresholds.READABLE
    ]
    unseen = f"the encoder does not tell {' and '.join(blurred)}"
    if not acts:
        if blurred:
            return said("no", "perception", unseen)
        readable = [row.inverse_r2 for row in actions if row.inverse_r2 is not None]
        if readable and max(readable) < thresholds.READABLE:
            why = "no dimension of the action can be read from two frames in a row"
            if places:
                why += (
                    ", though the encoder tells where things are: actions and frames do not match"
                )
            return said("no", "data", why)
        if copy.ci95[0] > 1:
            why = (
                f"it has not learned enough, its error is {copy.value:.2f} of a copy's, and "
                "actions make no difference; train for longer"
            )
            return said("no", "dynamics", why)
        why = "it ignores actions: with those of other episodes its error is the same"
        if not better:
            why += f", and no better than a copy's ({copy.value:.2f} of it)"
        return said("no", "dynamics", why)
    learned = calibration is not None and calibration > thresholds.OVERFIT
    by_heart = f"its error on new episodes is {calibration or 0:.1f} times that in training"
    ranked = _ranked(rank)
    if not better or (rank is not None and rank.value > thresholds.FAIR_RANK):
        if blurred:
            return said("no", "perception", unseen)
        if learned:
            return said("no", "data", by_heart)
        why = ranked if better else f"its error is {copy.value:.2f} of a copy's; train for longer"
        return said("no", "dynamics", why)
    if blurred:
        return said("doubtful", "perception", unseen)
    if learned:
        return said("doubtful", "data", by_heart)
    if rank is not None and rank.value > thresholds.GOOD_RANK:
        return said("doubtful", "dynamics", f"{ranked}; train for longer")
    return said("yes", None, f"{ranked}, and its error is {copy.value:.2f} of a copy's")


def headline_rank(ranks: Sequence[WorldRankRow]) -> Measured | None:
    """By the term that ranks best, proprioception aside, at its middle horizon.

    A robot knows where it is itself: that alone says nothing of a goal picture.
    """
    terms = {row.term for row in ranks} - {"proprioception"}
    middles = []
    for term in sorted(terms):
        rows = sorted((row for row in ranks if row.term == term), key=lambda row: row.steps)
        middles.append(rows[len(rows) // 2].rank)
    return min(middles, key=lambda rank: rank.value) if middles else None


def _clearly_below(ratios: Sequence[Measured], limit: float) -> bool:
    return any(each.value < limit and each.ci95[1] < limit for each in ratios)


def _ranked(rank: Measured | None) -> str:
    if rank is None:
        return "ranks were not measured"
    return f"of random actions it takes {rank.value:.0%} for better than the true ones"


def _reasons(
    errors: Sequence[WorldErrorRow],
    rank: Measured | None,
    places: Sequence[WorldPlaceRow],
    actions: Sequence[WorldActionRow],
    calibration: float | None,
) -> tuple[str, ...]:
    last = errors[-1]
    told = [
        f"{last.steps} step{'s' if last.steps > 1 else ''} ahead its error is "
        f"{_shown(last.vs_copy)} of a copy's and {_shown(last.vs_shuffled)} of that with the "
        "actions of others"
    ]
    if rank is not None:
        told.append(f"{_ranked(rank)} ({rank.ci95[0]:.0%} to {rank.ci95[1]:.0%}; chance is 50%)")
    if places:
        worst = min(places, key=lambda row: row.r2)
        told.append(f"of what is where, {worst.name} is told worst: R² {worst.r2:.2f}")
    unused = [row.name for row in actions if row.effect.ci95[0] <= 0 and not row.flipped]
    if unused:
        told.append(f"what {' and '.join(unused)} does is not known to it")
    if calibration is not None:
        told.append(f"its error on these episodes is {calibration:.2f} times that in training")
    return tuple(told)


def _shown(number: Measured) -> str:
    return f"{number.value:.2f} ({number.ci95[0]:.2f} to {number.ci95[1]:.2f})"
