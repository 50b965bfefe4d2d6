"""Anything with the Gymnasium API as a `GoalEnvironment`: its picture, its state, its goals.

What Gymnasium does not say is said by settings, each with a default where one can be guessed:

picture          the part of the observation that is one, or what `render()` shows
proprioception   the part of the observation that the robot knows without looking
state            attributes that are all there is to know, or two functions that save and restore
goal             another start, drawn apart, unless a function of yours makes goals
solved           a distance of states, or a function of yours
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from nexus.envs.protocol import Goal
from nexus.envs.replaying import check_exact
from nexus.envs.saving import Attributes, Saving, saving_of
from nexus.envs.seeing import Eye
from nexus.errors import ConfigError, SimulatorError
from nexus.registry import Registry

Function = str | Callable[..., Any]
"""A function, or where it stands: `package.module:function`."""
FUNCTIONS = Registry("function", {})
_GOALS = (1,)  # the stream of a seed that goals are drawn from, apart from starts


class AdaptedEnv(gymnasium.Env):
    """An environment of somebody else, with what nexus needs beside Gymnasium's interface.

    Args:
        environment: an id that Gymnasium knows (`CartPole-v1`, `module:Name-v0`), or an
            environment. Of an id the time limit is kept as `max_steps`; an environment's own limit
            counts on through `goal` and `set_state`.
        make: settings for `gymnasium.make`, of an id.
        picture: the entry of a dictionary of observations that is the picture (`camera/top` within
            another one); None: `pixels` if there is one, else what `render()` shows.
        size: side that pictures are brought to, pixels; None: as they are.
        proprioception: the entry that the robot knows of itself, or, where an observation is a list
            of numbers, its places in it; None: `proprioception` or `agent_pos` if there is one,
            else nothing.
        state: attributes of the environment (`state`, `data.qpos`) that are all there is to know;
            None: its own `get_state` and `set_state`, if it has both.
        get_state, set_state: functions instead: (environment) -> numbers, (environment, numbers).
        goal: (adapted environment, seed) -> Goal; None: the state after another reset.
        solved: (environment, state, goal) -> bool, the environment's own rule.
        moved: places in the state that count for the distance to the goal; None: all.
        tolerance: a state nearer to the goal than this has reached it, where there is no `solved`.
        fps: control steps a second; None: as the environment says of its pictures, else 10.
        verify: try whether a state comes back exactly.

    Raises:
        SimulatorError: a setting does not fit the environment, or (`verify`) its state does not
            come back exactly.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(
        self,
        environment: str | gymnasium.Env,
        *,
        make: Mapping[str, Any] | None = None,
        picture: str | None = None,
        size: int | None = None,
        proprioception: str | Sequence[int] | None = None,
        state: Sequence[str] | str | None = None,
        get_state: Function | None = None,
        set_state: Function | None = None,
        goal: Function | None = None,
        solved: Function | None = None,
        moved: Sequence[int] | None = None,
        tolerance: float | None = None,
        max_steps: int | None = None,
        fps: float | None = None,
        verify: bool = True,
    ) -> None:
        if isinstance(environment, str):
            self.env, limit = _made(environment, dict(make or {}))
        else:
            self.env, limit = environment, None
        self.max_steps = max_steps or limit
        self._eye = Eye(self.env, picture, size, proprioception)
        self._saving = saving_of(
            self.env, state, *(None if f is None else _function(f) for f in (get_state, set_state))
        )
        self._goal = None if goal is None else _function(goal)
        self._solved = None if solved is None else _function(solved)
        self._moved = slice(None) if moved is None else list(moved)
        self._tolerance = tolerance
        self.action_space = self.env.action_space
        self.render_mode = "rgb_array"
        rate = fps or self.env.metadata.get("render_fps") or 10
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": rate}
        self._steps, self._begun = 0, False
        first, _ = self.reset(seed=0)
        pixels, own = first["pixels"], first["proprioception"]
        self.observation_space = spaces.Dict(
            {
                "pixels": spaces.Box(0, 255, pixels.shape, np.uint8),
                "proprioception": spaces.Box(-np.inf, np.inf, own.shape, np.float32),
            }
        )
        if verify and self.has_state:
            check_exact(self, self._name)
            self.reset(seed=0)

    @property
    def has_state(self) -> bool:
        """Whether its state can be saved and restored."""
        return self._saving is not None

    @property
    def state_names(self) -> tuple[str, ...] | None:
        """What each number of the state is; None: that is not known."""
        if isinstance(self._saving, Attributes):
            return self._saving.names(self.env)
        return self._own("state_names")

    @property
    def action_names(self) -> tuple[str, ...] | None:
        """What each number of an action is; None: that is not known."""
        return self._own("action_names")

    @property
    def proprioception_names(self) -> tuple[str, ...] | None:
        """What each number of the proprioception is; None: that is not known."""
        return self._own("proprioception_names")

    def policies(self) -> Mapping[str, Callable[[], Any]]:
        """The environment's own ways to act, if it has any, see `OffersPolicies`."""
        offer = self._own("policies")
        return {} if offer is None else offer()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        observation, info = self.env.reset(seed=seed, options=options)
        self._steps, self._begun = 0, True
        return self._eye.see(observation), self._told(info)

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act; `max_steps` cuts an episode."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        cut = self.max_steps is not None and self._steps >= self.max_steps
        seen = self._eye.see(observation)
        return seen, float(reward), bool(terminated), bool(truncated) or cut, self._told(info)

    def render(self) -> np.ndarray:
        """uint8 (height, width, 3): what `render()` of the environment shows."""
        return self._eye.rendered()

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_state(self) -> np.ndarray:
        """float64 (numbers,): all there is to know.

        Raises:
            SimulatorError: the environment cannot say it.
        """
        return self._kept("said").get(self.env)

    def set_state(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Put the environment into a state; what is observed there.

        Raises:
            SimulatorError: it cannot be, or this is no state of it.
        """
        saving = self._kept("restored")
        if not self._begun:
            self.reset(seed=0)
        saving.set(self.env, np.asarray(state, np.float64))
        return self._eye.see_here(saving.observe(self.env))

    def goal(self, seed: int) -> Goal:
        """A goal for the episode of this seed; the environment is then as it was before.

        Raises:
            SimulatorError: its state cannot be saved.
        """
        if self._goal is not None:
            return self._goal(self, seed)
        kept, steps = self.get_state(), self._steps
        own = self.env.unwrapped
        generator = own.np_random
        apart = np.random.SeedSequence(seed, spawn_key=_GOALS).generate_state(1)[0]
        seen, _ = self.reset(seed=int(apart))
        goal = Goal(self.get_state(), seen["pixels"], seen["proprioception"])
        own.np_random, self._steps = generator, steps
        self._kept("restored").set(self.env, kept)
        return goal

    def solved(self, state: np.ndarray, goal: Goal) -> bool:
        """By the environment's own rule if one was given, else by the distance of the states.

        Raises:
            SimulatorError: neither a rule nor a tolerance was given.
        """
        if self._solved is not None:
            return bool(self._solved(self.env.unwrapped, state, goal))
        if self._tolerance is None:
            raise SimulatorError(
                f"{self._name} does not say when a goal is reached; give `tolerance` (a distance "
                "of states, of the places `moved`), or `solved`, a function of yours"
            )
        return self.distance(state, goal) < self._tolerance

    def distance(self, state: np.ndarray, goal: Goal) -> float:
        """How far a state is from a goal, over the places `moved`, in the state's units."""
        away = np.asarray(state, np.float64) - goal.state
        return float(np.linalg.norm(away[self._moved]))

    @property
    def _name(self) -> str:
        spec = self.env.spec
        return type(self.env.unwrapped).__name__ if spec is None else spec.id

    def _own(self, name: str) -> Any | None:
        """What the environment, or one of its wrappers, says beside Gymnasium's interface."""
        return self.env.get_wrapper_attr(name) if self.env.has_wrapper_attr(name) else None

    def _kept(self, what: str) -> Saving:
        if self._saving is None:
            raise SimulatorError(
                f"the state of {self._name} cannot be {what}: it has no get_state and set_state; "
                "name the attributes that are all there is to know (state=['state']), or give "
                "functions (get_state, set_state)"
            )
        return self._saving

    def _told(self, info: Mapping[str, Any]) -> dict[str, Any]:
        return {**info, "state": self.get_state()} if self.has_state else dict(info)


def _made(name: str, settings: dict[str, Any]) -> tuple[gymnasium.Env, int | None]:
    """An environment by its id, without a limit of its own, and the limit."""
    settings = {"render_mode": "rgb_array", "disable_env_checker": True} | settings
    module, _, own = name.rpartition(":")
    try:
        if module:  # it registers its environments when it is imported
            importlib.import_module(module)
        limit = gymnasium.spec(own).max_episode_steps
        return gymnasium.make(own, max_episode_steps=-1, **settings), limit
    except (gymnasium.error.Error, ModuleNotFoundError, TypeError) as error:
        raise SimulatorError(
            f"Gymnasium does not make {name!r} ({error}); a module that registers it is named "
            "before a colon: gym:MODULE:Name-v0"
        ) from error


def _function(given: Function) -> Callable[..., Any]:
    function = FUNCTIONS.find(given) if isinstance(given, str) else given
    if not callable(function):
        raise ConfigError(f"{given!r} is not a function")
    return function
