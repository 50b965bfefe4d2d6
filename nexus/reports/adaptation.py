"""An adaptation sweep in words and as a Markdown table."""

from nexus.reports import tables
from nexus.runs.schema import Adaptation, AdaptationRow


def words(sweep: Adaptation) -> str:
    """Which run was picked and by what; and which one the loss would have picked, if another."""
    by = f"the {sweep.probe} probe on the validation split of {', '.join(sweep.metrics)}"
    told = f"Picked by {by}: {sweep.chosen}."
    chosen = next(row for row in sweep.rows if row.arm == sweep.chosen)
    tried = [row for row in sweep.rows if row.lr is not None]
    failed = [row.arm for row in tried if row.failed]
    if tried and len(failed) == len(tried):
        return (
            f"Every run of the sweep failed ({'; '.join(failed)}): use the weights as they are, or "
            "try lower learning rates."
        )
    if chosen.lr is None:
        told += " No run of the sweep is better: use the weights as they are."
    elif sweep.lowest_loss != sweep.chosen:
        told += f" The loss, which says little, would have picked {sweep.lowest_loss}."
    if failed:
        told += f" {len(failed)} of {len(tried)} runs failed: {'; '.join(failed)}."
    return told


def state(row: AdaptationRow) -> str:
    """What the doctor said of a run, or why it failed (the first sentence of the reason)."""
    if not row.failed:
        return row.health or "–"
    return f"failed: {' '.join(row.failed.split()).partition('. ')[0]}"


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
        numbers = [
            tables.significant(row.lr),
            "–" if row.ema_momentum is None else f"{row.ema_momentum:g}",
        ]
        told = state(row).replace("|", "\\|")
        rest = [tables.significant(row.loss), told, tables.duration(row.train_seconds)]
        lines.append([arm, *numbers, *scores, *rest])
    return f"{tables.piped(lines)}\n\n{words(sweep)}\n"
