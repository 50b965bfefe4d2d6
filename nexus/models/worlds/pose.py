"""Where an arm is after an action that says how it moves: no learning is needed for that.

    position    p' = p + dp                                    metres
    angles      R(a') = R(da) R(a),  R(a) = Rz(a3) Ry(a2) Rx(a1)     radians
    gripper     g' = g + dg, kept within 0 and 1

Angles come back within half a turn; at a pitch of exactly a right angle roll and yaw are not told
apart. Source: the published code of V-JEPA 2-AC (arXiv 2506.09985), whose planner does the same.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nexus.data.episodes.robot import Robot

NUMBERS = 7
"""Position, angles and gripper, of states and of actions."""
Pose = Float[Tensor, "*rest 7"]
Matrix = Float[Tensor, "*rest 3 3"]
UPRIGHT = 1 - 1e-7
"""Sines of the pitch are kept below this, so that angles have gradients."""


class PoseDynamics(nn.Module):
    """The scaled state of a robot after a model step, from its scaled state and actions.

    Args:
        robot: its states are poses, its actions changes of them; for their scales.
    """

    action_mean: Tensor
    action_std: Tensor
    state_mean: Tensor
    state_std: Tensor

    def __init__(self, robot: Robot) -> None:
        super().__init__()
        for what, scale in (("action", robot.action_scale()), ("state", robot.state_scale())):
            for name, numbers in zip(("mean", "std"), scale, strict=True):
                self.register_buffer(f"{what}_{name}", torch.tensor(numbers, dtype=torch.float32))

    def forward(
        self, states: Float[Tensor, "*rest 7"], actions: Float[Tensor, "*rest joined"]
    ) -> Float[Tensor, "*rest 7"]:
        """The scaled states after the control steps of a block, one after the other."""
        pose = states * self.state_std + self.state_mean
        joined = actions * self.action_std + self.action_mean
        for step in joined.split(NUMBERS, dim=-1):
            pose = moved(pose, step)
        return (pose - self.state_mean) / self.state_std


def moved(pose: Pose, change: Pose) -> Pose:
    """The pose after a change, in metres, radians and shares of the gripper's way."""
    place = pose[..., :3] + change[..., :3]
    turned = rotation_of(change[..., 3:6]) @ rotation_of(pose[..., 3:6])
    grip = (pose[..., 6:] + change[..., 6:]).clamp(0, 1)
    return torch.cat([place, angles_of(turned), grip], dim=-1)


def rotation_of(angles: Float[Tensor, "*rest 3"]) -> Matrix:
    """Rotations about the fixed axes x, then y, then z."""
    (a, b, c), (sa, sb, sc) = (f(angles).unbind(-1) for f in (torch.cos, torch.sin))
    rows = [
        [c * b, c * sb * sa - sc * a, c * sb * a + sc * sa],
        [sc * b, sc * sb * sa + c * a, sc * sb * a - c * sa],
        [-sb, b * sa, b * a],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def angles_of(rotation: Matrix) -> Float[Tensor, "*rest 3"]:
    """The angles of `rotation_of`."""
    pitch = -rotation[..., 2, 0].clamp(-UPRIGHT, UPRIGHT).asin()
    roll = torch.atan2(rotation[..., 2, 1], rotation[..., 2, 2])
    yaw = torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return torch.stack([roll, pitch, yaw], dim=-1)
