"""Play: what data are made of that a model can learn contact from.

In stretches of a few steps the agent does one of these, drawn by chance:

push    goes behind the block and pushes it to some place, now and then along the edge or into it
graze   runs at the block from wherever it is, off its middle: it slips aside
roam    goes to some place
drift   moves at random, in a direction that changes slowly
"""

from dataclasses import dataclass

import numpy as np

from nexus.envs.physics import Table
from nexus.envs.table_moves import going, pushing, toward

SHARES = {"push": 0.6, "graze": 0.15, "roam": 0.1, "drift": 0.15}
"""How often a stretch is of each kind where there is a block."""
ALONE = {"roam": 0.6, "drift": 0.4}
"""Where there is none."""
INNER, EDGE = 0.2, 0.15
"""The border that most pushes keep from the edge; the share of them that keeps none."""
NOISE = 0.15
"""Deviation of each action, as a share of the largest."""
KEPT = 0.8
"""Of a drift, from one step to the next."""


@dataclass
class TablePlayer:
    """One agent at play: its stretch, and how many steps of it are left."""

    table: Table
    rng: np.random.Generator
    kind: str = ""
    left: int = 0

    def action(self, state: np.ndarray) -> np.ndarray:
        """The next action, within -1 and 1."""
        if self.left <= 0 or self._arrived(state):
            self._begin(state)
        self.left -= 1
        noise = NOISE * self.rng.normal(size=2)
        return np.clip(self._wish(state) + noise, -1, 1)

    def _begin(self, state: np.ndarray) -> None:
        shares = SHARES if self.table.block else ALONE
        self.kind = str(self.rng.choice(list(shares), p=list(shares.values())))
        self.left = int(self.rng.integers(3, 8)) + 3 * (self.kind == "push")
        border = INNER if self.kind == "push" and self.rng.random() > EDGE else 0.0
        self.target = border + (1 - 2 * border) * self.rng.uniform(size=2)
        self.speed = self.rng.uniform(0.5, 1)
        self.drift = self.rng.normal(size=2)
        reach = self.table.agent_radius + self.table.block_radius
        self.offset = reach * self.rng.uniform(-0.8, 0.8)

    def _arrived(self, state: np.ndarray) -> bool:
        place = state[2:] if self.kind == "push" else state[:2]
        return self.kind in ("push", "roam") and bool(np.linalg.norm(place - self.target) < 0.03)

    def _wish(self, state: np.ndarray) -> np.ndarray:
        if self.kind == "push":
            action, pushes = pushing(self.table, state, self.target)
            return self.speed * action if pushes else action
        if self.kind == "roam":
            return self.speed * going(self.table, state, self.target)
        if self.kind == "graze":
            between = state[2:] - state[:2]
            ahead = between / max(float(np.linalg.norm(between)), 1e-9)
            beside = self.offset * np.array([-ahead[1], ahead[0]])
            return self.speed * toward(state[:2], state[2:] + beside + 0.2 * ahead)
        self.drift = KEPT * self.drift + np.sqrt(1 - KEPT**2) * self.rng.normal(size=2)
        return self.drift
