"""What a robot's pictures and numbers are to its world model: latents and scaled states."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nexus.control.world_goals import Shown
from nexus.data.episodes.batch import EpisodeBatch
from nexus.data.episodes.robot import Robot
from nexus.data.views import CenterView
from nexus.errors import PlanningError
from nexus.models.worlds.world import WorldModel


class Observer:
    """Looks at things as the model did in training.

    Args:
        robot: its cameras, their order, and the scale of its states.

    `device`: the model's; what is seen goes there.
    """

    def __init__(self, model: WorldModel, robot: Robot) -> None:
        self.model, self.robot = model, robot
        self._view = CenterView(model.config.image_sides)
        weights = next(model.parameters(), None)
        self.device = torch.device("cpu") if weights is None else weights.device

    def latents(self, shown: Sequence[Shown]) -> Float[Tensor, "batch tokens dim"]:
        """Tokens of each moment; pictures of any size are brought to the model's.

        Raises:
            PlanningError: they are not of the robot's cameras, or no pictures at all.
        """
        frames = np.stack([self._frames(one) for one in shown])
        pictures = torch.from_numpy(frames).permute(0, 1, 4, 2, 3)[:, :, None]
        none = torch.zeros(len(frames), 0, self.robot.action_width)
        batch = EpisodeBatch(pictures.to(self.device), none).normalised()
        assert batch.frames is not None
        return self.model.encode(batch.frames)[:, 0]

    def states(
        self, proprioception: Sequence[np.ndarray | None], of: str = "the environment's"
    ) -> Float[Tensor, "batch state"]:
        """Scaled states.

        Raises:
            PlanningError: they are not as many numbers as the robot's.
        """
        width = self.robot.state_width
        for values in proprioception:
            numbers = 0 if values is None else len(values)
            if numbers != width:
                raise PlanningError(
                    f"{of} proprioception has {numbers} numbers, the state of robot "
                    f"{self.robot.name!r} {width}"
                )
        stacked = np.stack([np.asarray(one, np.float32) for one in proprioception])
        return torch.from_numpy(self.robot.scaled_states(stacked)).to(self.device)

    def _frames(self, shown: Shown) -> np.ndarray:
        """uint8 (cameras, height, width, 3), in the order of the robot's cameras."""
        cameras = self.robot.cameras
        if not isinstance(shown, Mapping):
            if len(cameras) != 1:
                raise PlanningError(
                    f"robot {self.robot.name!r} has the cameras {', '.join(cameras)}; got one "
                    "picture, expected a mapping from each camera's name to its picture"
                )
            shown = {cameras[0]: shown}
        if missing := [camera for camera in cameras if camera not in shown]:
            raise PlanningError(
                f"robot {self.robot.name!r} has the cameras {', '.join(cameras)}; there is no "
                f"picture of {missing[0]}, only of {', '.join(shown) or 'none'}"
            )
        return np.stack([self._seen(np.asarray(shown[camera])) for camera in cameras])

    def _seen(self, picture: np.ndarray) -> np.ndarray:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise PlanningError(
                f"got a picture of {picture.dtype} {picture.shape}; expected uint8 (height, width, "
                "3), RGB from 0 to 255"
            )
        return self._view.show(np.ascontiguousarray(picture)[None])[0]
