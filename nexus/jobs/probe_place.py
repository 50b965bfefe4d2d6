"""Where probes and their results are kept: nothing that is there is replaced unsaid."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nexus.checkpoints.probe_folder import CARD_FILE, WEIGHTS_FILE, upgraded
from nexus.checkpoints.weights import tensor_digest
from nexus.errors import DataError
from nexus.jobs.console import say_notes
from nexus.probes.classifier import VideoClassifier
from nexus.runs.folder import changed_keys, expanded
from nexus.runs.results import write_probe_rows
from nexus.runs.schema import ProbeRow

SHOWN = 4
"""Settings that a message lists."""


def check_writable(folder: str | Path) -> None:
    """Check, before any work is done, that a probe can be written to a folder; makes nothing.

    Raises:
        DataError: there is a file in its place, or it may not be written.
    """
    folder = Path(expanded(folder)).absolute()
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            raise DataError(
                f"{there} is a file; a probe is kept in a folder of its own, for instance "
                f"{there.with_suffix('')}{'' if there.suffix else '-probe'}"
            )
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise DataError(
            f"the probe cannot be kept in {folder}: {error}; give another folder (--save, save=...)"
        ) from error


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
        DataError: the folder cannot be written, or holds another probe.
    """
    check_writable(folder)
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
