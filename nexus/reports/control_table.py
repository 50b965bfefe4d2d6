"""Control policies side by side: the table as Markdown, and what it says in a sentence or two."""

from collections.abc import Sequence

from nexus.reports.tables import piped, significant
from nexus.runs.control import ControlTable, PolicyRow

HEADINGS = (
    "policy",
    "success at the end, %",
    "ever, %",
    "steps to success",
    "final distance",
    "ms an action, median",
    "95th percentile",
    "episodes",
    "dropped",
)
_MODEL = ("picture", "proprioception", "both")


def cells(row: PolicyRow, *, shifts: bool = True) -> tuple[str, ...]:
    """A row as text, in the order of `HEADINGS`."""
    name = row.policy if row.shift is None or not shifts else f"{row.policy}, other {row.shift}"
    return (
        name,
        f"{share(row.success_at_end)} [{span(row.interval_at_end)}]",
        share(row.success_ever),
        significant(row.steps_to_success, 2),
        significant(row.final_distance, 2),
        significant(row.ms, 2),
        significant(row.ms_95, 2),
        str(row.count),
        str(row.dropped),
    )


def control_markdown(table: ControlTable) -> str:
    """The table for a README: a policy and world a line, and a line that says what it shows."""
    lines = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1)), *map(cells, table.rows)]
    return f"{piped(lines)}\n\n{control_legend(table)}\n"


def control_legend(table: ControlTable) -> str:
    """What the numbers are."""
    return (
        f"Environment {table.environment}, {table.steps} steps an episode; success with its 95 % "
        "interval (Wilson); median steps of the successes; mean distance of what has to be moved "
        "at the end; time of an action with one environment at a time. Dropped: starts that "
        "satisfy their goal already."
    )


def share(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:.0f}"


def span(interval: tuple[float, float]) -> str:
    """An interval of shares in percent."""
    return f"{share(interval[0])} to {share(interval[1])}"


def headline(table: ControlTable) -> list[str]:
    """What the table says, a sentence each, the most important first."""
    plain = [row for row in table.rows if row.shift is None]
    sentences = [*_of_model(plain), *_of_best(plain), *_of_shifts(table.rows)]
    oracle = _of_role(plain, "oracle")
    if oracle is not None:
        sentences.append(
            f"The planner in the true world reaches {share(oracle.success_at_end)} %: no model can "
            "be expected to do better with it."
        )
    return sentences


def _of_model(rows: Sequence[PolicyRow]) -> list[str]:
    """Whether a planner's success comes from what it sees."""
    picture, own, both = (_of_role(rows, role) for role in _MODEL)
    if picture is None or own is None:
        return []
    told = (
        f"From the picture alone the planner reaches {share(picture.success_at_end)} %, from "
        f"proprioception alone {share(own.success_at_end)} %"
    )
    told += "" if both is None else f", from both {share(both.success_at_end)} %"
    if _above(picture, own):
        return [f"{told}: its success is owed to what it sees."]
    if _above(own, picture):
        return [f"{told}: its success is owed to where its body is, not to what it sees."]
    return [f"{told}: a difference that these episodes do not show."]


def _of_best(rows: Sequence[PolicyRow]) -> list[str]:
    """The best policy that could be used, against the one that knows nothing."""
    usable = [row for row in rows if row.role not in ("oracle", "zero", "random", "untrained")]
    chance = max(
        (row for row in rows if row.role in ("zero", "random", "untrained")),
        key=lambda row: row.success_at_end,
        default=None,
    )
    if not usable:
        if chance is None:
            return []
        return [f"Knowing nothing reaches {share(chance.success_at_end)} % ({chance.policy})."]
    best = max(usable, key=lambda row: row.success_at_end)
    told = f"The best is {best.policy}: {share(best.success_at_end)} % at the end"
    if chance is None:
        return [told + "."]
    clear = "clearly above" if _above(best, chance) else "not clearly above"
    return [f"{told}, {clear} {chance.policy} ({share(chance.success_at_end)} %)."]


def _of_shifts(rows: Sequence[PolicyRow]) -> list[str]:
    """The shifts that a policy does not bear."""
    known = {row.policy: row for row in rows if row.shift is None}
    fallen = [
        f"{row.policy} falls from {share(known[row.policy].success_at_end)} % to "
        f"{share(row.success_at_end)} % with other {row.shift}"
        for row in rows
        if row.shift is not None and row.policy in known and _above(known[row.policy], row)
    ]
    return ["; ".join(fallen) + "."] if fallen else []


def _of_role(rows: Sequence[PolicyRow], role: str) -> PolicyRow | None:
    return next((row for row in rows if row.role == role), None)


def _above(one: PolicyRow, other: PolicyRow) -> bool:
    """Whether the intervals of two lie apart, the first above."""
    return one.interval_at_end[0] > other.interval_at_end[1]
