"""Goal-conditioned behaviour cloning: what was done on the way to a picture is done again.

The baseline that a planner with a model has to beat on the same data. It learns no dynamics and
searches for nothing: one look at now and at the goal, one answer.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from nexus.config import Config
from nexus.control.cloning_data import Pairs, Recorded, record, shrunk
from nexus.control.policy import Observation
from nexus.control.threads import one_thread
from nexus.data.episodes.episodes import Episodes
from nexus.envs import Goal
from nexus.errors import DataError
from nexus.planning import ActionSpace

HELD_OUT_PAIRS = 1024


class CloningConfig(Config):
    """What is imitated, by how large a network, and for how long."""

    camera: str | None = None
    """None: the first one."""
    size: int = Field(default=64, ge=16)
    """Side that pictures are brought to, pixels."""
    proprioception: bool = False
    """Whether the policy is also told where its body is, and where it is in the goal."""
    block: int = Field(default=1, ge=1)
    """Control steps that are answered, and done, at one look."""
    ahead: float = Field(default=1.5, ge=1)
    """Goals are pictures so many control steps later in the mean; near ones are the most."""
    places: int = Field(default=16, ge=2)
    """Places that are looked for in a picture."""
    width: int = Field(default=128, ge=8)
    batch: int = Field(default=64, ge=1)
    steps: int = Field(default=1500, ge=1)
    """At most: training ends where the held-out episodes have not gained for some time."""
    check_every: int = Field(default=100, ge=1)
    patience: int = Field(default=8, ge=1)
    """Checks without a gain until it ends."""
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training episodes that decide when to stop."""
    seed: int = Field(default=0, ge=0)


class CloningNetwork(nn.Module):
    """Where things are, now and in the goal, and a perceptron from these places to actions.

    The places are the means of softmaxes over feature maps: a few hundred episodes are enough,
    where a network that sees pixels learns them by heart. Source: arXiv 1504.00702, section 5.
    """

    def __init__(self, config: CloningConfig, own: int, outputs: int) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(3, 32, 8, 4, 2), nn.GELU(), nn.Conv2d(32, config.places, 3, 1, 1)
        )
        self.answer = nn.Sequential(
            nn.Linear(2 * (2 * config.places + own), config.width),
            nn.GELU(),
            nn.Linear(config.width, config.width),
            nn.GELU(),
            nn.Linear(config.width, outputs),
        )

    def forward(
        self,
        now: Tensor,
        goal: Tensor,
        own_now: Float[Tensor, "batch own"],
        own_goal: Float[Tensor, "batch own"],
    ) -> Float[Tensor, "batch outputs"]:
        """The block of actions, in the planner's units (see `ActionSpace`), side by side."""
        places = self._places(torch.cat([now, goal]))
        return self.answer(torch.cat([*places.chunk(2), own_now, own_goal], dim=1))

    def _places(self, pictures: Tensor) -> Float[Tensor, "batch xy"]:
        """x and y of what each map looks for, from -1 to 1."""
        maps = self.maps(pictures.permute(0, 3, 1, 2).float() / 255 - 0.5)
        share = maps.flatten(2).softmax(dim=2).unflatten(2, maps.shape[2:])
        along = torch.linspace(-1, 1, maps.shape[-1])
        x, y = share.sum(dim=2) @ along, share.sum(dim=3) @ along
        return torch.cat([x, y], dim=1)


@dataclass(frozen=True, eq=False)
class Cloned:
    """A trained network, and how well it imitates episodes that it did not learn from.

    `error`: mean squared, in deviations of the actions; 1 is what the mean action has.
    """

    config: CloningConfig
    network: CloningNetwork
    space: ActionSpace
    error: float
    steps: int


