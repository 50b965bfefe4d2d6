"""Push-T of gym-pusht (extra `envs`): a disc pushes a T to a pose, seen from above.

state   agent x, y, block x, y (pixels of 512), angle; then how fast each of them changes
action  the place that the agent is drawn to, pixels of 512

gym-pusht's simulator keeps, between its steps, forces of contact that nobody can read or set. Here
every control step begins without them: what follows from a state follows from its ten numbers.
(Over 20 steps of play the T ends 0.3 pixels of 512 from where gym-pusht has it, in the median of 20
episodes; in two of them contact made it tens of pixels.) The green mark of gym-pusht's one goal is
not shown: it would be in every picture, and goals are drawn.
"""

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import gymnasium
import numpy as np

from nexus.envs.adapter import AdaptedEnv
from nexus.envs.play import Play
from nexus.envs.protocol import Goal
from nexus.envs.pusht_play import PushTPlayer
from nexus.errors import SimulatorError

SIDE = 512
NAMES = ("agent_x", "agent_y", "block_x", "block_y", "block_angle")
NEAR, TURNED = 20.0, np.deg2rad(20)
"""Pixels of 512 and radians: a block nearer to its goal pose than both is there."""
COVERED = 0.95
"""gym-pusht's own rule: the share of the goal's area that the block covers."""
_UNSEEN = np.array([-1e4, -1e4, 0.0])
_ATTEMPTS = 1000
_GOALS = (1,)  # the stream of a seed that goals are drawn from, apart from starts


def PushT(  # noqa: N802  (it stands for an environment, as a class does)
    *, size: int = 96, rule: Literal["pose", "coverage"] = "pose", max_steps: int = 300
) -> AdaptedEnv:
    """Push-T with exact states and goals of its own.

    Args:
        size: side of the picture, pixels.
        rule: when a goal is reached. `pose`: the block is within 20 pixels and 20 degrees of it,
            the measure of published planners (stable-worldmodel's also asks for the agent's place:
            that is left out, since it says nothing of pushing). `coverage`: gym-pusht's own, 95 %
            of the goal's area, a few pixels: what is reported of policies that were shown how.
        max_steps: steps until an episode is cut.

    Raises:
        SimulatorError: gym-pusht is not installed, or there is no such rule.
    """
    rules = {"pose": _posed, "coverage": _covering}
    if rule not in rules:
        raise SimulatorError(f"unknown rule {rule!r}; there are: {', '.join(rules)}")
    try:
        importlib.import_module("gym_pusht")
    except ImportError as error:
        raise SimulatorError(
            f"Push-T needs gym-pusht ({error}): pip install 'nexus-vjepa[envs]'"
        ) from error
    made = gymnasium.make(
        "gym_pusht/PushT-v0",
        max_episode_steps=-1,
        disable_env_checker=True,
        obs_type="pixels_agent_pos",
        observation_width=size,
        observation_height=size,
    )
    table = ExactPushT(made)
    return AdaptedEnv(
        table,
        get_state=lambda _: table.state,
        set_state=lambda _, state: table.put(state),
        goal=partial(_drawn_goal, table),
        solved=lambda _, state, goal: rules[rule](table, state, goal),
        moved=(2, 3),
        max_steps=max_steps,
    )


class ExactPushT(gymnasium.Wrapper):
    """gym-pusht whose steps depend on nothing but `state`, float64 (10,)."""

    state_names = (*NAMES, "agent_vx", "agent_vy", "block_vx", "block_vy", "block_turning")
    action_names = ("agent_to_x", "agent_to_y")
    proprioception_names = ("agent_x", "agent_y")

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.inner: Any = env.unwrapped
        self.state = np.zeros(10)

    def policies(self) -> Mapping[str, Callable[[], Any]]:
        """Ways to act that know the table, see `OffersPolicies`."""
        return {"play": partial(Play, PushTPlayer)}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode: agent and block where gym-pusht puts them."""
        _, info = super().reset(seed=seed, options=options)
        return self.put(self._present()), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """A control step; that the block covers gym-pusht's own goal does not end an episode."""
        self.inner.obs_type = "state"  # the picture is drawn once, below
        try:
            _, reward, _, truncated, info = super().step(np.asarray(action, np.float64))
        finally:
            self.inner.obs_type = "pixels_agent_pos"
        return self.put(self._present()), float(reward), False, truncated, info

    def put(self, state: np.ndarray) -> Any:
        """Put agent and block where they were, as fast as they were; what is observed there.

        Raises:
            SimulatorError: it is no state.
        """
        state = np.array(state, np.float64)
        if state.shape != (10,) or not np.isfinite(state).all():
            raise SimulatorError(f"a state of Push-T is 10 finite numbers, got {state}")
        self.inner._setup()  # another space: it remembers no contact
        self.inner.goal_pose = _UNSEEN
        agent, block = self.inner.agent, self.inner.block
        agent.position, agent.velocity = state[:2].tolist(), state[5:7].tolist()
        block.angle = float(state[4])  # first: it turns the block about its centre of gravity
        block.position, block.velocity = state[2:4].tolist(), state[7:9].tolist()
        block.angular_velocity = float(state[9])
        for body in (agent, block):  # else pictures and queries show where they were
            self.inner.space.reindex_shapes_for_body(body)
        self.state = state
        return self.inner.get_obs()

    def is_free(self, state: np.ndarray) -> bool:
        """Whether agent and block are on the table, and apart."""
        self.put(state)
        corners = self.inner.get_keypoints(self.inner._block_shapes)
        inside = np.all((corners > 10) & (corners < SIDE - 10))
        agent, radius = tuple(state[:2]), 15
        gap = min(shape.point_query(agent).distance for shape in self.inner.block.shapes)
        return bool(inside and gap > radius + 2)

    def _present(self) -> np.ndarray:
        agent, block = self.inner.agent, self.inner.block
        return np.array(
            [
                *agent.position, *block.position, block.angle,
                *agent.velocity, *block.velocity, block.angular_velocity,
            ]
        )  # fmt: skip


def _drawn_goal(table: ExactPushT, _: AdaptedEnv, seed: int) -> Goal:
    """A pose of the block, and a place of the agent, drawn by the seed."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=_GOALS))
    kept = table.state
    for _attempt in range(_ATTEMPTS):
        agent, block = rng.uniform(50, 450, 2), rng.uniform(100, 400, 2)
        state = np.concatenate([agent, block, [rng.uniform(-np.pi, np.pi)], np.zeros(5)])
        if table.is_free(state):
            seen = table.put(state)
            table.put(kept)
            return Goal(state, seen["pixels"], seen["agent_pos"].astype(np.float32))
    raise SimulatorError(f"seed {seed}: none of {_ATTEMPTS:,} goals that were drawn is free")


def _posed(table: ExactPushT, state: np.ndarray, goal: Goal) -> bool:
    far = float(np.linalg.norm(state[2:4] - goal.state[2:4]))
    turned = (state[4] - goal.state[4] + np.pi) % (2 * np.pi) - np.pi
    return far < NEAR and abs(turned) < TURNED


def _covering(table: ExactPushT, state: np.ndarray, goal: Goal) -> bool:
    kept = table.state
    table.put(state)
    table.inner.goal_pose = goal.state[2:5]
    covered = table.inner._get_coverage()
    table.put(kept)
    return covered > COVERED
