"""Play for Push-T: goes behind the block, somewhere, and pushes through it."""

from dataclasses import dataclass, field

import numpy as np

OBJECT_DIRECTED = 0.75
"""The share of stretches that are about the block; in the others the agent roams."""
AROUND = (90.0, 140.0)
"""How far from the block a push begins, pixels of 512; the T reaches 90 from its middle."""
NOISE = 12.0
"""Deviation of each action, pixels."""


@dataclass
class PushTPlayer:
    """One agent at play: places that it is drawn to one after the other, and for how long."""

    rng: np.random.Generator
    ways: list[np.ndarray] = field(default_factory=list)
    left: int = 0

    def action(self, state: np.ndarray) -> np.ndarray:
        """The next action, on the table."""
        if not self.ways:
            self.ways = self._stretch(state)
            self.left = 0
        if self.left == 0:
            self.left = int(self.rng.integers(2, 6))
        self.left -= 1
        place = self.ways[0] if self.left else self.ways.pop(0)
        return np.clip(place + NOISE * self.rng.normal(size=2), 0, 512)

    def _stretch(self, state: np.ndarray) -> list[np.ndarray]:
        if self.rng.random() > OBJECT_DIRECTED:
            return [self.rng.uniform(20, 492, 2)]
        block = state[2:4]
        turn = self.rng.uniform(-np.pi, np.pi)
        direction = np.array([np.cos(turn), np.sin(turn)])
        beside = self.rng.uniform(-40, 40) * np.array([-direction[1], direction[0]])
        behind = block + beside - self.rng.uniform(*AROUND) * direction
        through = block + beside + self.rng.uniform(0, 120) * direction
        return [behind, through]