def clone(
    episodes: Episodes,
    space: ActionSpace,
    config: CloningConfig | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Cloned:
    """Learn from recorded episodes; the same seed gives the same network on the same machine.

    Args:
        space: bounds of the actions; how they spread is taken from the episodes.

    Raises:
        DataError: the episodes cannot be read, are too few or too short, or have other actions.
    """
    config = config or CloningConfig()
    if episodes.action.width != len(space):
        raise DataError(
            f"{episodes.source}: its actions have {episodes.action.width} dimensions, those of the "
            f"environment {len(space)}; nothing can be imitated"
        )
    training, held_out = _split(episodes, config)
    statistics = episodes.statistics(training).action
    binary = [number for number, one in enumerate(space.binary.tolist()) if one]
    spread = [std or 1.0 for std in statistics.std]
    space = ActionSpace.with_statistics(
        statistics.mean, spread, space.low.numpy(), space.high.numpy(), binary=binary
    )
    camera = config.camera or next(iter(episodes.cameras), "")
    seen = partial(
        record,
        episodes,
        camera=camera,
        size=config.size,
        proprioception=config.proprioception,
    )
    learned, kept_apart = seen(training), seen(held_out)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        outputs = config.block * len(space)
        network = CloningNetwork(config, learned.own.shape[1], outputs)
        error, steps = _fit(network, learned, kept_apart, space, config, progress)
    return Cloned(config, network, space, error, steps)


def _split(episodes: Episodes, config: CloningConfig) -> tuple[list[int], list[int]]:
    """Episodes to learn from, and those of the training split that decide when to stop."""
    chosen = np.random.default_rng(config.seed).permutation(episodes.of_split("train"))
    apart = max(1, round(config.held_out * len(chosen)))
    if apart >= len(chosen):
        raise DataError(
            f"{episodes.source}: {len(chosen)} training episodes are too few to hold some out; "
            "two are needed at least"
        )
    return sorted(chosen[apart:].tolist()), sorted(chosen[:apart].tolist())


def _fit(
    network: CloningNetwork,
    learned: Recorded,
    held_out: Recorded,
    space: ActionSpace,
    config: CloningConfig,
    progress: Callable[[int, int], None] | None,
) -> tuple[float, int]:
    """Train; the network is left as it was when the held-out episodes were imitated best."""
    rng = np.random.default_rng(config.seed)
    drawing = partial(Recorded.pairs, ahead=config.ahead, block=config.block)
    check = drawing(held_out, np.random.default_rng(config.seed), HELD_OUT_PAIRS)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.lr, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    best, best_step, kept = float("inf"), 0, copy.deepcopy(network.state_dict())
    for step in range(1, config.steps + 1):
        loss = _error(network, drawing(learned, rng, config.batch), space)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % config.check_every == 0 or step == config.steps:
            with torch.no_grad():
                error = float(_error(network, check, space))
            if error < best:
                best, best_step, kept = error, step, copy.deepcopy(network.state_dict())
            elif step - best_step >= config.patience * config.check_every:
                break
        if progress is not None:
            progress(step, config.steps)
    network.load_state_dict(kept)
    return best, best_step


def _error(network: CloningNetwork, pairs: Pairs, space: ActionSpace) -> Tensor:
    answer = network(pairs.now, pairs.goal, pairs.own_now, pairs.own_goal)
    return nn.functional.mse_loss(answer, space.units(pairs.block).flatten(1))


class CloningPolicy:
    """Acts as the recorded episodes did on their way to what became a goal."""

    def __init__(self, cloned: Cloned, name: str = "behaviour cloning") -> None:
        self.name = name
        self._cloned = cloned
        self._goals: list[tuple[Tensor, Tensor]] = []
        self._block = torch.empty(0)
        self._step = 0

    def begin(
        self, observations: Sequence[Observation], goals: Sequence[Goal], seeds: Sequence[int]
    ) -> None:
        """See `Policy.begin`."""
        self._goals = [self._seen(goal.pixels, goal.proprioception) for goal in goals]
        self._step = 0

    def act(
        self, observations: Sequence[Observation], states: Sequence[np.ndarray]
    ) -> Float[np.ndarray, "environments action"]:
        """See `Policy.act`."""
        place = self._step % self._cloned.config.block
        self._step += 1
        if place == 0:
            # One by one: a product of matrices has other last bits in a larger batch.
            with one_thread(), torch.inference_mode():
                pairs = zip(observations, self._goals, strict=True)
                self._block = torch.cat([self._answer(seen, goal) for seen, goal in pairs])
        return self._block[:, place].numpy()

    def _answer(
        self, seen: Observation, goal: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "1 block action"]:
        now, own = self._seen(seen["pixels"], seen["proprioception"])
        units = self._cloned.network(now, goal[0], own, goal[1])
        space = self._cloned.space
        return space.actions(units.unflatten(1, (-1, len(space))))

    def _seen(self, pixels: np.ndarray, proprioception: np.ndarray) -> tuple[Tensor, Tensor]:
        config = self._cloned.config
        own = proprioception if config.proprioception else np.empty(0)
        picture = torch.from_numpy(shrunk(np.asarray(pixels)[None], config.size))
        return picture, torch.from_numpy(np.asarray(own, np.float32))[None]
