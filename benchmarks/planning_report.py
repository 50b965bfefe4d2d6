"""The tables of `planning.py`."""

import statistics
from typing import Any

Row = dict[str, Any]


def report(result: dict[str, Any]) -> str:
    """All tables, as Markdown that is also readable as text."""
    machine, rate = result["machine"], result["gemm"]
    where = machine["gpu"] or f"{machine['cpu']}, {machine['threads']} threads"
    parts = [
        f"{where}; torch {machine['torch']}; {machine['date']}; load before "
        f"{machine['load_before']}. Matrix rate {rate / 1e9:.0f} GFLOPS, fp32."
    ]
    if result["rows"]:
        parts.append(searches(result["rows"], rate))
    if result["deadline"]:
        parts.append(deadline(result["deadline"]))
    return "\n\n".join(parts)


def searches(rows: list[Row], rate: float) -> str:
    """One line an arm; those of the plain readings say how far nexus is ahead."""
    lines = [
        "| search | arm | s an action (lowest-highest) | nexus is faster | by processor time "
        "| GFLOP an action | nexus' are fewer | of matrix rate | costs differ by |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        [own] = [one for one in rows if one["arm"] == "nexus" and _same(one, row)]
        seconds, plain = row["seconds"], row is not own
        share = row["flops"] / statistics.median(seconds) / rate
        apart = "another function" if row["apart"] is None else f"{row['apart']:.0e}"
        lines.append(
            f"| {row['search']}, {row['candidates']} x {row['iterations']}, "
            f"{row['horizon']} ahead | {row['arm']} | {statistics.median(seconds):.3g} "
            f"({min(seconds):.3g}-{max(seconds):.3g}) | "
            f"{ratios(seconds, own['seconds']) if plain else ''} | "
            f"{ratios(row['processor'], own['processor']) if plain else ''} | "
            f"{row['flops'] / 1e9:,.0f} | {_times(row, own) if plain else ''} | {share:.0%} | "
            f"{apart if plain else ''} |"
        )
    spreads = {f"{row['search']}, {row['horizon']} ahead": row["spread"] for row in rows}
    told = "; ".join(f"{name}: {spread:.1e}" for name, spread in spreads.items())
    return "\n".join([*lines, "", f"Costs of candidates spread by, as a share: {told}."])


def deadline(row: Row) -> str:
    """How many plans were valid and in time, and what they came to."""
    took, judged = sorted(1e3 * one for one in row["seconds"]), sorted(row["judged"])
    return (
        f"Deadline of 200 ms: {row['valid']} of {row['calls']} plans valid, {row['in_time']} "
        f"within 220 ms; median {statistics.median(took):.0f} ms, longest {took[-1]:.0f} ms; "
        f"{statistics.median(judged):.0f} candidates judged in the median, {judged[0]} at least."
    )


def ratios(plain: list[float], own: list[float]) -> str:
    """The median of the rounds' ratios and its extremes."""
    each = [a / b for a, b in zip(plain, own, strict=True)]
    return f"{statistics.median(each):.2f} ({min(each):.2f}-{max(each):.2f})"


def _same(one: Row, other: Row) -> bool:
    return (one["search"], one["horizon"]) == (other["search"], other["horizon"])


def _times(row: Row, own: Row) -> str:
    return f"{row['flops'] / own['flops']:.2f}"
