"""What probes of one vector a clip share: nothing is drawn at random, settings are chosen once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import ClassVar, TypeVar

from nexus.config import Config
from nexus.features.table import FeatureTable
from nexus.probes.results import ProbeResult
from nexus.probes.splits import SPLIT_SEED

Model = TypeVar("Model")
Setting = TypeVar("Setting")


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
        if features.features.ndim != 2:
            raise ValueError("this probe takes one vector a clip; pool the tokens first")
        return [self.learn(features, column)]

    @abstractmethod
    def learn(self, features: FeatureTable, column: str) -> ProbeResult:
        """Learn a column; raises DataError as `measure`."""
        ...


def choose(
    settings: Iterable[Setting],
    fit: Callable[[Setting], Model],
    validate: Callable[[Model], float],
) -> tuple[Setting, float, Model]:
    """The setting with the best validation score (of equals the first), its score, its model."""
    models = ((setting, fit(setting)) for setting in settings)
    tried = ((setting, validate(model), model) for setting, model in models)
    return max(tried, key=itemgetter(1))
