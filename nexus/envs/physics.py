"""The world of `reach` and `push`: discs on a table of side 1 that may have walls.

The agent moves by its action. A block that it meets is shoved out of its way, along the line that
joins their centres; a block that cannot give way (a wall, the table's edge) stops the agent. There
is no inertia: nothing moves but by the agent. Pure arithmetic on arrays with any leading axes, so
that a planner can try many actions in the true world at once.

    state of reach   agent x, y                action   dx, dy in [-1, 1], times `STEP`
    state of push    agent x, y, block x, y
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

STEP = 0.16
"""The longest way of the agent in one step, along each axis; the table's side is 1."""
AGENT_RADIUS = 0.06
BLOCK_RADIUS = 0.09
SUBSTEPS = 8
"""A step is made in so many parts, each shorter than a radius: nothing passes through anything."""
SETTLING = 2
"""Rounds in which discs, walls and edges push one another apart."""

Walls = tuple[tuple[float, float, float, float], ...]
"""Rectangles: left, top, right, bottom."""


@dataclass(frozen=True)
class Table:
    """What stands on the table and how large it is; `block`: there is one."""

    block: bool
    agent_radius: float = AGENT_RADIUS
    block_radius: float = BLOCK_RADIUS
    walls: Walls = ()

    @property
    def state_size(self) -> int:
        """Numbers of a state."""
        return 4 if self.block else 2

    def step(
        self, state: Float[np.ndarray, "*batch state"], action: Float[np.ndarray, "*batch 2"]
    ) -> Float[np.ndarray, "*batch state"]:
        """The state after an action; parts of the action beyond -1 and 1 are cut.

        Leading axes of the two are broadcast.
        """
        move = STEP * np.clip(np.asarray(action, np.float64), -1, 1) / SUBSTEPS
        lead = np.broadcast_shapes(state.shape[:-1], move.shape[:-1])
        state = np.broadcast_to(np.asarray(state, np.float64), (*lead, self.state_size))
        agent = state[..., :2]
        block = state[..., 2:] if self.block else None
        for _ in range(SUBSTEPS):
            agent, block = self._settle(agent + move, block)
        return agent if block is None else np.concatenate([agent, block], axis=-1)

    def is_free(self, state: Float[np.ndarray, "*batch state"]) -> np.ndarray:
        """bool (*batch): nothing stands in a wall, over the edge, or in anything else."""
        places = [(state[..., :2], self.agent_radius)]
        if self.block:
            places.append((state[..., 2:], self.block_radius))
        free = np.ones(state.shape[:-1], dtype=bool)
        for place, radius in places:
            free &= np.all(np.abs(self._kept_out(place, radius) - place) < 1e-12, axis=-1)
        if self.block:
            apart = np.linalg.norm(state[..., :2] - state[..., 2:], axis=-1)
            free &= apart >= self.agent_radius + self.block_radius - 1e-9
        return free

    def _settle(
        self, agent: np.ndarray, block: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        agent = self._kept_out(agent, self.agent_radius)
        if block is None:
            return agent, None
        reach = self.agent_radius + self.block_radius
        for _ in range(SETTLING):
            block = self._kept_out(_apart(block, agent, reach), self.block_radius)
            agent = self._kept_out(_apart(agent, block, reach), self.agent_radius)
        return agent, block

    def _kept_out(self, place: np.ndarray, radius: float) -> np.ndarray:
        """A disc's centre, moved the shortest way out of walls and onto the table."""
        place = np.minimum(np.maximum(place, radius), 1 - radius)
        for left, top, right, bottom in self.walls:
            nearest = np.clip(place, (left, top), (right, bottom))
            inside = np.all(nearest == place, axis=-1, keepdims=True)
            out = _apart(place, nearest, radius)
            if not inside.any():
                place = out
                continue
            ways = np.stack(
                [
                    place[..., 0] - (left - radius),
                    place[..., 1] - (top - radius),
                    right + radius - place[..., 0],
                    bottom + radius - place[..., 1],
                ],
                axis=-1,
            )
            way = np.argmin(ways, axis=-1)
            along = np.array([[-1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0]])[way]
            pushed = place + along * np.take_along_axis(ways, way[..., None], axis=-1)
            place = np.where(inside, pushed, out)
        return np.minimum(np.maximum(place, radius), 1 - radius)


def _apart(moved: np.ndarray, other: np.ndarray, distance: float) -> np.ndarray:
    """`moved`, brought to this distance of `other` if it is nearer."""
    between = moved - other
    far = np.sqrt(np.add.reduce(between * between, axis=-1, keepdims=True))
    if not (far < distance).any():
        return moved
    direction = np.where(far > 1e-9, between / np.maximum(far, 1e-9), (1.0, 0.0))
    return np.where(far < distance, other + distance * direction, moved)


def dividing_wall(at: float, door: tuple[float, float], thickness: float = 0.04) -> Walls:
    """A wall from edge to edge at x = `at`, with a door between two heights."""
    left, right = at - thickness / 2, at + thickness / 2
    return ((left, 0.0, right, door[0]), (left, door[1], right, 1.0))
