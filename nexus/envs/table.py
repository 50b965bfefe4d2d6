"""`reach` and `push` as Gymnasium environments: a camera above a table, an agent that moves.

reach   bring the agent to a place
push    bring the block to a place; where the agent ends up does not matter
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from jaxtyping import Float

from nexus.envs.physics import AGENT_RADIUS, Table, dividing_wall
from nexus.envs.picture import Look, draw
from nexus.envs.play import Play
from nexus.envs.protocol import Goal
from nexus.envs.table_expert import TableExpert
from nexus.envs.table_play import TablePlayer
from nexus.errors import SimulatorError

TOLERANCE = 0.05
"""A goal is reached within this distance; the table's side is 1."""
BORDER = 0.15
"""A block's goal is at least so far from the edge: a block at the edge cannot be pushed back."""
FAR = (0.15, 0.5)
"""A goal is between these two distances from the start."""
_ATTEMPTS = 10_000
_GOALS = (1,)  # the stream of a seed that goals are drawn from, apart from starts

SHIFTS: dict[str, dict[str, Any]] = {
    "colours": {"look": Look(agent=(30, 140, 70), block=(150, 60, 160))},
    "agent size": {"agent_radius": 1.35 * AGENT_RADIUS},
    "background": {"look": Look(stripes=(198, 214, 202))},
}
"""Changes that no training episode has, by name: settings of `TableEnv`."""


@dataclass(frozen=True)
class Task:
    """What counts: `moved` is the part of the state that has to be brought to its goal."""

    name: Literal["reach", "push"]
    moved: slice


TASKS = {"reach": Task("reach", slice(0, 2)), "push": Task("push", slice(2, 4))}


