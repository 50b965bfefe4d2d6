"""How the exact state of an adapted environment is saved and restored."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np
from jaxtyping import Float64

from nexus.errors import SimulatorError


class Saving(Protocol):
    """Knows where the state of an environment lies."""

    def get(self, env: gymnasium.Env) -> Float64[np.ndarray, " state"]:
        """All there is to know."""
        ...

    def set(self, env: gymnasium.Env, state: Float64[np.ndarray, " state"]) -> None:
        """Bring it back."""
        ...

    def observe(self, env: gymnasium.Env) -> Any | None:
        """What is observed at the present; None where that is not known."""
        ...


class Attributes:
    """The state is these attributes side by side: numbers, arrays, or tuples of numbers.

    Args:
        paths: `state`, or `data.qpos` within another one.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)

    def get(self, env: gymnasium.Env) -> np.ndarray:
        """See `Saving`."""
        parts = [np.asarray(value, np.float64).ravel() for _, _, value in self._values(env)]
        return np.concatenate(parts)

    def set(self, env: gymnasium.Env, state: np.ndarray) -> None:
        """See `Saving`."""
        values = list(self._values(env))
        sizes = [np.size(value) for _, _, value in values]
        if state.shape != (sum(sizes),):
            raise SimulatorError(
                f"a state of {env} is {sum(sizes)} numbers ({', '.join(self.paths)}), got the "
                f"shape {state.shape}"
            )
        parts = np.split(state, np.cumsum(sizes)[:-1])
        for (owner, name, old), part in zip(values, parts, strict=True):
            setattr(owner, name, _as(old, part))

    def observe(self, env: gymnasium.Env) -> Any | None:
        """See `Saving`."""
        return _observed(env)

    def names(self, env: gymnasium.Env) -> tuple[str, ...]:
        """Of each number: `state_0`, `state_1`, ...; an attribute that is one number: `angle`."""
        names = []
        for path, (_, _, value) in zip(self.paths, self._values(env), strict=True):
            size = np.size(value)
            names += [path] if np.ndim(value) == 0 else [f"{path}_{i}" for i in range(size)]
        return tuple(names)

    def _values(self, env: gymnasium.Env):
        """Owner, name and value of each attribute."""
        for path in self.paths:
            *way, name = path.split(".")
            owner: Any = env.unwrapped
            try:
                for part in way:
                    owner = getattr(owner, part)
                value = getattr(owner, name)
                np.asarray(value, np.float64)
            except (AttributeError, TypeError, ValueError) as error:
                raise SimulatorError(
                    f"{env} has no state {path!r} of numbers after a reset: {error}"
                ) from error
            yield owner, name, value


class Functions:
    """The state is what two functions say.

    Args:
        save: environment -> numbers.
        restore: (environment, numbers); what it returns is the observation, if it returns one.
    """

    def __init__(self, save: Callable[..., Any], restore: Callable[..., Any]) -> None:
        self.save, self.restore = save, restore
        self._seen: Any | None = None

    def get(self, env: gymnasium.Env) -> np.ndarray:
        """See `Saving`."""
        state = np.array(self.save(env.unwrapped), np.float64)
        if state.ndim != 1:
            raise SimulatorError(
                f"a state of {env} has the shape {state.shape}; expected (numbers,)"
            )
        return state

    def set(self, env: gymnasium.Env, state: np.ndarray) -> None:
        """See `Saving`."""
        self._seen = self.restore(env.unwrapped, state)

    def observe(self, env: gymnasium.Env) -> Any | None:
        """See `Saving`."""
        return _observed(env) if self._seen is None else _worn(env, self._seen)


def saving_of(
    env: gymnasium.Env,
    state: Sequence[str] | str | None,
    save: Callable[..., Any] | None,
    restore: Callable[..., Any] | None,
) -> Saving | None:
    """As the settings say, else as the environment itself offers; None: there is no way.

    Raises:
        SimulatorError: settings that contradict each other.
    """
    if (save is None) != (restore is None) or (save is not None and state is not None):
        raise SimulatorError("give `state` alone, or `get_state` and `set_state` together")
    if save is not None and restore is not None:
        return Functions(save, restore)
    if state is not None:
        return Attributes([state] if isinstance(state, str) else state)
    own: Any = type(env.unwrapped)
    if callable(getattr(own, "get_state", None)) and callable(getattr(own, "set_state", None)):
        return Functions(own.get_state, own.set_state)
    return None


def _observed(env: gymnasium.Env) -> Any | None:
    """By the method that environments by custom have for it."""
    own = env.unwrapped
    for name in ("_get_obs", "get_obs", "_get_observation"):
        method = getattr(own, name, None)
        if callable(method):
            return _worn(env, method())
    return None


def _worn(env: gymnasium.Env, observation: Any) -> Any:
    """An observation as the wrappers around an environment change it."""
    layers: list[gymnasium.ObservationWrapper] = []
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.ObservationWrapper):
            layers.append(env)
        env = env.env
    for layer in reversed(layers):
        observation = layer.observation(observation)
    return observation


def _as(old: Any, part: np.ndarray) -> Any:
    """Numbers as an attribute has them: of its type and shape."""
    if isinstance(old, np.ndarray):
        return part.reshape(old.shape).astype(old.dtype)
    if isinstance(old, list | tuple):
        return type(old)(part.tolist())
    return type(old)(part[0])
