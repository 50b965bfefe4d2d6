"""What an agent on a table does next, who wants to be at a place, or to have the block at one."""

import numpy as np
from jaxtyping import Float

from nexus.envs.physics import STEP, Table
from nexus.envs.ways import BESIDE, next_place

STRAIGHT = 0.02
"""The agent is behind the block if it is no farther than this beside the line of the push."""
TURNS = np.pi / 12 * np.array([0, *(sign * turn for turn in range(1, 12) for sign in (1, -1)), 12])
"""Directions to push in, from the best one on: where there is no room behind the block."""

Action = Float[np.ndarray, " 2"]


def toward(place: np.ndarray, target: np.ndarray) -> Action:
    """The action that goes straight to a target, or as far as a step reaches."""
    move = (target - place) / STEP
    return move / max(1.0, float(np.abs(move).max()))


def going(table: Table, state: np.ndarray, target: np.ndarray) -> Action:
    """The next action on the way to a target, round walls and the block."""
    agent = state[:2]
    block = (state[2:], table.block_radius) if table.block else None
    return toward(agent, next_place(table, agent, target, table.agent_radius, block))


def pushing(table: Table, state: np.ndarray, target: np.ndarray) -> tuple[Action, bool]:
    """The next action to bring the block to a target, and whether it pushes.

    Where the agent is behind the block it pushes; elsewhere it goes there.
    """
    agent, block = state[:2], state[2:]
    goal = next_place(table, block, target, table.block_radius + BESIDE)
    direction, straight = _direction(table, block, goal)
    reach = table.agent_radius + table.block_radius
    between = block - agent
    ahead = float(between @ direction)
    beside = float(np.linalg.norm(between - ahead * direction))
    if ahead > 0 and beside < STRAIGHT and ahead < reach + 3 * BESIDE:
        far = float(np.linalg.norm(goal - block)) if straight else STEP / 2
        return toward(agent, block + (far - reach) * direction), True
    return going(table, state, block - (reach + BESIDE) * direction), False


def _direction(table: Table, block: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, bool]:
    """The way to push: to the goal, or as near to that as there is room behind the block."""
    away = goal - block
    first = np.arctan2(away[1], away[0])
    turns = first + TURNS
    directions = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    behind = block - (table.agent_radius + table.block_radius + BESIDE) * directions
    room = table.is_free(np.concatenate([behind, np.tile(block, (len(behind), 1))], axis=1))
    best = int(np.argmax(room))
    return directions[best], best == 0