class TableEnv(gymnasium.Env):
    """The table, seen from above.

    Args:
        task: "reach" or "push".
        walls: a wall with a door divides the table.
        size: pixels of a side of the picture.
        look: colours.
        agent_radius: in sides of the table.
        max_steps: steps until an episode is cut.

    Raises:
        SimulatorError: there is no such task.
    """

    action_names = ("dx", "dy")
    proprioception_names = ("agent_x", "agent_y")
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        task: Literal["reach", "push"] = "push",
        *,
        walls: bool = False,
        size: int = 64,
        look: Look | None = None,
        agent_radius: float = AGENT_RADIUS,
        max_steps: int = 40,
        render_mode: str | None = "rgb_array",
    ) -> None:
        if task not in TASKS:
            raise SimulatorError(f"unknown task {task!r}; there are: {', '.join(TASKS)}")
        self.task = TASKS[task]
        self.table = Table(
            block=task == "push",
            agent_radius=agent_radius,
            walls=dividing_wall(0.5, (0.32, 0.68)) if walls else (),
        )
        self.look = look or Look()
        self.size = size
        self.max_steps = max_steps
        self.render_mode = render_mode
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = spaces.Dict(
            {
                "pixels": spaces.Box(0, 255, (size, size, 3), np.uint8),
                "proprioception": spaces.Box(0.0, 1.0, (2,), np.float32),
            }
        )
        self._state = np.zeros(self.table.state_size)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode; with a seed it is always the same one."""
        super().reset(seed=seed)
        self._state = self._drawn(self.np_random)
        self._steps = 0
        return self._observed(), self._info()

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Move; there is no reward, and an episode ends by its length alone."""
        action = np.asarray(action, np.float64)
        if action.shape != (2,) or not np.isfinite(action).all():
            raise SimulatorError(f"an action is two finite numbers, got {action}")
        self._state = self.table.step(self._state, action)
        self._steps += 1
        return self._observed(), 0.0, False, self._steps >= self.max_steps, self._info()

    def render(self) -> np.ndarray:
        """uint8 (size, size, 3): what the camera sees."""
        return draw(self.table, self.look, self._state[None], self.size)[0]

    @property
    def state_names(self) -> tuple[str, ...]:
        """What each number of the state is."""
        return ("agent_x", "agent_y", "block_x", "block_y")[: self.table.state_size]

    def policies(self) -> Mapping[str, Callable[[], Any]]:
        """Ways to act that know the table, see `OffersPolicies`."""
        expert = partial(TableExpert, self.table, self.task.moved)
        return {"play": partial(Play, partial(TablePlayer, self.table)), "expert": expert}

    def get_state(self) -> np.ndarray:
        """float64 (2,) or (4,): all there is to know."""
        return self._state.copy()

    def set_state(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Put agent and block where they were; what is observed there.

        Raises:
            SimulatorError: it is no state of this table.
        """
        state = np.array(state, np.float64)
        if state.shape != (self.table.state_size,) or not np.isfinite(state).all():
            raise SimulatorError(
                f"a state of {self.task.name} is {self.table.state_size} finite numbers, "
                f"got {state}"
            )
        self._state = state
        return self._observed()

    def goal(self, seed: int) -> Goal:
        """A goal for the episode of this seed, drawn apart from its start.

        Raises:
            SimulatorError: none fits the table.
        """
        start = self._drawn(_stream(seed))
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=_GOALS))
        for _ in range(_ATTEMPTS):
            state = self._drawn(rng)
            way = float(np.linalg.norm((state - start)[self.task.moved]))
            inside = np.all(np.abs(state[self.task.moved] - 0.5) <= 0.5 - BORDER)
            if FAR[0] <= way <= FAR[1] and (inside or self.task.name == "reach"):
                pixels = draw(self.table, self.look, state[None], self.size)[0]
                return Goal(state, pixels, state[:2].astype(np.float32))
        raise SimulatorError(
            f"seed {seed}: none of {_ATTEMPTS:,} goals that were drawn is free and "
            f"{FAR[0]:g} to {FAR[1]:g} from the start; the walls leave no room for it"
        )

    def solved(self, state: np.ndarray, goal: Goal) -> bool:
        """Whether what has to be moved is within `TOLERANCE` of its place."""
        return self.distance(state, goal) < TOLERANCE

    def distance(self, state: np.ndarray, goal: Goal) -> float:
        """How far what has to be moved is from its place; the table's side is 1."""
        return float(np.linalg.norm((np.asarray(state) - goal.state)[self.task.moved]))

    def rollout(
        self,
        states: Float[np.ndarray, "batch state"],
        actions: Float[np.ndarray, "batch candidates horizon action"],
    ) -> Float[np.ndarray, "batch candidates horizon state"]:
        """The states after each action of each candidate; the environment itself stays put."""
        state, after = states[:, None], []
        for step in range(actions.shape[2]):
            state = self.table.step(state, actions[:, :, step])
            after.append(state)
        return np.stack(after, axis=2)

    def distances(
        self, states: Float[np.ndarray, "*batch state"], goal: Goal
    ) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
        """How far what has to be moved, and how far the agent, is from its place in the goal."""
        away = states - goal.state
        moved, agent = away[..., self.task.moved], away[..., :2]
        return np.linalg.norm(moved, axis=-1), np.linalg.norm(agent, axis=-1)

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        """A random state in which nothing touches anything."""
        for _ in range(_ATTEMPTS):
            state = rng.uniform(0, 1, self.table.state_size)
            if self.table.block:
                state[2:] = BORDER + (1 - 2 * BORDER) * state[2:]
            if self.table.is_free(state):
                return state
        raise SimulatorError(
            f"none of {_ATTEMPTS:,} states that were drawn is free; agent, block and walls leave "
            "no room on the table"
        )

    def _observed(self) -> dict[str, np.ndarray]:
        return {"pixels": self.render(), "proprioception": self._state[:2].astype(np.float32)}

    def _info(self) -> dict[str, Any]:
        return {"state": self.get_state()}


reach, push = partial(TableEnv, "reach"), partial(TableEnv, "push")
reach_walls, push_walls = partial(reach, walls=True), partial(push, walls=True)


def _stream(seed: int) -> np.random.Generator:
    """The generator that `reset(seed=seed)` makes."""
    return seeding.np_random(seed)[0]


def shifted(env: TableEnv, shift: str) -> TableEnv:
    """The same task and table under one of `SHIFTS`.

    Raises:
        SimulatorError: there is no such shift.
    """
    if shift not in SHIFTS:
        raise SimulatorError(f"unknown shift {shift!r}; there are: {', '.join(SHIFTS)}")
    settings = {"look": env.look, "agent_radius": env.table.agent_radius, **SHIFTS[shift]}
    return TableEnv(
        env.task.name,
        walls=bool(env.table.walls),
        size=env.size,
        max_steps=env.max_steps,
        render_mode=env.render_mode,
        **settings,
    )
