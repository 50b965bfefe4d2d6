"""Where probes and their results are kept: nothing that is there is replaced unsaid."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nexus.atomic import check_writable
from nexus.checkpoints.probe_folder import CARD_FILE, WEIGHTS_FILE, upgraded
from nexus.checkpoints.weights import tensor_digest
from nexus.errors import DataError
from nexus.jobs.console import say_notes
from nexus.probes.classifier import VideoClassifier
from nexus.runs.folder import changed_keys, expanded
from nexus.runs.results import write_probe_rows
from nexus.runs.schema import ProbeRow

ANOTHER = "name another folder (--save, save=...)"
SHOWN = 4
"""Settings that a message lists."""


def check_free(folder: str | Path, wanted: Mapping[str, Any], force: bool) -> None:
    """Check that no other probe would be replaced.

    Args:
        wanted: what the new probe's card is to say, as far as that is known.
        force: check nothing.

    Raises:
        DataError: the folder holds a probe whose card says otherwise, or cannot be read.
    """
    folder = Path(expanded(folder))
    file = folder / CARD_FILE
    if force or not (file.exists() or (folder / WEIGHTS_FILE).exists()):
        return
    try:
        card = _among(upgraded(json.loads(file.read_text(encoding="utf-8"))), wanted)
        different = [
            f"{key} ({_short(old)} there, {_short(new)} now)"
            for key, (old, new) in changed_keys(card, json.loads(json.dumps(wanted))).items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        different = [f"its {CARD_FILE} cannot be read ({error})"]
    if different:
        more = f" and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
        raise DataError(
            f"{folder} holds another probe: {', '.join(different[:SHOWN])}{more}. Keep this one "
            "elsewhere (--save FOLDER, save=...), or replace the other (--force, force=True)"
        )


def keep_probe(classifier: VideoClassifier, folder: str | Path, *, force: bool = False) -> Path:
    """Keep a probe as a folder; `force` replaces another one that is there.

    Raises:
        OutputError: the folder cannot be written.
        DataError: it holds another probe.
    """
    check_writable(expanded(folder), remedy=ANOTHER)
    wanted = {**classifier.card.to_mapping(), "digest": tensor_digest(classifier.head.state_dict())}
    del wanted["nexus"]  # the version is that of whoever writes
    check_free(folder, wanted, force)
    return classifier.save(Path(expanded(folder)))


def keep_rows(table: str | Path, rows: Sequence[ProbeRow], *, notes: Sequence[str] = ()) -> None:
    """Add results to a probe table and say which ones take the place of others.

    Raises:
        DataError: the file exists but is not a probe table.
    """
    say_notes(
        f"the row {', '.join(old.name)} of {table} takes the place of one with {old.metric} "
        f"{old.mean}"
        for old in write_probe_rows(table, rows, notes=notes)
    )


def _among(card: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a card that `wanted` has as well; None where the card lacks one."""
    return {
        key: _among(card.get(key) or {}, value) if isinstance(value, Mapping) else card.get(key)
        for key, value in wanted.items()
    }


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:12]} ..."
