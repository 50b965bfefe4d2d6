"""What a folder of collected episodes was made with: `meta/nexus_collection.json` in it.

Every collection has its own seeds to reset the environment with, apart from all others by
construction, and far above those that people type: an evaluation whose seeds lie below
`FIRST_SEED` never meets a start or a goal of a training episode.

    seed of the collection    0                    1                    2 ...
    its reset seeds           10^9, 10^9 + 1 ...   10^9 + 10^6 ...      10^9 + 2 * 10^6 ...
"""

import json
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from nexus.atomic import write_json
from nexus.config import Config
from nexus.data.episodes.video_files import Codec
from nexus.errors import ConfigError, DataError

COLLECTION = "meta/nexus_collection.json"
FIRST_SEED, MOST_EPISODES, MOST_SEEDS = 10**9, 10**6, 1000
"""Reset seeds stay below 2^31, which is as far as some environments count."""


class Collection(Config):
    """How episodes are made; episode i follows from this and i alone.

    Pictures of simulators are small and plain. Kept to the bit they take 0.5 kB each at 64 x 64,
    twice what H.264 makes of them, whose halved colours are 10 levels of 255 off where anything is.

    `environment`: a name, or a mapping with its settings; `policy`: see `policy_of`; `steps`: of an
    episode, at most; `seed`: of the collection; `episodes`: how many there are to be.
    """

    environment: str | dict[str, Any]
    policy: str
    steps: int = Field(default=20, ge=1)
    seed: int = Field(default=0, ge=0, lt=MOST_SEEDS)
    codec: Codec = "lossless"
    episodes: int = Field(ge=1, le=MOST_EPISODES)

    @property
    def reset_seeds(self) -> range:
        """Episode i begins with `reset(seed=reset_seeds[i])`, and has the goal of that seed."""
        first = FIRST_SEED + MOST_EPISODES * self.seed
        return range(first, first + self.episodes)

    @classmethod
    def of(cls, folder: str | Path) -> Self | None:
        """Of a folder; None: it was not collected by nexus.

        Raises:
            DataError: the file is damaged.
        """
        path = Path(folder) / COLLECTION
        if not path.exists():
            return None
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            del told["reset_seeds"]  # for people: it follows from the others
            return cls.from_mapping(told)
        except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
            raise DataError(f"{path} cannot be read ({error})") from error

    def write(self, folder: Path) -> None:
        """Write it, before the episodes that it promises are there."""
        seeds = self.reset_seeds
        told = {**self.to_mapping(), "reset_seeds": [seeds.start, seeds.stop]}
        write_json(folder / COLLECTION, told)

    def going_on(self, kept: Self) -> Self:
        """This collection, in a folder that was begun with another one.

        Raises:
            DataError: they differ in more than the number of episodes.
        """
        mine, other = self.to_mapping(), kept.to_mapping()
        odd = [key for key in mine if key != "episodes" and mine[key] != other[key]]
        if odd:
            raise DataError(
                f"the folder was begun with another {odd[0]}: {other[odd[0]]!r}, now "
                f"{mine[odd[0]]!r}; go on with the same, or name another folder"
            )
        return self.with_changes(episodes=max(self.episodes, kept.episodes))


def training_seeds(folder: str | Path) -> range:
    """The seeds that the episodes of a folder were, or will be, reset with.

    An evaluation whose seeds are not among them has neither a start nor a goal of theirs:
    `set(seeds).isdisjoint(training_seeds(folder))`.

    Raises:
        DataError: the folder does not say it: nexus did not collect it.
    """
    collection = Collection.of(folder)
    if collection is None:
        raise DataError(
            f"{folder} does not say which seeds its episodes were made with ({COLLECTION}): "
            "`nexus world collect` writes it"
        )
    return collection.reset_seeds
