"""The tables of `train_step.py`: what was measured, and what the seed says."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]
Pick = Callable[[Row], bool]


def report(result: dict[str, Any]) -> str:
    """All tables, as Markdown that is also readable as text."""
    rows = [row for row in result["rows"] if "failed" not in row]
    failed = [row for row in result["rows"] if "failed" in row]
    rates = {key: statistics.median(values) for key, values in result["gemm"].items()}
    parts = [head(result, rates), measured(rows, rates), comparisons(rows), claims(rows)]
    if failed:
        lines = [f"- {name(row)}: {row['failed']}" for row in failed]
        parts.append("Did not run:\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def head(result: dict[str, Any], rates: dict[str, float]) -> str:
    """Machine, model and matrix rates."""
    machine, options = result["machine"], result["options"]
    where = machine["gpu"] or f"{machine['cpu']}, {options['threads']} threads"
    gemm = ", ".join(f"{key} {rate / 1e9:,.0f}" for key, rate in rates.items())
    good = [row for row in result["rows"] if "failed" not in row]
    millions = " to ".join(sorted({f"{row['encoder_parameters'] / 1e6:.1f}" for row in good}))
    rounds = " to ".join(str(count) for count in sorted({len(row["seconds"]) for row in good}))
    return (
        f"{where}; torch {machine['torch']}; {machine['date']}; load before "
        f"{machine['load_before']}\n\nModel `{options['size']}` ({millions} M encoder parameters), "
        f"{options['pixels']} x {options['pixels']} px, batch {options['batch']}, {rounds} rounds. "
        f"GEMM rate in GFLOPS: {gemm}."
    )


def measured(rows: list[Row], rates: dict[str, float]) -> str:
    """One line a configuration."""
    lines = []
    for row in rows:
        rate = row["flops"]["total"] / statistics.median(row["seconds"])
        lines.append(
            [
                str(row["frames"]),
                stack(row),
                row["precision"],
                "yes" if row["checkpointing"] else "",
                "yes" if row["compiled"] else "",
                spread([row["batch"] / seconds for seconds in row["seconds"]], "{:.3g}"),
                f"{row['flops']['total'] / 1e9:,.0f}",
                f"{rate / 1e9:,.0f}",
                f"{rate / rates[row['precision']]:.0%}",
                f"{row['peak'] / 2**20:,.0f}",
            ]
        )
    titles = [
        "frames", "attention", "type", "checkpointing", "compiled", "clips/s (lowest-highest)",
        "useful GFLOP", "GFLOPS", "of GEMM", "peak MiB",
    ]  # fmt: skip
    return table(titles, lines)


def comparisons(rows: list[Row]) -> str:
    """Pairs that differ in one thing: time and memory within each round; FLOPs by formula."""
    lines = []
    for row in rows:
        for title, changed, flops in (
            ("factorized against joint", {"factorized": False}, True),
            ("checkpointing against none", {"checkpointing": False}, False),
            ("bf16 against fp32", {"precision": "fp32"}, False),
            ("compiled against eager", {"compiled": False}, False),
        ):
            other = partner(rows, row, changed)
            if other is None:
                continue
            theory = theory_attention = ""
            if flops:
                theory = f"{other['flops']['total'] / row['flops']['total']:.2f}"
                attention = "encoder_attention"
                theory_attention = f"{other['flops'][attention] / row['flops'][attention]:.1f}"
            times = speedups(row, other)
            lines.append(
                [
                    title,
                    name(row, without=changed),
                    theory,
                    theory_attention,
                    spread(times, "{:.2f}"),
                    f"{row['peak'] / other['peak']:.2f}",
                ]
            )
    lines.sort(key=lambda line: line[0], reverse=True)
    titles = [
        "what", "where", "FLOP ratio, whole step", "FLOP ratio, encoder attention",
        "times as fast (lowest-highest)", "times the peak memory",
    ]  # fmt: skip
    return table(titles, lines)


def claims(rows: list[Row]) -> str:
    """The seed's sentences beside the figures, by clip length."""
    lines = []
    eager = [row for row in rows if not row["compiled"]]
    for frames in sorted({row["frames"] for row in eager}):
        here = [row for row in eager if row["frames"] == frames]

        def ask(
            changed: dict[str, Any], *, speed: bool, here: list[Row] = here, **fixed: Any
        ) -> str:
            found = []
            for row in here:
                other = partner(here, row, changed)
                if other is None or any(row[key] != value for key, value in fixed.items()):
                    continue
                ratio = statistics.median(speedups(row, other))
                ratio = ratio if speed else row["peak"] / other["peak"]
                found.append((stack(row), ratio))
            return ", ".join(
                f"{ratio:.2f} x" if "factorized" in changed else f"{which} {ratio:.2f} x"
                for which, ratio in found
            )

        plain = {"precision": here[0]["precision"], "checkpointing": False}
        first = {"precision": here[0]["precision"]}
        lines += [
            [
                str(frames), "factorized: 7.3 x as fast as joint (8.7 against 1.2 it/s)",
                ask({"factorized": False}, speed=True, **plain),
            ],
            [
                str(frames), "factorized: 0.32 x the memory (12.1 against 38.4 GB)",
                ask({"factorized": False}, speed=False, **plain),
            ],
            [
                str(frames), "checkpointing: 0.5 x the memory",
                ask({"checkpointing": False}, speed=False, **first),
            ],
            [
                str(frames), "checkpointing: 0.83 x as fast (20 % slower)",
                ask({"checkpointing": False}, speed=True, **first),
            ],
            [
                str(frames), "mixed precision: 2 to 3 x as fast",
                ask({"precision": "fp32"}, speed=True, checkpointing=False),
            ],
        ]  # fmt: skip
    return table(["frames", "the seed says", "measured here (eager)"], lines)


def partner(rows: Sequence[Row], row: Row, changed: dict[str, Any]) -> Row | None:
    """The row that differs in nothing but these keys; None if it is the row itself or not there."""
    keys = ("frames", "factorized", "precision", "checkpointing", "compiled")
    wanted = {key: row[key] for key in keys} | changed
    if all(row[key] == wanted[key] for key in keys):
        return None
    return next((r for r in rows if all(r[key] == wanted[key] for key in keys)), None)


def speedups(row: Row, other: Row) -> list[float]:
    """How many times as fast as the other, round by round."""
    return [theirs / mine for mine, theirs in zip(row["seconds"], other["seconds"], strict=True)]


def stack(row: Row) -> str:
    """Name of the attention."""
    return "factorized" if row["factorized"] else "joint"


def name(row: Row, without: dict[str, Any] | None = None) -> str:
    """A configuration in words, less what it is compared in."""
    words = {
        "frames": f"{row['frames']} frames",
        "factorized": stack(row),
        "precision": row["precision"],
        "checkpointing": "checkpointing" if row["checkpointing"] else "",
        "compiled": "compiled" if row["compiled"] else "",
    }
    return " ".join(word for key, word in words.items() if word and key not in (without or {}))


def spread(values: Sequence[float], form: str) -> str:
    """Median, and the lowest and highest of the rounds."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{form.format(middle)} ({form.format(low)}-{form.format(high)})"


def table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table with padded columns."""
    widths = [max(len(line[i]) for line in (titles, *lines)) for i in range(len(titles))]

    def show(line: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([show(titles), rule, *map(show, lines)])
