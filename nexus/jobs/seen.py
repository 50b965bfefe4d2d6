"""Which files that probes are tested on the encoder was trained on, without their labels."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nexus.data.catalog.catalog import Catalog, Problem, scan
from nexus.data.catalog.index import user_index_dir
from nexus.errors import DataError, NexusError
from nexus.jobs.opening import OpenedEncoder
from nexus.probes.columns import tested_paths
from nexus.runs.folder import RunDirectory, find_run
from nexus.runs.schema import ProbeRow
from nexus.training.feed import describe_data, training_part
from nexus.training.recipe import Recipe, read_run_recipe


def trained_files(run: str | Path, at_hand: Catalog | None = None) -> set[Path] | None:
    """The files that a run was trained on, those of the runs that it started from included.

    Args:
        at_hand: a catalog that may be what it was trained on.

    Returns:
        None where it cannot be told: the videos have changed, or are no longer there.
    """
    recipe, info = read_run_recipe(run), RunDirectory(run).read_info()
    files: set[Path] | None = set()
    if info.steps_done != 0:
        files = _of_these(at_hand, recipe, info.data.fingerprint)
        sources = info.data.sources
        if files is None and sources and all(Path(one).exists() for one in sources):
            wanted = sources[0] if len(sources) == 1 else sources
            try:
                again = scan(
                    wanted,
                    index_dir=user_index_dir(),
                    min_frames=recipe.frames_needed,
                    reader=recipe.data.reader,
                )
                files = _of_these(again, recipe, info.data.fingerprint)
            except NexusError:
                return None
    before = find_run(info.init.place) if info.init and info.init.place else None
    if files is None or before is None:
        return files
    more = trained_files(before)
    return None if more is None else files | more


def _of_these(catalog: Catalog | None, recipe: Recipe, fingerprint: str | None) -> set[Path] | None:
    """The files of a catalog that a recipe trains on, if the run's records mean these."""
    try:
        part = None if catalog is None else training_part(catalog, recipe.data.split)
    except NexusError:
        return None
    if part is None or not part.records:
        return None
    if describe_data(part, recipe.stages[-1].clip).fingerprint != fingerprint:
        return None
    return {record.path.resolve() for record in part.records}


def with_seen(
    opened: OpenedEncoder,
    catalog: Catalog,
    rows: Sequence[ProbeRow],
    problems: Iterable[Problem] = (),
) -> tuple[list[ProbeRow], list[str]]:
    """Rows with how many of their test samples the encoder was trained on, and what to say of it.

    Args:
        catalog: what the probes learned from, but for the files of `problems`.
    """
    run = find_run(opened.source)
    own = {row.task: row for row in rows if row.role == "trained"}
    if run is None or not own:
        return list(rows), []
    trained = trained_files(run, catalog)
    if trained is None:
        return list(rows), [
            f"{opened.source}: which videos it was trained on cannot be told any more, nor whether "
            "test files are among them"
        ]
    lost = {problem.path for problem in problems if problem.fatal}
    left = replace(catalog, records=tuple(r for r in catalog.records if str(r.path) not in lost))
    seen: dict[str, tuple[int, int]] = {}
    for task in own:
        with suppress(DataError):  # a probe of the user's own may learn what ours do not
            paths = tested_paths(left, task)
            seen[task] = sum(Path(path).resolve() in trained for path in paths), len(paths)
    marked = [
        row.with_changes(n_test_seen=seen[row.task][0])
        if row.role == "trained" and row.task in seen
        else row
        for row in rows
    ]
    return marked, _notes(opened.source, seen)


def _notes(source: str, seen: Mapping[str, tuple[int, int]]) -> list[str]:
    """A note for the columns of which as many test samples were seen."""
    tasks: dict[tuple[int, int], list[str]] = {}
    for task, counts in seen.items():
        tasks.setdefault(counts, []).append(task)
    return [
        f"{', '.join(names)}: {count} of {total} test samples are of videos that {source} was "
        "trained on (without labels); of new videos expect less, and to measure that give the data "
        "a test split, which training leaves out"
        for (count, total), names in tasks.items()
        if count
    ]
