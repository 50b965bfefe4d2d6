"""What probes of one vector a clip share: nothing is drawn at random, settings are chosen once.

Those of classes end as a head (`nexus.models.heads`), which can be kept and label videos.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import ClassVar, TypeVar

from nexus.config import Config
from nexus.features.table import FeatureTable
from nexus.models.heads import PooledHead
from nexus.probes.columns import ClassTask, class_task
from nexus.probes.results import FittedProbe, ProbeResult
from nexus.probes.splits import SPLIT_SEED

Model = TypeVar("Model")
Setting = TypeVar("Setting")
MakeHead = Callable[[Mapping[str, int]], PooledHead]
"""Called with `dim`, `num_layers` and `num_classes`."""


class PooledProbe(Config, ABC):
    """A probe of frozen features `(N, D)`."""

    reads: ClassVar = "pooled"
    split_seed: int = SPLIT_SEED
    """Names the 60/20/20 division of data that brings no splits."""

    def measure(
        self,
        features: FeatureTable,
        column: str,
        *,
        seeds: Sequence[int] = (0,),
        device: str = "cpu",
    ) -> list[ProbeResult]:
        """One result, whatever the seeds.

        Raises:
            DataError: the column is missing or cannot be learned from; see `nexus.probes.columns`.
            ValueError: the table holds tokens.
        """
        return [self.learn(pooled(features), column)]

    @abstractmethod
    def learn(self, features: FeatureTable, column: str) -> ProbeResult:
        """Learn a column; raises DataError as `measure`."""
        ...


class PooledClassProbe(PooledProbe):
    """One that learns classes, and keeps what it has learned."""

    def fit(self, features: FeatureTable, column: str) -> FittedProbe:
        """Learn a column of classes and score it.

        Args:
            features: of `mean` pooling.

        Raises:
            DataError: the column is missing or cannot be learned from; see `class_task`.
            ValueError: the table holds tokens.
        """
        task = class_task(pooled(features).rows, column, split_seed=self.split_seed)
        result, head = self.solve(features, task)
        layers = len(features.layers)
        sizes = {
            "dim": features.features.shape[1] // layers,
            "num_layers": layers,
            "num_classes": len(task.classes),
        }
        return FittedProbe(head(sizes), result)

    def learn(self, features: FeatureTable, column: str) -> ProbeResult:
        """Learn a column of classes."""
        task = class_task(features.rows, column, split_seed=self.split_seed)
        return self.solve(features, task)[0]

    @abstractmethod
    def solve(self, features: FeatureTable, task: ClassTask) -> tuple[ProbeResult, MakeHead]:
        """The test result of what the validation split chose, and what makes a head of it."""
        ...


def pooled(features: FeatureTable) -> FeatureTable:
    """The same table.

    Raises:
        ValueError: it holds tokens.
    """
    if features.features.ndim != 2:
        raise ValueError("this probe takes one vector a clip; pool the tokens first")
    return features


def choose(
    settings: Iterable[Setting],
    fit: Callable[[Setting], Model],
    validate: Callable[[Model], float],
) -> tuple[Setting, float, Model]:
    """The setting with the best validation score (of equals the first), its score, its model."""
    models = ((setting, fit(setting)) for setting in settings)
    tried = ((setting, validate(model), model) for setting, model in models)
    return max(tried, key=itemgetter(1))
