"""The jobs that a user comes with, each as one call: what the command line and `nexus.*` offer.

pretrain   scan -> train -> pictures of the features -> probes -> page
demo       the same on a toy world that it makes
adapt      published weights, continued on one's own videos in a few ways; the best by probes
probe, embed, report   the later steps again, or on other data
train_probe, load_probe, keep_probe, label   attentive probes to keep, and the labels they give
convert    weights from one layout to another
"""

from pathlib import Path

from nexus.jobs.adaptation import adapt
from nexus.jobs.conversion import Converted, convert
from nexus.jobs.embedding import embed
from nexus.jobs.labelling import label, load_probe
from nexus.jobs.pretraining import RunResult, demo, pretrain
from nexus.jobs.probe_place import keep_probe
from nexus.jobs.probe_training import TrainedProbe, train_probe
from nexus.jobs.probing import probe
from nexus.report.page import write_report

__all__ = [
    "Converted",
    "RunResult",
    "TrainedProbe",
    "adapt",
    "convert",
    "demo",
    "embed",
    "keep_probe",
    "label",
    "load_probe",
    "pretrain",
    "probe",
    "report",
    "train_probe",
]


def report(run: str | Path, out: str | Path | None = None) -> Path:
    """Write a run's page again from the files in its folder.

    Raises:
        ReportError: `run` is not a run's folder.
    """
    return write_report(run, out)
