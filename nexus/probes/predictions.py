"""The answers of probes, with pictures of what they got wrong, ready to be kept."""

from nexus.data.loading.clip_source import ClipSource
from nexus.features.thumbnails import shown_clips
from nexus.probes.results import Results
from nexus.runs.predictions import ProbePredictions

SHOWN_MISTAKES = 8
"""Of each probe."""


def probe_predictions(arm: str, results: Results, source: ClipSource) -> list[ProbePredictions]:
    """What each probe of classes said of the test samples; of several probe seeds, the first's.

    Args:
        source: the clips that they were asked about.
    """
    answers = {
        name: found[0].answers for name, found in results.items() if found[0].answers is not None
    }
    wrong = {name: each.mistakes(SHOWN_MISTAKES) for name, each in answers.items()}
    pictured = shown_clips(
        source, {answers[name].samples[place] for name, places in wrong.items() for place in places}
    )
    tables = []
    for (task, probe), each in answers.items():
        keys = [each.samples[place] for place in wrong[task, probe]]
        mistakes = tuple(pictured[key] for key in keys if key in pictured)
        table = ProbePredictions(arm=arm, task=task, probe=probe, answers=each, mistakes=mistakes)
        tables.append(table)
    return tables
