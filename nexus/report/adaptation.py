"""An adaptation sweep in words and as a Markdown table."""

from nexus.report import tables
from nexus.report.schema import Adaptation


def words(sweep: Adaptation) -> str:
    """Which run was picked and by what; and which one the loss would have picked, if another."""
    by = f"the {sweep.probe} probe on the validation split of {', '.join(sweep.metrics)}"
    told = f"Picked by {by}: {sweep.chosen}."
    rows = {row.arm: row for row in sweep.rows}
    if rows[sweep.chosen].lr is None:
        told += " No run of the sweep is better: use the weights as they are."
    elif sweep.lowest_loss != sweep.chosen:
        told += f" The loss, which says little, would have picked {sweep.lowest_loss}."
    return told


def markdown(sweep: Adaptation) -> str:
    """A run a line, a task a column, the picked one in bold."""
    heads = [f"{task} ({tables.metric_title(metric)})" for task, metric in sweep.metrics.items()]
    columns = ["run", "learning rate", "EMA momentum", *heads, "last loss", "health", "training"]
    lines = [columns, ["---", *["---:"] * (len(heads) + 3), "---", "---:"]]
    for row in sweep.rows:
        arm = f"**{row.arm}**" if row.arm == sweep.chosen else row.arm
        scores = [
            tables.shown(row.validation.get(task), metric) for task, metric in sweep.metrics.items()
        ]
        numbers = [_number(row.lr), "–" if row.ema_momentum is None else f"{row.ema_momentum:g}"]
        rest = [_number(row.loss), row.health or "–", tables.duration(row.train_seconds)]
        lines.append([arm, *numbers, *scores, *rest])
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{body}\n\n{words(sweep)}\n"


def _number(value: float | None) -> str:
    return "–" if value is None else tables.significant(value)
