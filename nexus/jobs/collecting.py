"""`collect_episodes`: episodes of a policy in an environment, to train a world model on."""

from collections.abc import Mapping
from pathlib import Path

from nexus.control.collecting import Collected, collect
from nexus.control.collection import Collection
from nexus.data.episodes.video_files import Codec
from nexus.envs.protocol import GoalEnvironment
from nexus.envs.registry import make_environment
from nexus.jobs.console import progress
from nexus.registry import Choice, split_choice


def collect_episodes(
    environment: Choice | GoalEnvironment,
    out: str | Path,
    *,
    episodes: int,
    steps: int = 20,
    policy: str = "play",
    seed: int = 0,
    codec: Codec = "lossless",
) -> Collected:
    """Let a policy act in an environment, and write what it sees and does as LeRobot v3.0.

    The folder says what it was made with (`meta/nexus_collection.json`). Called again it goes on
    after the last episode that is there; with the same settings the same episodes come about,
    however often it was stopped.

    Args:
        environment: a name (`reach`, `push`, `reach-walls`, `push-walls`, `pusht`, `gym:ID`,
            `package.module:Class`), a mapping of `kind` and its settings, or an environment; of
            one that is given its class alone is kept, so see that it is the same when you go on.
        out: folder; is made if it is not there.
        episodes: how many there are to be in the end.
        steps: of an episode, at most.
        policy: `random`, or one that the environment has: `play`, `expert`.
        seed: of the collection, below 1000; two collections have no start in common.
        codec: of the videos: `lossless`, `h264` or `av1`.

    Raises:
        ConfigError: there is no such environment, or a setting is not acceptable.
        DataError: the folder was begun otherwise, or is damaged.
        SimulatorError: the environment has no such policy.
        OutputError: something else lies in the folder, or it cannot be written.
    """
    if isinstance(environment, str | Mapping):
        env = make_environment(environment)
        name, settings = split_choice(environment)
        told = {"kind": name, **settings} if settings else name
    else:
        env = environment
        told = f"{type(env).__module__}:{type(env).__qualname__}"
    collection = Collection.from_mapping(
        {
            "environment": told,
            "policy": policy,
            "steps": steps,
            "seed": seed,
            "codec": codec,
            "episodes": episodes,
        }
    )
    with progress("collecting episodes") as report:
        return collect(env, collection, out, progress=report)
