"""What an adapted environment shows: its picture, and what the robot knows without looking."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from PIL import Image

from nexus.errors import SimulatorError

PICTURES = ("pixels",)
OWN = ("proprioception", "agent_pos")
"""Entries that are taken where nothing is said, if they are there."""


class Eye:
    """Takes observations apart.

    Args:
        env: whose observations they are.
        picture, size, proprioception: see `AdaptedEnv`.

    Raises:
        SimulatorError: an entry that is not there.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        picture: str | None,
        size: int | None,
        proprioception: str | Sequence[int] | None,
    ) -> None:
        self.env, self.size = env, size
        space = env.observation_space
        entries = getattr(space, "spaces", {})
        self.picture = picture or next((key for key in PICTURES if key in entries), None)
        own = proprioception
        self.own = next((key for key in OWN if key in entries), None) if own is None else own
        for key in (self.picture, self.own):
            if isinstance(key, str):
                _entry(space, key, f"observations of {env}")
        if self.picture is None and env.render_mode != "rgb_array":
            raise SimulatorError(
                f"{env} shows no picture: no part of its observations was named (`picture`), and "
                f"its render_mode is {env.render_mode!r}; make it with render_mode='rgb_array'"
            )

    def see(self, observation: Any) -> dict[str, np.ndarray]:
        """`pixels` and `proprioception` of an observation."""
        return {"pixels": self._pixels(observation), "proprioception": self._own(observation)}

    def see_here(self, observation: Any | None) -> dict[str, np.ndarray]:
        """Of the present, of which there may be no observation.

        Raises:
            SimulatorError: then what is needed cannot be had.
        """
        if observation is None and (self.picture is not None or self.own is not None):
            raise SimulatorError(
                f"what {self.env} shows after its state was set is not known: it has no _get_obs "
                "and no get_obs; let set_state return the observation"
            )
        return self.see(observation)

    def rendered(self) -> np.ndarray:
        """uint8 (height, width, 3): what `render()` shows."""
        return self._sized(np.asarray(self.env.render()))

    def _pixels(self, observation: Any) -> np.ndarray:
        if self.picture is None:
            return self.rendered()
        return self._sized(np.asarray(_entry(observation, self.picture, "the observation")))

    def _own(self, observation: Any) -> np.ndarray:
        if self.own is None:
            return np.zeros(0, np.float32)
        if isinstance(self.own, str):
            values = np.asarray(_entry(observation, self.own, "the observation"))
        else:
            values = np.asarray(observation).ravel()[list(self.own)]
        return values.ravel().astype(np.float32)

    def _sized(self, picture: np.ndarray) -> np.ndarray:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise SimulatorError(
                f"the picture of {self.env} is {picture.dtype} {picture.shape}; expected uint8 "
                "(height, width, 3)"
            )
        if self.size is None or picture.shape[:2] == (self.size, self.size):
            return picture.copy()  # many environments draw into one and the same array
        side = (self.size, self.size)
        return np.asarray(Image.fromarray(picture).resize(side, Image.Resampling.BILINEAR))


def _entry(tree: Any, key: str, what: str) -> Any:
    """`camera/top`: the entry `top` of the entry `camera`."""
    for part in key.split("/"):
        entries = getattr(tree, "spaces", tree)
        if not isinstance(entries, Mapping) or part not in entries:
            known = ", ".join(map(str, entries)) if isinstance(entries, Mapping) else "no entries"
            raise SimulatorError(f"{what} have no {key!r}; there are: {known}")
        tree = entries[part]
    return tree
