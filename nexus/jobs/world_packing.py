"""`pack_world`: a world model as a small folder to keep or to pass on, with a card.

    FOLDER/model.safetensors   the weights, without what only training needs
    FOLDER/config.json         the model's settings, its robots and their statistics among them
    FOLDER/planning.yaml       the weights of the cost that were chosen and how plans are searched
                               for, if it was planned with
    FOLDER/README.md           what it is, how it was trained, who reached which goals with it

Wherever a run is asked for to plan with, such a folder will do.
"""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from nexus.atomic import atomic_folder, write_text
from nexus.checkpoints.files import MODEL_FILE, read_card, resolve_checkpoint, write_card
from nexus.errors import OutputError, RunError
from nexus.jobs.model_card import CARD_FILE, TEMPLATES
from nexus.jobs.planning import SETTINGS, TABLE, WEIGHTS
from nexus.reports.control_table import control_markdown, headline
from nexus.runs.control import ControlTable, PolicyRow
from nexus.runs.folder import find_run
from nexus.runs.read import read_run
from nexus.version import nexus_version


def pack_world(
    run: str | Path, out: str | Path, *, planned: Sequence[str | Path] = (), note: str = ""
) -> Path:
    """Write a world model's weights, settings and card into a new folder, whole or not at all.

    Args:
        run: of a world model.
        out: a folder that is not there yet.
        planned: folders of `nexus plan` with this run, for the card; the first one's weights of the
            cost, and how it searched, are kept, and `nexus plan` takes them instead of trying any.
        note: a paragraph for the card.

    Returns:
        The folder.

    Raises:
        RunError: it is no world model, or a folder holds no finished plan of it.
        CheckpointError: there is no checkpoint.
        OutputError: `out` is there, or cannot be written.
    """
    run, out = Path(run), Path(out)
    card = read_card(run)
    if card.kind != "world":
        raise RunError(f"{run} holds a model of kind {card.kind!r}; expected a world model's run")
    if out.exists():
        raise OutputError(f"{out} is there already; choose another folder or remove it")
    tables = [_table(Path(folder), run) for folder in planned]
    home = find_run(run)
    with atomic_folder(out) as folder:
        shutil.copyfile(resolve_checkpoint(run) / MODEL_FILE, folder / MODEL_FILE)
        write_card(folder, card)
        chosen = Path(planned[0]) / SETTINGS if planned else None
        if chosen is not None and chosen.exists():
            shutil.copyfile(chosen, folder / SETTINGS)
        text = TEMPLATES.get_template("world_card.md.j2").render(
            card=card,
            info=read_run(home).info if home else None,
            megabytes=(folder / MODEL_FILE).stat().st_size / 1e6,
            tried=_tried(Path(planned[0]) / WEIGHTS) if planned else (),
            tables=[(table, control_markdown(table).strip(), headline(table)) for table in tables],
            version=nexus_version(),
            date=time.strftime("%Y-%m-%d"),
            note=note,
        )
        write_text(folder / CARD_FILE, text)
    return out


def _tried(record: Path) -> tuple[PolicyRow, ...]:
    """The weights that were tried on validation goals."""
    return ControlTable.read(record).rows if record.exists() else ()


def _table(folder: Path, run: Path) -> ControlTable:
    """Who reached the goals, from a folder of `nexus plan`."""
    try:
        table = ControlTable.read(folder / TABLE)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{folder} holds no finished {TABLE} ({error}); expected a folder that `nexus plan "
            f"{run} --out ...` wrote"
        ) from error
    if not any(row.role in ("picture", "both") for row in table.rows):
        raise RunError(f"{folder}: no policy of a world model acted there; name {run} to plan with")
    return table
